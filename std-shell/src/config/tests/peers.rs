//! Peers in the settings: what is read, and what a change leaves of a file.

use super::super::{Change, North, NorthUrl, OwnWay, PeerPolicy, Rules, Way};
use super::*;

fn read(text: &str) -> Result<NodeConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), text).unwrap();
    load(dir.path(), &Partial::default(), &[]).map_err(|e| e.to_string())
}

fn rules(list: &[&str]) -> Rules {
    Rules::new(list).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn north(url: &str) -> North {
    North {
        url: url.parse().unwrap(),
        name: None,
        policy: PeerPolicy::default(),
        own: OwnWay::default(),
        way: Way::default(),
    }
}

#[test]
fn norths_are_urls_or_tables_or_both() {
    let table = "[[north]]\nurl = 'https://b'\nname = 'bee'\nredistribute = false\nimport = ['!s.*', '*']\nexport = ['jobs.*']\n";
    let b = North {
        name: Some(name("bee")),
        policy: PeerPolicy {
            redistribute: false,
            import: rules(&["!s.*", "*"]),
            export: rules(&["jobs.*"]),
            ..PeerPolicy::default()
        },
        ..north("https://b")
    };
    assert_eq!(
        read("north = ['https://a', 'https://b']").unwrap().north,
        [north("https://a"), north("https://b")]
    );
    assert_eq!(read(table).unwrap().north, std::slice::from_ref(&b));
    let mixed = "north = ['https://a', { url = 'https://b', name = 'bee', redistribute = false, import = ['!s.*', '*'], \
                 export = ['jobs.*'] }]";
    let mixed = read(mixed).unwrap().north;
    assert_eq!(mixed, [north("https://a"), b]);
    let core = mixed[1].policy.core();
    assert_eq!(
        (core.redistribute, core.import, core.export),
        (false, "!s.* *", "jobs.*")
    );
}

#[test]
fn souths_have_policies_by_name_and_one_for_all_others() {
    let text = "[south_default]\naccept_from_south = false\nexport = ['pub.*']\n\
                [south.kin]\naccept_from_south = true\nimport = ['*']\n[south.'far.one']\n";
    let souths = read(text).unwrap().south;
    let others = PeerPolicy {
        accept_from_south: false,
        export: rules(&["pub.*"]),
        ..PeerPolicy::default()
    };
    assert_eq!(*souths.policy(&name("anybody")), others);
    // What a table does not say is as for all others.
    assert_eq!(*souths.policy(&name("far.one")), others);
    let kin = PeerPolicy {
        accept_from_south: true,
        import: rules(&["*"]),
        ..others
    };
    assert_eq!(*souths.policy(&name("kin")), kin);
    assert_eq!(*read("").unwrap().south.policy(&name("x")), PeerPolicy::default());
}

#[test]
fn mistakes_about_peers_are_named() {
    for (text, says) in [
        ("north = [3]", &[":1:10", "URL"][..]),
        ("[[north]]\nname = 'a'", &["url"]),
        (
            "[[north]]\nurl = 'https://a'\nredistribut = true",
            &[":3:1", "redistribut"],
        ),
        ("[[north]]\nurl = 'http://a'", &["`north.url`", "https"]),
        (
            "[[north]]\nurl = 'https://a'\nname = 'a b'",
            &["`north.name`", "a b"],
        ),
        ("[[north]]\nurl = 'https://a'\nimport = 'x'", &[":3:10"]),
        (
            "[[north]]\nurl = 'https://a'\nimport = ['a/b']",
            &["`north.import`", "a/b", ":3:11", "!secret.*"],
        ),
        (
            "[[north]]\nurl = 'https://a'\nexport = ['!']",
            &["`north.export`"],
        ),
        ("north = ['https://a', 'https://a:7411/']", &["`north`", "twice"]),
        (
            "north = [{ url = 'https://a', name = 'n' }, { url = 'https://b', name = 'n' }]",
            &["twice", "`n`"],
        ),
        (
            "north = ['https://a']\n[[north]]\nurl = 'https://b'",
            &[":2:3", "`north` is there twice"],
        ),
        ("[south.x]\nredistribute = true", &[":2:1", "redistribute"]),
        ("[south.'a b']\n", &["`south.a b`"]),
        ("[south.x]\nimport = ['a b']", &["`south.x.import`", "a b"]),
        ("[south_default]\nexport = ['']", &["`south_default.export`"]),
    ] {
        let error = read(text).expect_err(text);
        for says in says {
            assert!(error.contains(says), "{text:?} should say {says:?}: {error}");
        }
    }
}

/// What the file says after the change is what was asked for, and the rest of it is untouched.
fn changed(before: &str, norths: &[North]) -> String {
    let after = Change::Norths(norths).edit(before).unwrap();
    assert_eq!(read(&after).unwrap().north, norths, "{after}");
    after
}

#[test]
fn a_change_keeps_what_the_user_wrote() {
    let tuned = North {
        name: Some(name("bee")),
        policy: PeerPolicy {
            redistribute: false,
            import: rules(&["jobs.*"]),
            ..PeerPolicy::default()
        },
        ..north("https://b")
    };
    let (a, b, c) = (north("https://a"), north("https://b"), north("https://c"));

    let list = "# mine\nname = 'n' # this one\nnorth = [\n  'https://a/', # the hub\n]\n\n[capacity]\nmessages = 5 # few\n";
    let after = changed(list, &[a.clone(), b.clone()]);
    assert!(
        after.starts_with("# mine\nname = 'n' # this one\nnorth = [\n  'https://a/'"),
        "{after}"
    );
    assert!(
        after.contains("# the hub") && after.ends_with("[capacity]\nmessages = 5 # few\n"),
        "{after}"
    );
    let after = changed(&after, &[a.clone(), tuned.clone()]);
    assert!(after.contains("redistribute = false"), "{after}");
    assert_eq!(
        changed(&after, &[a.clone(), tuned.clone()]),
        after,
        "nothing to do"
    );
    let after = changed(&after, std::slice::from_ref(&a));
    assert!(
        !after.contains("https://b") && after.contains("https://a/"),
        "{after}"
    );
    changed(&after, &[]);

    let tables = "# top\n[[north]]\n# why a\nurl = 'https://a'\nimport = [\n  'x', # x\n]\n\n[[north]]\nurl = 'https://c'\nredistribute = false\n[capacity]\n";
    let mut kept = a.clone();
    kept.policy.import = rules(&["x"]);
    let after = changed(tables, &[kept.clone(), c.clone(), tuned.clone()]);
    assert!(
        after.contains("# why a\nurl = 'https://a'\nimport = [\n  'x', # x\n]"),
        "{after}"
    );
    changed(&after, std::slice::from_ref(&tuned));

    changed("name = 'n'\n[capacity]\nmessages = 5\n", std::slice::from_ref(&a));
    changed("name = 'n'\n[capacity]\nmessages = 5\n", &[tuned]);
    changed("", &[a, b, c]);
}

#[test]
fn a_south_s_policy_comes_and_goes() {
    let before = "name = 'n' # me\n[south_default]\nexport = ['a']\n";
    let policy = PeerPolicy {
        accept_from_south: false,
        import: rules(&["x", "!y"]),
        ..PeerPolicy::default()
    };
    let kin = name("kin.dred");
    let after = Change::South(&kin, Some(&policy)).edit(before).unwrap();
    assert!(after.starts_with("name = 'n' # me\n"), "{after}");
    let read_back = read(&after).unwrap().south;
    assert_eq!(*read_back.policy(&kin), policy, "{after}");
    assert_eq!(
        *read_back.policy(&name("o")),
        *read(before).unwrap().south.policy(&name("o"))
    );
    let after = Change::South(&kin, None).edit(&after).unwrap();
    assert_eq!(
        read(&after).unwrap().south,
        read(before).unwrap().south,
        "{after}"
    );
    assert!(!after.contains("kin"), "{after}");
    assert_eq!(Change::South(&kin, None).edit(before).unwrap(), before);
}

#[test]
fn a_broken_file_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    for broken in ["naem = 3\n", "north = \n", "name = 'x'\n[[north]]\n"] {
        std::fs::write(dir.path().join(FILE), broken).unwrap();
        let error = Change::Norths(&[north("https://a")])
            .write(dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(FILE), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), broken);
    }
    let url: NorthUrl = "https://a".parse().unwrap();
    assert_eq!(url.port, 7411);
}
