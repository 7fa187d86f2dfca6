mod check;
mod peers;
mod settings;
mod ways;

use super::*;

fn load(dir: &Path, flags: &Partial, env: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    NodeConfig::load_with(dir, flags, |name| {
        env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    })
}

#[test]
fn without_any_word_it_listens_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let config = load(dir.path(), &Partial::default(), &[]).unwrap();
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:7411", "[::1]:7411"]);
    assert_eq!((config.mesh.as_str(), config.max_payload), ("mesh", 64 << 20));
    assert!(config.north.is_empty() && config.certificate_hosts().is_empty());
}

#[test]
fn a_flag_counts_more_than_the_environment_and_that_more_than_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = 'f'\nmesh = 'f'\nlisten = ['0.0.0.0:1', '10.0.0.1:2']\nmax_payload = '1KiB'\n\
                [capacity]\nmessages = 5\n";
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let flags = Partial {
        name: Some("a".into()),
        ..Partial::default()
    };
    let config = load(
        dir.path(),
        &flags,
        &[("REDLINK_NAME", "e"), ("REDLINK_MESH", "e")],
    )
    .unwrap();
    assert_eq!(
        (config.name.as_str(), config.mesh.as_str(), config.max_payload),
        ("a", "e", 1024)
    );
    assert_eq!(config.capacity.messages, Some(5));
    assert_eq!(config.certificate_hosts(), ["10.0.0.1"]);
    let env = [
        ("REDLINK_NORTH", "https://a:1, https://b"),
        ("REDLINK_MAX_CONNECTIONS", "7"),
        ("REDLINK_AGEING", "1m"),
    ];
    let config = load(dir.path(), &Partial::default(), &env).unwrap();
    assert_eq!(
        config.north.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["https://a:1", "https://b:7411"]
    );
    assert_eq!(config.max_connections, 7);
    assert_eq!(config.ageing, Some(Duration::from_secs(60)));
    let flags = Partial {
        ageing: Some("none".into()),
        ..Partial::default()
    };
    assert_eq!(load(dir.path(), &flags, &env).unwrap().ageing, None);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |text: &str| {
        std::fs::write(dir.path().join(FILE), text).unwrap();
        load(dir.path(), &Partial::default(), &[])
            .unwrap_err()
            .to_string()
    };
    for (text, says) in [
        ("name = 'a'\nnmae = 'b'", "redlink.toml:2:1"),
        ("name = 'a'\nnmae = 'b'", "redlink.toml"),
        ("name = 'a'\nnmae = 'b'", "nmae"),
        ("name = 3", "redlink.toml:1:8"),
        ("max_payload = '3 apples'", "apples"),
        ("max_payload = 0", "max_payload"),
        ("trace_memory = '2GiB'", "trace_memory"),
        ("max_payload = '2GiB'", "1GiB"),
        ("name = 'a b'", "`name`"),
        ("listen = []", "`listen`"),
        ("listen = ['example.com:1']", "ADDRESS:PORT"),
        ("listen = ['127.0.0.1']", "ADDRESS:PORT"),
        ("north = ['http://a']", "https"),
        ("north = ['https://a/b']", "https://HOST"),
        ("hosts = ['a b']", "`hosts`"),
        ("[capacity]\nmesages = 1", "mesages"),
        ("[capacity]\npeers = 4000000000", "`services` times `peers`"),
        ("ageing = '1us'", "1ms to 365d"),
        ("ageing = '0s'", "or none"),
        ("ageing = 'off'", "`ageing`"),
        ("certificate_life = '9s'", "10s to 366d"),
        ("certificate_life = '367d'", "`certificate_life`"),
        ("certificate_life = '30'", "such as 30d"),
        ("[tls]\nca = 'ca.pem'", "certificate"),
        ("[tls]\ncert = 'ca.pem'", "cert"),
    ] {
        let error = fails(text);
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

#[test]
fn what_is_said_of_certificates_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let wishes = load(dir.path(), &Partial::default(), &[]).unwrap().wishes();
    assert_eq!(wishes.certificate_life, Duration::from_secs(30 * 86_400));
    assert_eq!(wishes.own, None);
    let text = "certificate_life = '12h'\nhosts = ['a.example.com']\n\
                [tls]\nca = '/etc/ca.pem'\ncertificate = 'x/node.pem'\nkey = 'k.pem'\n";
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let wishes = load(dir.path(), &Partial::default(), &[]).unwrap().wishes();
    assert_eq!(wishes.certificate_life, Duration::from_secs(12 * 3_600));
    assert_eq!(wishes.hosts, ["a.example.com"]);
    let own = wishes.own.unwrap();
    assert_eq!(own.ca, Path::new("/etc/ca.pem"));
    assert_eq!(
        (own.certificate, own.key),
        (dir.path().join("x/node.pem"), dir.path().join("k.pem"))
    );
    let env = [("REDLINK_CERTIFICATE_LIFE", "20s")];
    let config = load(dir.path(), &Partial::default(), &env).unwrap();
    assert_eq!(config.certificate_life, Duration::from_secs(20));
}

