//! Mistakes in the settings file: all of them, each with its place and what to do.

use super::*;

fn check(text: &str) -> Result<(), Box<Faults>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(&path, text).unwrap();
    match NodeConfig::check(&path) {
        Ok(()) => Ok(()),
        Err(ConfigError::File(faults)) => Err(faults),
        Err(other) => panic!("{other}"),
    }
}

/// Line, column, setting, and what is wrong with the advice behind it.
fn faults(text: &str) -> Vec<(usize, usize, String, String)> {
    let faults = check(text).expect_err(text);
    let list = faults.list().map(|fault| {
        (
            fault.line.unwrap_or_default(),
            fault.column.unwrap_or_default(),
            fault.setting.unwrap_or_default(),
            format!("{} | {}", fault.what, fault.help.unwrap_or_default()),
        )
    });
    list.collect()
}

#[test]
fn each_mistake_is_found_at_its_place() {
    for (text, line, column, setting, says) in [
        (
            "nmae = 'b'",
            1,
            1,
            "nmae",
            "no setting `nmae` | did you mean `name`?",
        ),
        ("name = 'a b'", 1, 8, "name", "`a b`"),
        ("name = 3", 1, 8, "name", "expected a string | `name`: "),
        (
            "listen = ['localhost:1', 'x']",
            1,
            26,
            "listen",
            "`x` is not ADDRESS:PORT",
        ),
        ("listen = []", 1, 10, "listen", "at least one"),
        ("hosts = [\n  'a',\n  'a b',\n]", 3, 3, "hosts", "no host name"),
        (
            "max_payload = '3 apples'",
            1,
            15,
            "max_payload",
            "number of bytes",
        ),
        ("max_payload = 0", 1, 15, "max_payload", "from 1 to 1GiB"),
        ("max_connections = 0", 1, 19, "max_connections", "from 1 to"),
        (
            "certificate_life = '9s'",
            1,
            20,
            "certificate_life",
            "10s to 366d",
        ),
        ("path = 'straight'", 1, 8, "path", "reverse or direct"),
        ("path = 'direct'", 1, 8, "path", "needs `advertise`"),
        ("link = 'x'", 1, 8, "link", "poll"),
        ("proxy = 'socks5://p'", 1, 9, "proxy", "SOCKS"),
        (
            "north = ['https://a', 'http://b']",
            1,
            23,
            "north",
            "https, not http",
        ),
        (
            "[[north]]\nurl = 'https://a'\n[[north]]\nurl = 'b'",
            4,
            7,
            "north.url",
            "https://HOST",
        ),
        ("[[north]]\nname = 'x'", 1, 1, "north", "missing field `url`"),
        (
            "north = ['https://a', 'https://a:7411/']",
            1,
            23,
            "north",
            "twice",
        ),
        (
            "[[north]]\nurl = 'https://a'\nimport = ['x', 'a b']",
            3,
            16,
            "north.import",
            "no rule",
        ),
        (
            "[[north]]\nurl = 'https://a'\nimports = ['x']",
            3,
            1,
            "north.imports",
            "`import`",
        ),
        (
            "[[north]]\nurl = 'https://a'\nlink = 'q'",
            3,
            8,
            "north.link",
            "poll",
        ),
        ("[south.'a/b']", 1, 8, "south.a/b", "a/b"),
        ("[south.a]\nexport = ['a b']", 2, 11, "south.a.export", "no rule"),
        (
            "[south_default]\nimport = ['?', '']",
            2,
            16,
            "south_default.import",
            "no rule",
        ),
        ("[programs.'a/b']\nproduce = ['x']", 1, 11, "programs.a/b", "a/b"),
        (
            "[programs.a]\nproduces = ['x']",
            2,
            1,
            "programs.a.produces",
            "did you mean `produce`?",
        ),
        (
            "[capacity]\nmesages = 1",
            2,
            1,
            "capacity.mesages",
            "did you mean `messages`?",
        ),
        (
            "[capacity]\npeers = 4000000000",
            2,
            9,
            "capacity.peers",
            "`services` times `peers`",
        ),
        ("[capacity]\npeers = -1", 2, 9, "capacity.peers", "-1"),
        ("peers = 3", 1, 1, "peers", "in the section [capacity]"),
        (
            "[capacity]\nlisten = ['localhost:1']",
            2,
            1,
            "capacity.listen",
            "above the first section",
        ),
        (
            "[capacity]\nzzzzzzzz = 3",
            2,
            1,
            "capacity.zzzzzzzz",
            "there are: messages, reservations",
        ),
        ("zzzzzzzz = 3", 1, 1, "zzzzzzzz", "redlink config show"),
        ("[tls]\nca = 'ca.pem'", 1, 1, "tls", "`certificate` is missing"),
        ("# ö\nname = 'ö' # x", 2, 8, "name", "`ö`"),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        let (at_line, at_column, of, what) = &found[0];
        assert_eq!(
            (*at_line, *at_column, of.as_str()),
            (line, column, setting),
            "{text}: {what}"
        );
        assert!(what.contains(says), "{text}: {what}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_and_none_that_is_not_there() {
    let text = "nmae = 'a'\nlisten = ['x', 'localhost:1', 'y']\nmax_payload = -3\nadvertise = 'ftp://a'\npath = 'direct'\n\
                [capacity]\nmesages = 1\npeers = 'many'\ntakes = 5\n[south.'a b']\nimport = ['ok', '!', 'o k']\n";
    let found = faults(text);
    let places: Vec<(usize, &str)> = found
        .iter()
        .map(|(line, _, of, _)| (*line, of.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (1, "nmae"),
            (2, "listen"),
            (2, "listen"),
            (3, "max_payload"),
            (4, "advertise"),
            // `path` is right once `advertise` is.
            (7, "capacity.mesages"),
            (8, "capacity.peers"),
            (10, "south.a b"),
            (11, "south.a b.import"),
            (11, "south.a b.import"),
        ],
        "{found:?}"
    );
}

#[test]
fn what_is_no_toml_is_pointed_at_and_nothing_else_said() {
    for text in [
        "name = ",
        "name = 'a\nmesh = 'b'",
        "name = 'a'\nname = 'b'",
        "[capacity\npeers = 1",
        "= 3",
        "\u{1}",
    ] {
        let found = faults(text);
        assert!(found.iter().all(|(line, ..)| *line > 0), "{text:?}: {found:?}");
    }
    assert!(faults("a = 1\nb = [1,,2]\nc = = 3\n").len() >= 2);
}

#[test]
fn a_report_shows_the_line_and_marks_the_place() {
    let report = check("name = 'a'\nmax_paylaod = '1KiB'\n")
        .unwrap_err()
        .report(false);
    for says in [
        "error: there is no setting `max_paylaod`",
        "redlink.toml:2:1",
        "2 | max_paylaod = '1KiB'",
        "| ^^^^^^^^^^^",
        "help: did you mean `max_payload`?",
    ] {
        assert!(report.contains(says), "{report}");
    }
}

#[test]
fn a_report_shows_no_password() {
    for text in [
        "north = [{ url = 'x', proxy = 'http://me:secret@p' }]",
        "proxy = 'gopher://me:secret@p'",
        "proxy = 'http://me:secret@p",
        "proxy = 'http://me:sec'secret@p'",
    ] {
        let faults = check(text).unwrap_err();
        let all = format!("{}{}{faults:?}", faults.report(false), faults);
        assert!(!all.contains("secret"), "{all}");
    }
}

#[test]
fn files_of_certificates_have_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(
        &path,
        "[tls]\nca = 'ca.pem'\ncertificate = 'c.pem'\nkey = 'k.pem'\n",
    )
    .unwrap();
    for name in ["ca.pem", "k.pem"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let error = NodeConfig::check(&path).unwrap_err().to_string();
    assert!(
        error.contains(":3:15: `tls.certificate`: there is no file"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    std::fs::write(dir.path().join("c.pem"), "").unwrap();
    NodeConfig::check(&path).unwrap();
}

#[test]
fn a_variable_hides_a_mistake_in_the_file_only_where_it_counts_more() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "max_payload = 0\nproxy = 'socks5://p'\n").unwrap();
    let env = [("REDLINK_MAX_PAYLOAD", "5"), ("REDLINK_PROXY", "none")];
    let error = load(dir.path(), &Partial::default(), &env)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("redlink.toml:2:9") && !error.contains("max_payload"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn no_file_is_too_strange(text in "(?s).{0,80}") {
        let _ = check(&text).map_err(|faults| (faults.report(true), faults.to_string()));
    }

    #[test]
    fn no_settings_are_too_strange(
        lines in proptest::collection::vec(
            ("(name|listen|north|capacity|\\[tls\\]|\\[\\[north\\]\\]|url|south|\\[south\\.a\\]|import|\\[programs\\.p\\])",
             "( = )?", "('x'|3|\\['a', 3\\]|\\{ url = 3, b = \\[\\] \\}|true|ö|)"),
            0..8,
        )
    ) {
        let text: String = lines.iter().map(|(a, b, c)| format!("{a}{b}{c}\n")).collect();
        let _ = check(&text).map_err(|faults| (faults.report(true), faults.to_string()));
    }
}
