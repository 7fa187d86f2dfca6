//! The one table of settings: what each is called in the file, in the environment and on the command line, what it is
//! when nobody says it, and whether a node that runs takes a change of it.
//!
//! The environment is read, `redlink config` shown and checked, and a reload explained by this table. A member of
//! [`Partial`] without a line here fails the tests.

use super::{ConfigError, Key, Partial, Wrong, wrong};
use serde::Deserialize;
use toml::{Table, Value};

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// As the file has it; of a section's member `section.member`.
    pub name: &'static str,
    /// How the environment writes it.
    pub form: Form,
    /// The flag of `redlink node`, without its dashes; none where there is no flag.
    pub flag: Option<&'static str>,
    /// What it is when nobody says it.
    pub default: Unsaid,
    /// What it is, in one line; with its unit and bounds.
    pub about: &'static str,
    /// What a running node does with a change in the file.
    pub reload: Reload,
}

/// How the environment writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Text,
    /// With commas between.
    List,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A number of bytes, such as `65536` or `64MiB`.
    Bytes,
    /// With commas between, or as the file would have it: `[{ url = "https://hub", import = ["jobs.*"] }]`.
    ListOrToml,
    /// As the file would have it, on one line: `{ shop = { produce = ["jobs.*"] } }`.
    Toml,
}

/// What a setting is when nobody says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// This, as the file would have it.
    Is(&'static str),
    /// Found by the node, by this rule.
    Found(&'static str),
    /// Not there; this is what it means.
    Unset(&'static str),
}

/// What a node that runs does with a setting that has changed in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// SIGHUP puts it in force.
    Now,
    /// It counts from the next start on.
    Restart,
}

use Form::{Bytes, List, ListOrToml, Number, Switch, Text, Toml};
use Reload::{Now, Restart};
use Unsaid::{Found, Is, Unset};

const fn setting(
    name: &'static str,
    form: Form,
    flag: Option<&'static str>,
    default: Unsaid,
    reload: Reload,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        form,
        flag,
        default,
        about,
        reload,
    }
}

