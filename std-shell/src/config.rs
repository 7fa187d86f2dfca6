//! A node's settings: a flag counts more than the environment, that more than the file, that more than the default.

mod document;
mod edit;
mod faults;
mod letters;
mod peers;
mod running;
mod settings;
mod shown;
mod values;
mod ways;
mod wrong;

#[cfg(test)]
mod tests;

pub use edit::Change;
pub use faults::{FaultInfo, Faults};
pub use letters::DeadLetters;
pub use peers::{North, NorthEntry, PeerPolicy, Rules, SouthEntry, Souths};
pub use running::{DRAIN_DEFAULT, LogFormat, Logging};
pub use settings::{Form, Reload, SETTINGS, Setting, Unsaid};
pub use shown::{Shown, ShownSetting, Source};
pub use values::{NorthUrl, Size};
pub use ways::{OwnWay, ProxyText, Way, Ways};
pub use wrong::{Key, Wrong};

use crate::content::PAYLOAD_MAX;
use crate::link::frame::ORIGIN_MAX;
use crate::proxy::Environment;
use crate::store::LetterLimits;
use crate::trust::programs::Permissions;
use crate::trust::{self, LIFE_DEFAULT, LIFE_MAX, LIFE_MIN, OwnFiles, Wishes};
use document::Document;
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::Table;
use wrong::wrong;

/// Directory of a node, in the directory that it is started in.
pub const DIRECTORY: &str = ".redlink";
/// The settings file in it.
pub const FILE: &str = "redlink.toml";
/// Port of the listener.
pub const PORT: u16 = 7411;
/// Memory for steps of messages unless said otherwise.
const TRACE_MEMORY: u64 = 8 << 20;
/// Memory for messages with durability `memory` unless said otherwise.
const MEMORY_MESSAGES: u64 = 64 << 20;
/// More would be scanned too long by who asks.
const TRACE_MEMORY_LIMIT: u64 = 1 << 30;
/// Most pairs of a service and a peer that a core has a place for.
const PAIRS_MAX: u64 = 1 << 30;
/// The environment's word on norths.
const NORTH_VARIABLE: &str = "REDLINK_NORTH";
/// Longest payload unless said otherwise.
const MAX_PAYLOAD: u64 = 64 << 20;
/// Shortest wait for a level of priority.
const AGEING_MIN: Duration = Duration::from_millis(1);
/// Longest.
const AGEING_MAX: Duration = Duration::from_secs(365 * 86_400);
/// Connections unless said otherwise.
const MAX_CONNECTIONS: u32 = 4_096;

/// Everything that a node is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The directory with everything that it keeps.
    pub dir: PathBuf,
    /// Its name.
    pub name: Name,
    /// Its mesh.
    pub mesh: Name,
    /// Where it listens; port 0 means any that is free.
    pub listen: Vec<SocketAddr>,
    /// Host names and addresses for its certificate, besides those of every node.
    pub hosts: Vec<String>,
    /// The nodes that it dials.
    pub north: Vec<North>,
    /// What may pass over the links of those that dial it.
    pub south: Souths,
    /// Memory for the latest steps of messages, in bytes; 0 keeps none.
    pub trace_memory: u64,
    /// Most bytes of messages that are kept in memory only.
    pub memory_messages: u64,
    /// How norths are reached, unless their own entries say it.
    pub ways: Ways,
    /// Longest payload, in bytes.
    pub max_payload: u64,
    /// Where other nodes reach this one, for payloads that go straight.
    pub advertise: Option<NorthUrl>,
    /// Whether this node's large payloads go straight, unless a message says it.
    pub direct: bool,
    /// Most connections at once.
    pub max_connections: u32,
    /// A waiting message gains one level of priority for each such time; none is never.
    pub ageing: Option<Duration>,
    /// Sizes of the core's tables, where they are not the defaults.
    pub capacity: Capacity,
    /// How many dead letters are kept, and how long.
    pub dead_letters: LetterLimits,
    /// Free bytes on the disk below which no messages are accepted; 0 for none, or nothing for the default.
    pub disk_floor: Option<u64>,
    /// How long the certificates live that it signs, if it holds the authority.
    pub certificate_life: Duration,
    /// Certificates of another authority than the mesh's own.
    pub tls: Option<OwnFiles>,
    /// What programs that prove their names by certificate may do.
    pub programs: BTreeMap<Name, Permissions>,
    /// How long work that is under way may go on after SIGTERM.
    pub drain: Duration,
    /// What is logged, and how.
    pub logging: Logging,
}

