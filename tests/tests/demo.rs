//! `redlink demo` shows what it says, by commands that work, and leaves nothing behind.

use redlink_tests::{Process, binary, run, shell, until};
use rustix::process::Signal;
use std::path::Path;

/// Names of the directories that demos have made in `place`.
fn left(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).expect("the directory").flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Command lines of all processes that name `place`.
fn processes(place: &Path) -> Vec<String> {
    let text = place.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&text) {
                found.push(line);
            }
        }
    }
    found
}

/// The commands that it printed.
fn commands(out: &str) -> Vec<&str> {
    out.lines()
        .filter_map(|line| line.trim_start().strip_prefix("$ "))
        .collect()
}

#[test]
fn the_show_ends_and_leaves_nothing_behind() {
    let here = tempfile::tempdir().expect("a temporary directory");
    let place = here.path().join("tmp");
    std::fs::create_dir(&place).expect("a directory");
    // The repository's own files are the payload.
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut command = shell(root, "redlink demo --exit");
    command.env("TMPDIR", &place);
    let said = run(command, b"").ok();
    let out = said.text();
    println!("{out}\n{} {:?}", said.err, said.took);
    for step in [
        "A node, called north",
        "A token",
        "A second node, called south",
        "A worker at north",
        "Calls at south",
        "README.md",
        "south → north → wc → north → south",
        "cable is pulled",
        "accepted all the same",
        "kept by south",
        "cable is back",
        "after the cable",
    ] {
        assert!(out.contains(step), "no {step:?}");
    }
    let lines = commands(&out);
    assert!(lines.len() > 10, "{lines:?}");
    for line in &lines {
        let mut check = std::process::Command::new("sh");
        check.args(["-n", "-c", line]);
        run(check, b"").ok();
        let program = binary().to_string_lossy().into_owned();
        assert!(
            line.starts_with(&program) || line.starts_with("kill "),
            "not pasteable: {line}"
        );
    }
    assert_eq!(left(&place), Vec::<String>::new(), "its directory");
    assert_eq!(processes(&place), Vec::<String>::new(), "its processes");
}

#[test]
fn it_stays_until_ctrl_c_and_its_lines_can_be_pasted() {
    let here = tempfile::tempdir().expect("a temporary directory");
    let place = here.path().join("tmp");
    std::fs::create_dir(&place).expect("a directory");
    let mut command = shell(here.path(), "exec redlink demo");
    command.env("TMPDIR", &place);
    let mut demo = Process::start("the demo", command, &here.path().join("demo.log"));
    // The list of what can be tried ends with the peers.
    until("the demo to say what can be tried", || {
        if let Some(status) = demo.ended() {
            panic!("the demo ended with {status}");
        }
        let out = demo.output();
        let (_, try_it) = out.split_once("Try:")?;
        try_it.contains(" peers ").then_some(())
    });
    let out = demo.output();
    let (_, try_it) = out.split_once("Try:").expect("it was there");
    let lines: Vec<&str> = try_it
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert!(lines[0].starts_with("curl "), "{lines:?}");
    let said = run(shell(here.path(), lines[0]), b"").ok();
    assert_eq!(said.text(), "5", "how many words are these");
    for line in &lines[1..] {
        let said = run(shell(here.path(), line), b"").ok();
        assert!(!said.text().is_empty(), "{line}");
    }
    assert!(
        !processes(&place).is_empty() && !left(&place).is_empty(),
        "it is up"
    );

    demo.signal(Signal::INT);
    let status = demo.wait();
    assert!(status.success(), "{status}");
    assert_eq!(left(&place), Vec::<String>::new(), "its directory");
    assert_eq!(processes(&place), Vec::<String>::new(), "its processes");
}

/// Killed with no chance to clean up, it takes its processes with it all the same.
#[test]
#[cfg(target_os = "linux")]
fn its_processes_do_not_outlive_it() {
    let here = tempfile::tempdir().expect("a temporary directory");
    let mut command = shell(here.path(), "exec redlink demo");
    command.env("TMPDIR", here.path());
    let mut demo = Process::start("the demo", command, &here.path().join("demo.log"));
    until("the demo to be up", || {
        demo.output().contains("Try:").then_some(())
    });
    demo.kill();
    until("its processes to end", || {
        processes(here.path()).is_empty().then_some(())
    });
}
