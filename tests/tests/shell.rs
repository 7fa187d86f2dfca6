//! A good citizen of a shell: saved contexts, completions, manual pages, colour, closed pipes.

use redlink_tests::{Node, Said, run, shell};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs a line with a configuration of its own.
fn with_home(home: &Path, at: &Path, line: &str) -> Said {
    let mut command = shell(at, line);
    command.env("REDLINK_CONFIG_HOME", home.join("config"));
    run(command, b"")
}

#[test]
fn a_saved_context_is_used_where_nothing_else_says_which_node() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let (home, away) = (top.path(), top.path().join("away"));
    std::fs::create_dir(&away).expect("a directory");
    let (node, other) = (Node::first("first"), Node::first("other"));
    let here = |line: &str| with_home(home, &away, line);

    here("redlink contexts").ok().says(&["no context is saved"]);
    here("redlink status")
        .code(2)
        .says(&["no node found", "no context is in use"]);
    here("redlink status --context prod")
        .code(2)
        .says(&["no context `prod`", "redlink context list"]);

    // A directory is remembered where it is, and the first one is used.
    with_home(home, node.dir(), "redlink context add local").ok();
    here("redlink status").ok().says_out(&["first", "context local"]);

    // A URL with what lets one in there.
    let dir = other.dir().display();
    let line = format!(
        "cp {dir}/.redlink/ca.pem ca.pem && REDLINK_TOKEN=$(cat {dir}/.redlink/admin-token) \
         redlink context add prod --node {} --ca ca.pem && rm ca.pem",
        other.url()
    );
    here(&line).ok();
    here("redlink status").ok().says_out(&["first"]);
    here("redlink status --context prod")
        .ok()
        .says_out(&["other", "context prod, --context"]);
    here("REDLINK_CONTEXT=prod redlink status")
        .ok()
        .says_out(&["other", "REDLINK_CONTEXT"]);
    here("redlink context use prod && redlink status")
        .ok()
        .says_out(&["other", "`redlink context use`"]);
    // What is nearer counts more.
    let nearer = format!("REDLINK_NODE={} redlink status", node.dir().display());
    here(&nearer).ok().says_out(&["first", "REDLINK_NODE"]);
    with_home(home, node.dir(), "redlink status")
        .ok()
        .says_out(&["first", "./.redlink"]);
    with_home(home, node.dir(), "redlink status --context prod")
        .ok()
        .says_out(&["other"]);
    // A parent's directory is nobody's node unasked.
    let below = node.dir().join("below");
    std::fs::create_dir(&below).expect("a directory");
    with_home(home, &below, "redlink status")
        .ok()
        .says_out(&["other"]);

    let token = std::fs::read_to_string(other.dir().join(".redlink/admin-token")).expect("a token");
    let said = here("redlink context list --json").ok();
    let list: Value = serde_json::from_slice(&said.out).expect("JSON");
    assert_eq!(
        list,
        serde_json::json!([
            { "name": "local", "current": false, "directory": node.dir().join(".redlink"), "token": "directory" },
            { "name": "prod", "current": true, "url": other.url(), "token": "saved" },
        ])
    );
    for line in [
        "redlink context list",
        "redlink context show prod",
        "redlink context show --json",
    ] {
        let said = here(line).ok();
        assert!(
            said.text().contains(&other.url()) && !said.text().contains(token.trim()),
            "{}",
            said.text()
        );
    }
    let file = home.join("config/contexts/prod.toml");
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A token in a file is read anew each time.
    let line = format!(
        "cp {dir}/.redlink/admin-token t && redlink context add prod --node {} --ca {dir}/.redlink/ca.pem --token-file t",
        other.url()
    );
    here(&line).code(2).says(&["already", "--replace"]);
    here(&format!("{line} --replace")).ok();
    here("redlink status --context prod").ok();
    here("echo wrong >t; redlink status --context prod")
        .code(1)
        .says(&["token"]);
    assert!(
        !std::fs::read_to_string(&file)
            .expect("the file")
            .contains(token.trim())
    );

    here("redlink context remove prod").ok();
    here("redlink context show")
        .code(2)
        .says(&["no context is in use"]);
    here("redlink context remove prod")
        .code(2)
        .says(&["no context `prod`"]);
    here("redlink context use local && redlink context use --none && redlink status").code(2);
}