/// Certificates of another authority than the mesh's own, all three or none; paths are taken from the node's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates of the authorities that may sign for nodes of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The node's certificate, and behind it those that lead to an authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Sizes of the core's tables; none means the core's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Messages of this node, up to the collection of their outcomes.
    pub messages: Option<u32>,
    /// Peers' offers that wait here.
    pub reservations: Option<u32>,
    /// Messages that consumers of this node hold, and their answers until the origin has them.
    pub deliveries: Option<u32>,
    /// Services that are offered, addressed or heard of here.
    pub services: Option<u32>,
    /// Consumers of this node.
    pub consumers: Option<u32>,
    /// Takes that wait.
    pub takes: Option<u32>,
    /// Peers.
    pub peers: Option<u32>,
    /// Pairs of a service and a peer that has announced it.
    pub routes: Option<u32>,
    /// Messages that pass between a peer and another.
    pub relays: Option<u32>,
    /// Rules of all links together for what may pass over them.
    pub rules: Option<u32>,
    /// Idempotency keys of the last 24 hours.
    pub idempotency_keys: Option<u32>,
}

/// Some of the settings, as one place says them: the file's members, the flags of `redlink node`, or the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// The node's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// `ADDRESS:PORT` or `localhost:PORT`, which is both loopback addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<String>>,
    /// Host names and addresses under which other machines dial this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// The nodes to dial: URLs, or tables that say more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub north: Option<Vec<NorthEntry>>,
    /// The HTTP proxy to those that do not say it themselves, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyText>,
    /// How links to them travel: `auto`, `stream` or `poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What may pass over the links of those that dial this node, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub south: Option<BTreeMap<String, SouthEntry>>,
    /// The same for all others of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub south_default: Option<SouthEntry>,
    /// Memory for what `redlink message trace` shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_memory: Option<Size>,
    /// Most bytes of messages with durability `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_messages: Option<Size>,
    /// Longest payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload: Option<Size>,
    /// Most connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// For each such time that a message has waited it gains one level of priority, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ageing: Option<String>,
    /// URL at which nodes elsewhere reach this one, for payloads that go straight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// How large payloads go: `reverse`, along the way of their offers, or `direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long the certificates live that this node signs, if it holds the mesh's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_life: Option<String>,
    /// Sizes of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// How many dead letters are kept, and how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// Free room on the disk below which no messages are accepted; 0 for no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_floor: Option<Size>,
    /// Certificates of another authority than the mesh's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How long work that is under way may go on after SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// What is logged: a level, or a list of `TARGET=LEVEL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How the log's lines look: `auto`, `text` or `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// What programs that prove their names by certificate may do, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<BTreeMap<String, Permissions>>,
}

