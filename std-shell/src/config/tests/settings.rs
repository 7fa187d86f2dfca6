//! The table of settings says all, and what it says is so.

use super::super::shown::Shown;
use super::*;
use serde::Deserializer;
use serde::de::Visitor;
use std::collections::BTreeSet;
use toml::Value;

/// Hands over what members a type wants to read, and reads nothing.
struct Members<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Members<'_> {
    type Error = serde::de::value::Error;
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only structures"))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        members: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(members);
        Err(serde::de::Error::custom("seen"))
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn members_of<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    let mut members = Vec::new();
    let _ = T::deserialize(Members(&mut members));
    assert!(!members.is_empty());
    members
}

#[test]
fn each_member_of_the_settings_has_a_line_in_the_table_and_each_line_is_a_member() {
    let sections = [
        ("capacity", members_of::<Capacity>()),
        ("dead_letters", members_of::<DeadLetters>()),
        ("tls", members_of::<Tls>()),
        ("south_default", members_of::<SouthEntry>()),
    ];
    let is_section = |name: &str| sections.iter().any(|(section, _)| *section == name);
    let mut members: BTreeSet<String> = members_of::<Partial>()
        .into_iter()
        .filter(|name| !is_section(name))
        .map(str::to_owned)
        .collect();
    for (section, inside) in &sections {
        members.extend(inside.iter().map(|name| format!("{section}.{name}")));
    }
    let table: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(
        members, table,
        "a member of Partial, or of a section, and SETTINGS go together"
    );
    assert_eq!(table.len(), SETTINGS.len(), "a line is there twice");
}

/// A value of each setting that is not its default, as the environment has it and as the file has it.
fn other_values() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("name", "n", "'n'"),
        ("mesh", "m", "'m'"),
        ("listen", "localhost:1, [::]:2", "['localhost:1', '[::]:2']"),
        ("hosts", "a.example,10.0.0.1", "['a.example', '10.0.0.1']"),
        ("advertise", "https://a.example", "'https://a.example'"),
        ("path", "direct", "'direct'"),
        ("north", "https://a, https://b:1", "['https://a', 'https://b:1']"),
        (
            "north",
            "[{ url = 'https://a', import = ['x.*'] }]",
            "[{ url = 'https://a', import = ['x.*'] }]",
        ),
        ("proxy", "http://p:1", "'http://p:1'"),
        ("link", "poll", "'poll'"),
        ("ageing", "1m", "'1m'"),
        ("max_payload", "1MiB", "1048576"),
        ("max_connections", "7", "7"),
        ("memory_messages", "1MiB", "1048576"),
        ("drain", "1m", "'1m'"),
        ("log", "debug", "'debug'"),
        ("log_format", "json", "'json'"),
        ("trace_memory", "0", "0"),
        ("certificate_life", "12h", "'12h'"),
        ("capacity.messages", "11", "11"),
        ("capacity.reservations", "12", "12"),
        ("capacity.deliveries", "13", "13"),
        ("capacity.services", "14", "14"),
        ("capacity.consumers", "15", "15"),
        ("capacity.takes", "16", "16"),
        ("capacity.peers", "17", "17"),
        ("capacity.routes", "18", "18"),
        ("capacity.relays", "19", "19"),
        ("capacity.rules", "20", "20"),
        ("capacity.idempotency_keys", "21", "21"),
        ("dead_letters.max", "21", "21"),
        ("dead_letters.keep", "2h", "'2h'"),
        ("disk_floor", "1GiB", "1073741824"),
        ("tls.ca", "a.pem", "'a.pem'"),
        ("tls.certificate", "b.pem", "'b.pem'"),
        ("tls.key", "c.pem", "'c.pem'"),
        ("south_default.accept_from_south", "false", "false"),
        ("south_default.import", "a.*,!*", "['a.*', '!*']"),
        ("south_default.export", "b", "['b']"),
        (
            "south",
            "{ s = { import = ['a'] } }",
            "{ s = { import = ['a'] } }",
        ),
        (
            "programs",
            "{ shop = { produce = ['a'] } }",
            "{ shop = { produce = ['a'] } }",
        ),
    ]
}