/// Whether a program is there to look with; says so if not.
fn there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    let found = found.is_ok_and(|said| said.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn completions_are_made_for_each_shell_and_the_shells_understand_them() {
    let top = tempfile::tempdir().expect("a temporary directory");
    for (name, check) in [
        ("bash", Some("bash -n")),
        ("zsh", Some("zsh -n")),
        ("fish", Some("fish --no-execute")),
        ("powershell", None),
        ("elvish", None),
    ] {
        let line = format!("redlink completions {name} > {name}");
        run(shell(top.path(), &line), b"").ok();
        let text = std::fs::read_to_string(top.path().join(name)).expect("completions");
        for says in ["context", "node", "collect"] {
            assert!(text.contains(says), "{name}: {says}");
        }
        if let Some(check) = check.filter(|check| there(check.split(' ').next().unwrap_or_default())) {
            run(shell(top.path(), &format!("{check} {name}")), b"").ok();
        }
    }
    if there("bash") {
        // What bash would offer after `redlink co`.
        let ask = ". ./bash && COMP_WORDS=(redlink co) COMP_CWORD=1 && _redlink redlink co redlink && echo \"${COMPREPLY[*]}\"";
        let said = run(shell(top.path(), &format!("bash -c '{ask}'")), b"").ok();
        let offered = said.text();
        for verb in ["collect", "config", "context", "consumer", "completions"] {
            assert!(offered.split(' ').any(|word| word == verb), "{offered}");
        }
    }
}

#[test]
fn each_verb_has_a_manual_page_that_man_takes() {
    let top = tempfile::tempdir().expect("a temporary directory");
    run(
        shell(top.path(), "redlink man pages && redlink man > first.1"),
        b"",
    )
    .ok();
    let mut pages: Vec<String> = std::fs::read_dir(top.path().join("pages"))
        .expect("pages")
        .map(|entry| entry.expect("a page").file_name().to_string_lossy().into_owned())
        .collect();
    pages.sort();
    for page in [
        "redlink.1",
        "redlink-node.1",
        "redlink-serve.1",
        "redlink-context-add.1",
        "redlink-config-check.1",
    ] {
        assert!(pages.iter().any(|there| there == page), "{page}: {pages:?}");
    }
    if there("mandoc") {
        run(shell(top.path(), "mandoc -Tlint -Werror pages/*.1 first.1"), b"").ok();
    }
    if there("man") {
        let said = run(
            shell(top.path(), "man --warnings=w -l pages/redlink-serve.1 | cat"),
            b"",
        )
        .ok();
        assert!(
            said.text().contains("REDLINK") || said.text().contains("redlink-serve"),
            "{}",
            said.text()
        );
        assert_eq!(said.err, "");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error_and_colour_is_for_terminals() {
    let top = tempfile::tempdir().expect("a temporary directory");
    for line in [
        "redlink --help | head -1",
        "redlink completions bash | head -1",
        "redlink config show | head -1",
        "redlink man | head -1",
    ] {
        let said = run(shell(top.path(), line), b"").ok();
        assert_eq!(said.err, "", "{line}");
        assert!(!said.out.is_empty(), "{line}");
    }
    std::fs::write(top.path().join("bad.toml"), "nmae = 1\n").expect("a file");
    let said = run(
        shell(top.path(), "unset NO_COLOR; redlink config check bad.toml"),
        b"",
    )
    .code(2);
    assert!(!said.err.contains('\u{1b}'), "{}", said.err);
    let said = run(
        shell(top.path(), "redlink config check bad.toml --color always"),
        b"",
    )
    .code(2);
    assert!(said.err.contains('\u{1b}'), "{}", said.err);
    let said = run(
        shell(top.path(), "unset NO_COLOR; redlink --help --color=always"),
        b"",
    )
    .ok();
    assert!(said.out.contains(&0x1b));
}

#[test]
fn a_probe_needs_no_shell_and_says_nothing() {
    let mut node = Node::first("probed");
    let said = node.cli(&["status", "--ready"], b"").ok();
    assert_eq!((said.out.as_slice(), said.err.as_str()), (&b""[..], ""));
    node.kill();
    node.cli(&["status", "--ready"], b"").code(3);
}