/// All of them, those of a section together, in the order in which they are shown.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting("name", Text, Some("name"), Found("this machine's name"), Restart,
        "The node's name, unique in its mesh"),
    setting("mesh", Text, Some("mesh"), Is("\"mesh\""), Restart,
        "The name of its mesh"),
    setting("listen", List, Some("listen"), Is("[\"localhost:7411\"]"), Restart,
        "Where it listens: ADDRESS:PORT, or localhost:PORT for both loopback addresses"),
    setting("hosts", List, Some("host"), Is("[]"), Restart,
        "Host names and addresses under which others dial it, for its certificate"),
    setting("advertise", Text, Some("advertise"), Unset("large payloads can't go straight to or from it"), Restart,
        "URL at which nodes elsewhere reach it, so that large payloads may go straight"),
    setting("path", Text, Some("path"), Is("\"reverse\""), Restart,
        "How large payloads of its messages go: reverse, along the way of their offers, or direct"),
    setting("north", ListOrToml, Some("north"), Is("[]"), Now,
        "The nodes that it dials: URLs, or tables with url, name, redistribute, import, export, proxy and link"),
    setting("proxy", Text, Some("proxy"), Unset("as HTTPS_PROXY, ALL_PROXY and NO_PROXY say"), Now,
        "The HTTP proxy to its norths, http://HOST:PORT, or none"),
    setting("link", Text, Some("link"), Is("\"auto\""), Now,
        "How links to its norths travel: auto, stream or poll"),
    setting("ageing", Text, Some("ageing"), Is("\"none\""), Restart,
        "For each such time that a message has waited it gains one level of priority; 1ms to 365d, or none"),
    setting("max_payload", Bytes, None, Is("67108864"), Restart,
        "Longest payload, in bytes; up to 1GiB"),
    setting("max_connections", Number, None, Is("4096"), Restart,
        "Most connections at once, 1 to 1048576"),
    setting("drain", Text, Some("drain"), Is("\"10s\""), Now,
        "How long work that is under way may go on after SIGTERM, 0s to 1h"),
    setting("log", Text, Some("log"), Found("as RUST_LOG says, or info"), Now,
        "What is logged: error, warn, info, debug, trace, off, or a list of TARGET=LEVEL"),
    setting("log_format", Text, Some("log-format"), Is("\"auto\""), Restart,
        "How the log looks: text, json, or auto, which is text on a terminal and JSON elsewhere"),
    setting("trace_memory", Bytes, None, Is("8388608"), Restart,
        "Memory for the steps that `redlink message trace` shows, in bytes; up to 1GiB, 0 keeps none"),
    setting("memory_messages", Bytes, None, Is("67108864"), Restart,
        "Most bytes of messages with durability memory: payloads, outcomes and what is preserved"),
    setting("certificate_life", Text, None, Is("\"30d\""), Restart,
        "How long certificates live that this node signs, 10s to 366d"),
    setting("capacity.messages", Number, None, Is("100000"), Restart,
        "Most messages of this node, up to the collection of their outcomes"),
    setting("capacity.reservations", Number, None, Is("16384"), Restart,
        "Most offers of peers that wait here"),
    setting("capacity.deliveries", Number, None, Is("16384"), Restart,
        "Most messages that its consumers hold, and answers on their way to the origin"),
    setting("capacity.services", Number, None, Is("1024"), Restart,
        "Most services that are offered, addressed or heard of here"),
    setting("capacity.consumers", Number, None, Is("4096"), Restart,
        "Most consumers of this node"),
    setting("capacity.takes", Number, None, Is("4096"), Restart,
        "Most takes that wait"),
    setting("capacity.peers", Number, None, Is("256"), Restart,
        "Most peers; services times peers is at most 1073741824"),
    setting("capacity.routes", Number, None, Is("32768"), Restart,
        "Most pairs of a service and a peer that has announced it"),
    setting("capacity.relays", Number, None, Is("16384"), Restart,
        "Most messages that pass between one peer and another"),
    setting("capacity.rules", Number, None, Is("2048"), Restart,
        "Most rules of all links together"),
    setting("capacity.idempotency_keys", Number, None, Is("100000"), Restart,
        "Most idempotency keys of the last 24 hours"),
    setting("dead_letters.max", Number, None, Is("10000"), Restart,
        "Most dead letters that are kept, 0 to 10000000; the oldest gives way"),
    setting("dead_letters.keep", Text, None, Is("\"30d\""), Restart,
        "How long a dead letter is kept, 1s to 3650d"),
    setting("disk_floor", Bytes, None, Found("256 MiB, or a twentieth of the disk if that is less"), Restart,
        "Free bytes on its disk below which no messages are accepted; 0 for no such bound"),
    setting("tls.ca", Text, None, Unset("the mesh has its own authority"), Restart,
        "Certificates (PEM) of another authority than the mesh's own"),
    setting("tls.certificate", Text, None, Unset("the mesh's authority signs one"), Restart,
        "The node's certificate (PEM) by that authority"),
    setting("tls.key", Text, None, Unset("the node makes one"), Restart,
        "Its private key (PEM)"),
    setting("south_default.accept_from_south", Switch, None, Is("true"), Now,
        "Whether what nodes that dial this one announce is taken"),
    setting("south_default.import", List, None, Is("[]"), Now,
        "What they may announce: patterns of services, ! before one denies, the first that matches counts"),
    setting("south_default.export", List, None, Is("[]"), Now,
        "What is announced to them, in the same form"),
    setting("south", Toml, None, Is("{}"), Now,
        "The same for some of them, by name: [south.NAME]"),
    setting("programs", Toml, None, Is("{}"), Now,
        "What programs with certificates may do, by name: [programs.NAME] with produce, consume, watch, administer"),
];

impl Setting {
    /// Its environment variable: `REDLINK_MAX_PAYLOAD`, `REDLINK_CAPACITY__MESSAGES`.
    pub fn variable(&self) -> String {
        format!("REDLINK_{}", self.name.replace('.', "__").to_ascii_uppercase())
    }