/// What some settings need so that they count at all.
fn company(name: &str) -> &'static str {
    match name {
        "path" => "advertise = 'https://a.example'\n",
        "proxy" | "link" => "north = ['https://hub.example']\n",
        "tls.ca" => "tls.certificate = 'b.pem'\ntls.key = 'c.pem'\ntls.ca = 'other'\n",
        "tls.certificate" => "tls.ca = 'a.pem'\ntls.key = 'c.pem'\ntls.certificate = 'other'\n",
        "tls.key" => "tls.ca = 'a.pem'\ntls.certificate = 'b.pem'\ntls.key = 'other'\n",
        _ => "",
    }
}

#[test]
fn each_setting_is_taken_from_the_environment_as_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    let values = other_values();
    for setting in SETTINGS {
        assert!(
            values.iter().any(|(name, ..)| *name == setting.name),
            "{} has no value here",
            setting.name
        );
    }
    for (name, text, toml) in values {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        let always = match name {
            "name" => "",
            _ => "name = 'always'\n",
        };
        let base = format!("{always}{}", company(name));
        std::fs::write(&file, &base).unwrap();
        let variable = setting.variable();
        let by_variable = load(dir.path(), &Partial::default(), &[(&variable, text)]).unwrap();
        let without = load(dir.path(), &Partial::default(), &[]).unwrap();
        assert_ne!(by_variable, without, "{variable} counts for nothing");
        let base = base.replace(&format!("{name} = 'other'\n"), "");
        std::fs::write(&file, format!("{base}{name} = {toml}\n")).unwrap();
        let by_file = load(dir.path(), &Partial::default(), &[]).unwrap();
        // Who said it of the ways is another one.
        let ways = by_file.ways.clone();
        assert_eq!(NodeConfig { ways, ..by_variable }, by_file, "{variable}={text}");
        let differ = without.needs_restart_for(&by_file);
        let top = name.split('.').next().unwrap();
        assert_eq!(
            differ.contains(&top),
            setting.reload == Reload::Restart,
            "{name}: the table says {:?}",
            setting.reload
        );
    }
}

#[test]
fn a_variable_of_one_member_leaves_the_others_of_its_section_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join(FILE),
        "[capacity]\nmessages = 5\npeers = 6\n[tls]\nca = 'a'\nkey = 'k'\n",
    )
    .unwrap();
    let env = [
        ("REDLINK_CAPACITY__PEERS", "7"),
        ("REDLINK_TLS__CERTIFICATE", "c"),
    ];
    let config = load(dir.path(), &Partial::default(), &env).unwrap();
    assert_eq!(
        (config.capacity.messages, config.capacity.peers),
        (Some(5), Some(7))
    );
    assert!(config.tls.is_some());
}

#[test]
fn a_bad_variable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "trace_memory = '1KiB'\n").unwrap();
    for (variable, text, says) in [
        ("REDLINK_MAX_CONNECTIONS", "many", "no number"),
        ("REDLINK_MAX_CONNECTIONS", "0", "from 1 to"),
        ("REDLINK_MAX_PAYLOAD", "3 apples", "number of bytes"),
        ("REDLINK_TRACE_MEMORY", "2GiB", "to 1GiB"),
        ("REDLINK_LISTEN", "here", "ADDRESS:PORT"),
        ("REDLINK_CAPACITY__PEERS", "-1", "no number"),
        ("REDLINK_SOUTH_DEFAULT__IMPORT", "a b", "no rule"),
        ("REDLINK_SOUTH_DEFAULT__ACCEPT_FROM_SOUTH", "yes", "true or false"),
        (
            "REDLINK_PROGRAMS",
            "{ shop = { produce = ['a b'] } }",
            "no pattern",
        ),
        ("REDLINK_PROGRAMS", "shop", "as the file would have it"),
        ("REDLINK_NORTH", "[{ urll = 'https://a' }]", "urll"),
        ("REDLINK_TLS__CA", "a.pem", "`certificate` is missing"),
    ] {
        let error = load(dir.path(), &Partial::default(), &[(variable, text)]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(variable) && error.contains(says), "{error}");
    }
}