#[test]
fn urls_of_nodes() {
    for (text, host, port) in [
        ("https://a", "a", 7411),
        ("https://a.b:1/", "a.b", 1),
        ("https://[::1]:5", "::1", 5),
        ("https://127.0.0.1", "127.0.0.1", 7411),
    ] {
        assert_eq!(
            text.parse::<NorthUrl>(),
            Ok(NorthUrl {
                host: host.into(),
                port
            }),
            "{text}"
        );
    }
    for bad in [
        "",
        "a",
        "a:1",
        "https://",
        "https://a:0",
        "https://a:99999",
        "https://u@a",
        "https://a?b",
        "https://a:",
    ] {
        assert!(bad.parse::<NorthUrl>().is_err(), "{bad}");
    }
}

#[test]
fn the_first_start_is_remembered_and_a_file_of_the_user_s_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let flags = Partial {
        listen: Some(vec!["localhost:0".into()]),
        north: Some(vec!["https://n:1".into()]),
        proxy: Some("http://u:p@p:1".to_owned().into()),
        ..Partial::default()
    };
    let made = load(dir.path(), &flags, &[]).unwrap();
    made.remember(&flags).unwrap();
    let again = load(dir.path(), &Partial::default(), &[]).unwrap();
    // Who said it first is another one now; what counts is the same.
    let ways = made.ways.clone();
    assert_eq!(
        NodeConfig { ways, ..again },
        made,
        "the random ending of the name as well"
    );
    let before = std::fs::read(dir.path().join(FILE)).unwrap();
    made.remember(&Partial::default()).unwrap();
    assert!(std::fs::read(dir.path().join(FILE)).unwrap() == before);
}

proptest::proptest! {
    #[test]
    fn no_setting_is_too_strange(text in ".*", host in "[a-z0-9.:\\[\\]@-]{0,20}") {
        let _ = (text.parse::<Size>(), text.parse::<NorthUrl>(), super::parse_listen(&text));
        if let Ok(url) = format!("https://{host}").parse::<NorthUrl>() {
            proptest::prop_assert_eq!(url.to_string().parse::<NorthUrl>(), Ok(url));
        }
    }
}

#[test]
fn programs_have_their_permissions_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[programs.shop]\nproduce = ['jobs.*', 'mail']\n[programs.'a:b']\nconsume = ['jobs.wc']\n\
                [programs.ops]\nadminister = true\n[programs.idle]\n";
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let config = load(dir.path(), &Partial::default(), &[]).unwrap();
    let name = |text| Name::new(text).unwrap();
    let of = |program| &config.programs[&name(program)];
    assert_eq!(config.programs.len(), 4);
    assert!(of("shop").may_produce(&name("jobs.x")) && !of("shop").may_consume(&name("jobs.x")));
    assert!(of("a:b").may_consume(&name("jobs.wc")) && !of("a:b").administer);
    assert!(of("ops").administer && of("idle").is_nothing());
    for (bad, says) in [
        ("[programs.shop]\nproduces = ['x']\n", "produces"),
        ("[programs.shop]\nproduce = ['a b']\n", "a b"),
        ("[programs.shop]\nproduce = 'x'\n", ":2:"),
        ("[programs.'a/b']\nproduce = ['x']\n", "a/b"),
        ("programs = ['shop']\n", ":1:"),
    ] {
        std::fs::write(dir.path().join(FILE), bad).unwrap();
        let error = load(dir.path(), &Partial::default(), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn how_a_node_runs_may_change_while_it_does_and_the_rest_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str| std::fs::write(dir.path().join(FILE), text).unwrap();
    let now = || load(dir.path(), &Partial::default(), &[]);
    file("name = 'a'\n");
    let mut old = now().unwrap();
    assert_eq!((old.drain, &old.logging), (DRAIN_DEFAULT, &Logging::default()));
    file(
        "name = 'b'\nmesh = 'm'\nlisten = ['127.0.0.1:1']\nhosts = ['h']\ntrace_memory = 0\nmax_payload = 1\nmax_connections = 1\n\
         advertise = 'https://h'\npath = 'direct'\ncertificate_life = '2d'\ndrain = '1m'\nlog = 'warn'\nlog_format = 'json'\n\
         capacity = { peers = 3 }\ntls = { ca = 'a', certificate = 'b', key = 'c' }\n[programs.p]\nwatch = true\n",
    );
    let new = now().unwrap();
    let named = [
        "name",
        "mesh",
        "listen",
        "hosts",
        "trace_memory",
        "max_payload",
        "advertise",
        "path",
        "max_connections",
        "capacity",
        "certificate_life",
        "tls",
        "log_format",
    ];
    let mut found = old.needs_restart_for(&new);
    found.sort_unstable();
    let mut wanted = named.to_vec();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    old.take_over(&new);
    assert_eq!(old.drain, Duration::from_secs(60));
    assert_eq!(old.logging.level.as_deref(), Some("warn"));
    assert_eq!(old.logging.format, LogFormat::Auto, "only from the next start on");
    assert!(old.programs.values().next().unwrap().watch);
    assert_eq!(old.needs_restart_for(&new).len(), named.len());
    for (text, says) in [
        ("drain = '2h'", "from 0s to 1h"),
        ("drain = 'soon'", "soon"),
        ("log = 'loud'", "loud"),
        ("log_format = 'xml'", "auto, text or json"),
    ] {
        file(text);
        let error = now().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