/// The settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}: {cause}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file can't be written.
    #[error("can't write {}: {what}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The file has mistakes.
    #[error(transparent)]
    File(#[from] Box<Faults>),
    /// A flag's or a variable's value is not possible.
    #[error(transparent)]
    Value(#[from] Wrong),
    /// The name of the node that lives in the directory can't be read.
    #[error(transparent)]
    Identity(#[from] trust::IdentityError),
}

impl NodeConfig {
    /// The settings of the node in `dir`: `flags`, then the environment, then the directory's file, then the defaults.
    ///
    /// A node keeps the name and the mesh that its certificate bears. A new one is called as its machine, with a random
    /// ending if it joins a mesh, where that name may be taken.
    ///
    /// # Errors
    /// The file can't be read or has an error, or a value is not possible; the error names it.
    pub fn load(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        Self::load_with(dir, flags, variable)
    }

    /// What is wrong in a settings file, whatever flags and environment say; its directory is the node's.
    ///
    /// # Errors
    /// All that is wrong in it, as [`ConfigError::File`]; or it can't be read.
    pub fn check(path: &Path) -> Result<(), ConfigError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let mut document = Document::new(path, &text)?;
        let config = Self::of_layers(dir, &Table::new(), |_| None, &mut document)?;
        for (name, file) in config.tls.iter().flat_map(OwnFiles::each) {
            if !file.is_file() {
                let what = format!("there is no file {}", file.display());
                document.blame(&Wrong::new(Key::from("tls").member(name), what));
            }
        }
        match document.is_faulty() {
            true => Err(document.take_faults()),
            false => Ok(()),
        }
    }

    /// As [`NodeConfig::load`], with the norths from the directory's file, whatever flags and environment say of them:
    /// for a node whose norths were changed in that file while it ran.
    ///
    /// # Errors
    /// As [`NodeConfig::load`].
    pub fn load_norths_of_file(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        let flags = Partial {
            north: None,
            ..flags.clone()
        };
        Self::load_with(dir, &flags, |name| match name {
            NORTH_VARIABLE => None,
            name => variable(name),
        })
    }

    /// Whether norths are told by flags or environment, which count more than the file.
    pub fn norths_are_told_elsewhere(flags: &Partial) -> bool {
        flags.north.is_some() || variable(NORTH_VARIABLE).is_some()
    }

    fn load_with(
        dir: &Path,
        flags: &Partial,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = document::read(dir)?;
        let mut document = Document::new(&dir.join(FILE), &text)?;
        Self::of_layers(dir, &settings::table(flags)?, env, &mut document)
    }

    /// The settings by all that say something of them. All that is wrong in the file is found, not only the first.
    fn of_layers(
        dir: &Path,
        flags: &Table,
        env: impl Fn(&str) -> Option<String>,
        document: &mut Document<'_>,
    ) -> Result<Self, ConfigError> {
        let environment = settings::from_environment(&env)?;
        let above = settings::merge(flags, &environment);
        loop {
            let file = document.settings();
            let loaded = Self::assemble(dir, &above, &file, Environment::read(&env));
            let mut wrong = match loaded {
                Err(ConfigError::Value(wrong)) => wrong,
                _ if document.is_faulty() => return Err(document.take_faults()),
                other => return other,
            };
            if !wrong.in_file {
                wrong.told_by = settings::who(&wrong.key, flags, &environment);
            }
            // What the file says is taken out there, and the rest looked at again.
            if wrong.told_by.is_some() || !document.blame(&wrong) {
                return Err(wrong.into());
            }
        }
    }

    fn assemble(
        dir: &Path,
        above: &Table,
        file: &Table,
        environment: Environment,
    ) -> Result<Self, ConfigError> {
        let told = settings::read(&settings::merge(above, file))?;
        let ways = Ways::new(&settings::read(above)?, &settings::read(file)?, environment)?;
        let logging = Logging::read(&told)?;
        let drain = running::drain(told.drain.as_deref())?;
        let tls = told.tls.as_ref().map(|tls| own_files(dir, tls)).transpose()?;
        let stored = match &tls {
            Some(own) => own.name(),
            None => trust::stored_name(dir)?,
        };
        let (stored_name, stored_mesh) = stored.unzip();
        let north = peers::norths(&told.north.unwrap_or_default(), &ways)?;
        let south = peers::souths(&told.south.unwrap_or_default(), told.south_default.as_ref())?;
        let name = match (told.name, stored_name) {
            (Some(name), _) => value("name", &name)?,
            (None, Some(name)) => name,
            (None, None) => default_name(!north.is_empty())?,
        };
        let mesh = match (told.mesh, stored_mesh) {
            (Some(mesh), _) => value("mesh", &mesh)?,
            (None, Some(mesh)) => mesh,
            (None, None) => value("mesh", "mesh")?,
        };
        let listen = told.listen.unwrap_or_else(|| vec![format!("localhost:{PORT}")]);
        let listen = listen
            .iter()
            .enumerate()
            .map(|(at, text)| parse_listen(text).map_err(|what| wrong(Key::from("listen").entry(at), what)))
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        if listen.is_empty() {
            return Err(wrong(
                "listen",
                "name at least one address, such as localhost:7411",
            ));
        }
        let max_payload = told.max_payload.map_or(MAX_PAYLOAD, |size| size.0);
        if !(1..=PAYLOAD_MAX).contains(&max_payload) {
            return Err(wrong("max_payload", "it is from 1 to 1GiB"));
        }
        let trace_memory = told.trace_memory.map_or(TRACE_MEMORY, |size| size.0);
        if trace_memory > TRACE_MEMORY_LIMIT {
            return Err(wrong(
                "trace_memory",
                "it is from 0, which keeps nothing, to 1GiB",
            ));
        }
        let max_connections = told.max_connections.unwrap_or(MAX_CONNECTIONS);
        if !(1..=1 << 20).contains(&max_connections) {
            return Err(wrong("max_connections", "it is from 1 to 1048576"));
        }
        let ageing = told.ageing.as_deref().map_or(Ok(None), ageing)?;
        let advertise = told.advertise.map(|url| value("advertise", &url)).transpose()?;
        if advertise
            .as_ref()
            .is_some_and(|url: &NorthUrl| url.to_string().len() > ORIGIN_MAX)
        {
            return Err(wrong("advertise", "it is longer than 255 characters"));
        }
        let direct = match told.path.as_deref() {
            None | Some("reverse") => false,
            Some("direct") if advertise.is_some() => true,
            Some("direct") => {
                let what = "`direct` needs `advertise`, the URL at which nodes elsewhere reach this one";
                return Err(Wrong::new("path", what).for_want_of("advertise").into());
            }
            Some(other) => return Err(wrong("path", format!("`{other}` is not reverse or direct"))),
        };
        let hosts = told.hosts.unwrap_or_default();
        if let Some((at, bad)) = hosts.iter().enumerate().find(|(_, h)| !trust::is_host(h)) {
            let what = format!("`{bad}` is no host name and no address");
            return Err(wrong(Key::from("hosts").entry(at), what));
        }
        let capacity = told.capacity.unwrap_or_default();
        let default = redlink_core::Capacity::default();
        let services = u64::from(capacity.services.unwrap_or(default.services));
        if services * u64::from(capacity.peers.unwrap_or(default.peers)) > PAIRS_MAX {
            let what = "`services` times `peers` is at most 1073741824; each such pair takes 3 bytes";
            let key = match capacity.peers {
                Some(_) => "capacity.peers",
                None => "capacity.services",
            };
            return Err(wrong(key, what));
        }
        let dead_letters = told.dead_letters.unwrap_or_default().limits()?;
        let certificate_life = told.certificate_life.as_deref().map_or(Ok(LIFE_DEFAULT), life)?;
        let programs = told.programs.unwrap_or_default().into_iter();
        let programs = programs
            .map(|(name, permissions)| Ok((name_of("programs", &name)?, permissions)))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            dir: dir.to_owned(),
            name,
            mesh,
            listen,
            hosts,
            north,
            south,
            trace_memory,
            memory_messages: told.memory_messages.map_or(MEMORY_MESSAGES, |size| size.0),
            ways,
            max_payload,
            advertise,
            direct,
            max_connections,
            ageing,
            capacity,
            dead_letters,
            disk_floor: told.disk_floor.map(|size| size.0),
            certificate_life,
            tls,
            programs,
            drain,
            logging,
        })
    }

    /// What they say about the node's trust.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            hosts: self.certificate_hosts(),
            certificate_life: self.certificate_life,
            own: self.tls.clone(),
        }
    }

    /// Host names and addresses that its certificate should bear: the configured ones, and those that it listens on.
    pub fn certificate_hosts(&self) -> Vec<String> {
        let listening = self
            .listen
            .iter()
            .map(|l| l.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
        self.hosts
            .iter()
            .cloned()
            .chain(listening.map(|ip| ip.to_string()))
            .collect()
    }

    /// Takes over from `new` what counts at once, but for the peers.
    pub fn take_over(&mut self, new: &Self) {
        self.ways = new.ways.clone();
        self.programs = new.programs.clone();
        self.drain = new.drain;
        self.logging.level = new.logging.level.clone();
    }

    /// The settings that differ in `new` and count only from a start on.
    pub fn needs_restart_for(&self, new: &Self) -> Vec<&'static str> {
        // Whoever adds a setting has to say here what a reload does with it.
        let Self {
            dir: _,
            name,
            mesh,
            listen,
            hosts,
            north: _,
            south: _,
            ways: _,
            trace_memory,
            memory_messages,
            max_payload,
            advertise,
            direct,
            max_connections,
            ageing,
            capacity,
            dead_letters,
            disk_floor,
            certificate_life,
            tls,
            programs: _,
            drain: _,
            logging,
        } = self;
        let differ = [
            ("name", *name != new.name),
            ("mesh", *mesh != new.mesh),
            ("listen", *listen != new.listen),
            ("hosts", *hosts != new.hosts),
            ("trace_memory", *trace_memory != new.trace_memory),
            ("memory_messages", *memory_messages != new.memory_messages),
            ("max_payload", *max_payload != new.max_payload),
            ("advertise", *advertise != new.advertise),
            ("path", *direct != new.direct),
            ("max_connections", *max_connections != new.max_connections),
            ("ageing", *ageing != new.ageing),
            ("capacity", *capacity != new.capacity),
            ("dead_letters", *dead_letters != new.dead_letters),
            ("disk_floor", *disk_floor != new.disk_floor),
            ("certificate_life", *certificate_life != new.certificate_life),
            ("tls", *tls != new.tls),
            ("log_format", logging.format != new.logging.format),
        ];
        let differ = differ.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(setting, _)| setting).collect()
    }

    /// Writes down what the flags said, so that the next start needs none of them. A settings file that is there is the
    /// user's and stays as it is.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn remember(&self, flags: &Partial) -> Result<(), ConfigError> {
        let path = self.dir.join(FILE);
        let failed = |what: String| ConfigError::Write {
            path: path.clone(),
            what,
        };
        if path.try_exists().map_err(|e| failed(e.to_string()))? {
            return Ok(());
        }
        let told = Partial {
            name: Some(self.name.to_string()),
            mesh: Some(self.mesh.to_string()),
            // Who looks closer once does not mean always.
            log: None,
            log_format: None,
            ..flags.clone()
        };
        let text = toml::to_string(&told).map_err(|e| failed(e.to_string()))?;
        let text = format!(
            "# Settings of this node, from its first start; change them here. Flags of `redlink node` and environment\n\
             # variables (REDLINK_LISTEN and so on) count more than this file.\n{text}"
        );
        trust::write_private(&self.dir, FILE, text.as_bytes()).map_err(|e| failed(e.to_string()))
    }
}