#[test]
fn what_is_shown_makes_the_same_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    let text = "name = 'a'\nmax_payload = '1KiB'\npath = 'direct'\nadvertise = 'https://a.example'\nlink = 'poll'\n\
                north = ['https://n', { url = 'https://o', export = ['!x', '*'] }]\n[capacity]\npeers = 9\n\
                [south_default]\nimport = ['jobs.*']\n[south.'a.b']\nexport = ['y']\n\
                [programs.'shop:1']\nproduce = ['jobs.*']\n[programs.idle]\n";
    for text in ["name = 'a'\n", text] {
        std::fs::write(&file, text).unwrap();
        let config = load(dir.path(), &Partial::default(), &[]).unwrap();
        for source in [false, true] {
            std::fs::write(&file, text).unwrap();
            let shown = Shown::load_with(dir.path(), &Partial::default(), |_| None).unwrap();
            let shown = shown.to_toml(source);
            std::fs::write(&file, &shown).unwrap();
            let again = load(dir.path(), &Partial::default(), &[]).unwrap_or_else(|e| panic!("{e}\n{shown}"));
            // Most sizes of tables are said now that were not: they have to be those that count anyway.
            let mut expected = config.clone();
            let default = redlink_core::Capacity::default();
            let said = &mut expected.capacity;
            said.messages.get_or_insert(default.messages);
            said.reservations.get_or_insert(default.reservations);
            said.deliveries.get_or_insert(default.deliveries);
            said.services.get_or_insert(default.services);
            said.consumers.get_or_insert(default.consumers);
            said.takes.get_or_insert(default.takes);
            said.peers.get_or_insert(default.peers);
            said.routes.get_or_insert(default.routes);
            said.relays.get_or_insert(default.relays);
            said.rules.get_or_insert(default.rules);
            said.idempotency_keys.get_or_insert(100_000);
            expected.ways = again.ways.clone();
            assert_eq!(again, expected, "{shown}");
        }
    }
}

#[test]
fn each_value_is_shown_with_who_said_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    let text = "mesh = 'm'\nproxy = 'http://me:secret@p:1'\n\n[capacity]\npeers = 3\n[south.x]\n";
    std::fs::write(&file, text).unwrap();
    let flags = Partial {
        name: Some("flagged".into()),
        ..Partial::default()
    };
    let env = |name: &str| match name {
        "REDLINK_NORTH" => Some("[{ url = 'https://a', proxy = 'me:secret@q' }]".to_owned()),
        "REDLINK_NAME" => Some("less".to_owned()),
        "REDLINK_CAPACITY__TAKES" => Some("4".to_owned()),
        _ => None,
    };
    let shown = Shown::load_with(dir.path(), &flags, env).unwrap();
    let of = |name: &str| {
        let found = shown.settings.iter().find(|shown| shown.setting.name == name);
        let found = found.unwrap();
        (
            found.value.as_ref().map(Value::to_string),
            found.source.to_string(),
        )
    };
    let file = file.display().to_string();
    let says = |value: &str, source: &str| (Some(value.to_owned()), source.to_owned());
    assert_eq!(of("name"), says("\"flagged\"", "flag --name"));
    assert_eq!(of("mesh"), says("\"m\"", &format!("{file}:1")));
    assert_eq!(of("proxy"), says("\"http://***@p:1\"", &format!("{file}:2")));
    assert_eq!(of("capacity.peers"), says("3", &format!("{file}:5")));
    assert_eq!(
        of("capacity.takes"),
        says("4", "environment REDLINK_CAPACITY__TAKES")
    );
    assert_eq!(of("capacity.rules"), says("2048", "default"));
    assert_eq!(of("south").1, format!("{file}:6"));
    assert_eq!(of("advertise"), (None, "default".into()));
    assert_eq!(of("north").1, "environment REDLINK_NORTH");
    let toml = shown.to_toml(true);
    let json = serde_json::to_string(&shown.settings).unwrap();
    for text in [&toml, &json] {
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(
        json.contains(r#""source":{"kind":"variable","name":"REDLINK_NORTH"}"#),
        "{json}"
    );
}