    /// The section that it is in, and its name there.
    pub fn parts(&self) -> (Option<&'static str>, &'static str) {
        match self.name.split_once('.') {
            Some((section, member)) => (Some(section), member),
            None => (None, self.name),
        }
    }

    /// Its value among these.
    pub fn find<'t>(&self, told: &'t Table) -> Option<&'t Value> {
        match self.parts() {
            (Some(section), member) => told.get(section)?.get(member),
            (None, name) => told.get(name),
        }
    }

    /// Reads it as the environment has it.
    fn read(&self, text: &str) -> Result<Value, String> {
        let list = |text: &str| Value::Array(text.split(',').map(|part| part.trim().into()).collect());
        let toml = |text: &str| {
            let read = toml::de::ValueDeserializer::parse(text).and_then(Value::deserialize);
            read.map_err(|e| format!("it is not as the file would have it: {}", e.message()))
        };
        match self.form {
            Text => Ok(text.into()),
            List => Ok(list(text)),
            ListOrToml if text.trim_start().starts_with('[') => toml(text),
            ListOrToml => Ok(list(text)),
            Toml => toml(text),
            Number => {
                let number = text.parse::<u32>();
                number
                    .map(|n| n.into())
                    .map_err(|_| format!("`{text}` is no number from 0 to 4294967295"))
            }
            Switch => match text {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => Err(format!("`{text}` is not true or false")),
            },
            // A number is a text too.
            Bytes => Ok(text.into()),
        }
    }
}

/// The setting of this name.
pub(super) fn setting_of(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What the environment says.
///
/// # Errors
/// A value can't be used; names the variable.
pub(super) fn from_environment(env: impl Fn(&str) -> Option<String>) -> Result<Table, ConfigError> {
    let mut told = Table::new();
    for setting in SETTINGS {
        let variable = setting.variable();
        let Some(text) = env(&variable) else { continue };
        let bad = |what: String| ConfigError::from(Wrong::new(setting.name, what).told_by(&variable));
        let value = setting.read(&text).map_err(bad)?;
        let mut alone = Table::new();
        put(&mut alone, setting, value.clone());
        alone
            .try_into::<Partial>()
            .map_err(|e| bad(e.message().to_owned()))?;
        put(&mut told, setting, value);
    }
    Ok(told)
}

fn put(told: &mut Table, setting: &Setting, value: Value) {
    match setting.parts() {
        (Some(section), member) => {
            let section = told.entry(section).or_insert_with(|| Table::new().into());
            if let Some(section) = section.as_table_mut() {
                section.insert(member.into(), value);
            }
        }
        (None, name) => drop(told.insert(name.into(), value)),
    }
}

/// What counts of both: of a setting that both say, what `above` says.
pub(super) fn merge(above: &Table, below: &Table) -> Table {
    let mut all = Table::new();
    for setting in SETTINGS {
        if let Some(value) = setting.find(above).or_else(|| setting.find(below)) {
            put(&mut all, setting, value.clone());
        }
    }
    all
}

/// These settings as a table.
pub(super) fn table(told: &Partial) -> Result<Table, ConfigError> {
    Table::try_from(told).map_err(|e| wrong("settings", e.to_string()))
}

/// A table that was read from settings before, as settings.
pub(super) fn read(told: &Table) -> Result<Partial, ConfigError> {
    told.clone()
        .try_into()
        .map_err(|e: toml::de::Error| wrong("settings", e.message()))
}

/// Who says this above the file: a flag, or a variable of the environment.
pub(super) fn who(key: &Key, flags: &Table, environment: &Table) -> Option<String> {
    let setting = SETTINGS.iter().find(|setting| key.is_in(setting.name));
    // One that names no member of its section means all of them.
    let of = |setting: &&Setting| {
        setting
            .parts()
            .0
            .is_some_and(|section| key.to_string() == section)
    };
    let all = setting.into_iter().chain(SETTINGS.iter().filter(of));
    all.into_iter().find_map(|setting| {
        if setting.find(flags).is_some() {
            return Some(format!("--{}", setting.flag.unwrap_or(setting.name)));
        }
        setting.find(environment).map(|_| setting.variable())
    })
}