/// A variable of the environment; an empty one says nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// All three files, or none of them.
fn own_files(dir: &Path, tls: &Tls) -> Result<OwnFiles, ConfigError> {
    let file = |name: &str, told: &Option<PathBuf>| match told {
        Some(path) => Ok(dir.join(path)),
        None => Err(wrong(
            "tls",
            format!("`{name}` is missing; certificates of another authority are ca, certificate and key"),
        )),
    };
    Ok(OwnFiles {
        ca: file("ca", &tls.ca)?,
        certificate: file("certificate", &tls.certificate)?,
        key: file("key", &tls.key)?,
    })
}

fn value<T: FromStr>(key: impl Into<Key>, text: &str) -> Result<T, ConfigError>
where
    T::Err: fmt::Display,
{
    text.parse()
        .map_err(|e: T::Err| wrong(key, format!("`{text}`: {e}")))
}

/// A name that is the key of a table of this setting.
fn name_of(setting: &str, text: &str) -> Result<Name, ConfigError> {
    let bad = |e: redlink_core::NameError| {
        let key = Key::from(setting).member(text);
        Wrong::new(key, format!("`{text}`: {e}")).a_name().into()
    };
    text.parse().map_err(bad)
}

/// Reads how long a message waits for a level of priority.
fn ageing(text: &str) -> Result<Option<Duration>, ConfigError> {
    if text == "none" {
        return Ok(None);
    }
    let step = crate::http::headers::parse_duration(text).ok();
    let step = step.filter(|step| (AGEING_MIN..=AGEING_MAX).contains(step));
    step.map(Some).ok_or_else(|| {
        let what = format!("`{text}` is not possible; it is from 1ms to 365d, such as 1m, or none");
        wrong("ageing", what)
    })
}

