//! Settings on the command line: mistakes are pointed at, and what is in force is shown with who said it.

use redlink_tests::{Node, run, shell};
use serde_json::Value;

const BROKEN: &str = "nmae = 'x'\nlisten = ['localhost:7411', 'here']\n[capacity]\npeers = 'many'\n";

#[test]
fn a_broken_file_is_pointed_at_by_check_and_by_the_node() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let here = top.path();
    std::fs::create_dir(here.join(".redlink")).expect("a directory");
    let file = here.join(".redlink/redlink.toml");
    std::fs::write(&file, BROKEN).expect("its settings");
    let says = [
        "there is no setting `nmae`",
        "redlink.toml:1:1",
        "did you mean `name`?",
        "redlink.toml:2:29",
        "2 | listen = ['localhost:7411', 'here']",
        "^^^^^^",
        "redlink.toml:4:9",
        "has 3 mistakes",
    ];
    run(shell(here, "redlink config check"), b"").code(2).says(&says);
    run(shell(here, "redlink node"), b"").code(2).says(&says);
    run(shell(here, "redlink config show"), b"").code(2).says(&says);
    // No node was made by that.
    assert!(!here.join(".redlink/ca.pem").exists());

    for named in [".", ".redlink", ".redlink/redlink.toml"] {
        let said = run(shell(here, &format!("redlink config check {named} --json")), b"").code(2);
        let json: Value = serde_json::from_slice(&said.out).expect("JSON");
        assert_eq!(json["ok"], false, "{named}");
        let places: Vec<_> = json["mistakes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| {
                (
                    m["line"].as_u64().expect("a line"),
                    m["column"].as_u64().expect("a column"),
                    m["setting"].clone(),
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (1, 1, "nmae".into()),
                (2, 29, "listen".into()),
                (4, 9, "capacity.peers".into())
            ],
            "{named}"
        );
    }

    std::fs::write(&file, "name = 'x'\n").expect("its settings");
    let said = run(shell(here, "redlink config check"), b"").ok();
    assert!(said.text().ends_with("redlink.toml: OK"), "{}", said.text());
    run(shell(here, "redlink config check none.toml"), b"")
        .code(2)
        .says(&["there is no settings file none.toml"]);
    run(shell(here, "REDLINK_MAX_CONNECTIONS=x redlink node"), b"")
        .code(2)
        .says(&["max_connections", "REDLINK_MAX_CONNECTIONS", "no number"]);
}

#[test]
fn what_is_in_force_is_shown_with_who_said_it() {
    let node = Node::first("shown");
    let line = "REDLINK_CAPACITY__PEERS=9 redlink config show --origin --link poll";
    let said = run(shell(node.dir(), line), b"").ok();
    let text = said.text();
    for says in [
        "name = \"shown\"  # ./.redlink/redlink.toml:",
        "link = \"poll\"  # flag --link",
        "peers = 9  # environment REDLINK_CAPACITY__PEERS",
        "max_connections = 4096  # default",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    // It is a settings file itself.
    let file = node.dir().join("again.toml");
    std::fs::write(&file, text).expect("a file");
    node.cli(&["config", "check", "again.toml"], b"").ok();

    let json: Value =
        serde_json::from_slice(&node.cli(&["config", "show", "--json"], b"").ok().out).expect("JSON");
    let peers = json
        .as_array()
        .expect("a list")
        .iter()
        .find(|s| s["name"] == "capacity.peers")
        .expect("the setting");
    assert_eq!(
        *peers,
        serde_json::json!({
            "name": "capacity.peers",
            "value": 256,
            "source": { "kind": "default" },
            "default": 256,
            "about": "Most peers; services times peers is at most 1073741824",
            "variable": "REDLINK_CAPACITY__PEERS",
            "flag": null,
            "reload": "restart",
        })
    );
}