/// Reads how long certificates live.
fn life(text: &str) -> Result<Duration, ConfigError> {
    let life = crate::http::headers::parse_duration(text).ok();
    life.filter(|life| (LIFE_MIN..=LIFE_MAX).contains(life))
        .ok_or_else(|| {
            let days = LIFE_MAX.as_secs() / 86_400;
            let what = format!(
                "`{text}` is not possible; it is from {}s to {days}d, such as 30d",
                LIFE_MIN.as_secs()
            );
            wrong("certificate_life", what)
        })
}

fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, String> {
    let bad = || format!("`{text}` is not ADDRESS:PORT, such as 0.0.0.0:7411, [::]:7411 or localhost:7411");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    if host == "localhost" {
        // Which of the two `localhost` is depends on the machine.
        let port = port.parse().map_err(|_| bad())?;
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, port)).into());
    }
    Ok(vec![text.parse().map_err(|_| bad())?])
}

/// The machine's name, as far as names allow it.
fn default_name(joins: bool) -> Result<Name, ConfigError> {
    let host = trust::own_host_name().unwrap_or_default();
    let label = host.split('.').next().unwrap_or_default();
    let mut base: String = label
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(48)
        .collect();
    base = base.trim_matches('-').to_owned();
    // Every machine that has no name of its own calls itself so.
    let nameless = base.is_empty() || base == "localhost";
    if nameless {
        base = "node".into();
    }
    if joins || nameless {
        base = format!("{base}-{:04x}", trust::random_number());
    }
    value("name", &base)
}
