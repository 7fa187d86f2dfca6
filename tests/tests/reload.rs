//! SIGHUP: what can change changes, what can't is named with what to do.

use redlink_tests::{Node, until};
use rustix::process::Signal;

fn said(node: &Node) -> String {
    std::fs::read_to_string(node.log()).expect("its log")
}

fn reload(node: &mut Node, settings: &str) -> String {
    let file = node.dir().join(".redlink/redlink.toml");
    std::fs::write(file, settings).expect("its settings");
    let before = said(node).len();
    node.process().signal(Signal::HUP);
    let name = node.name().to_owned();
    until(&format!("{name} to have read its settings"), || {
        let new = said(node).split_off(before);
        let done = new.contains("the settings were read again") || new.contains("were not read again");
        done.then_some(new)
    })
}

#[test]
fn each_changed_setting_counts_at_once_or_is_named() {
    let mut node = Node::first("one");
    // With nothing changed nothing is complained of.
    let unchanged = "name = 'one'\nmesh = 'mesh'\n";
    let new = reload(&mut node, unchanged);
    assert!(!new.contains("restart"), "{new}");

    let lines = [
        ("mesh", "mesh = 'other'"),
        ("hosts", "hosts = ['h']"),
        ("trace_memory", "trace_memory = '1MiB'"),
        ("max_payload", "max_payload = '1MiB'"),
        ("max_connections", "max_connections = 9"),
        ("advertise", "advertise = 'https://h:1'"),
        ("path", "path = 'direct'"),
        ("certificate_life", "certificate_life = '1d'"),
        ("capacity", "capacity = { messages = 7 }"),
    ];
    let mut text = "name = 'one'\ndrain = '2s'\nlog = 'warn'\n".to_owned();
    for (_, line) in lines {
        text.push_str(line);
        text.push('\n');
    }
    let new = reload(&mut node, &text);
    for (setting, _) in lines {
        let line = new
            .lines()
            .find(|line| line.contains(&format!("the setting `{setting}` has changed")));
        let line = line.unwrap_or_else(|| panic!("nothing of {setting} in\n{new}"));
        assert!(line.contains("restart") && line.contains("WARN"), "{line}");
    }
    let named = new
        .lines()
        .filter(|line| line.contains("restart the node"))
        .count();
    assert_eq!(named, lines.len(), "{new}");

    // Only warnings are logged from then on, and they are.
    let before = said(&node).len();
    node.process().signal(Signal::HUP);
    until("the settings to be read again", || {
        said(&node)[before..]
            .contains("`certificate_life` has changed")
            .then_some(())
    });
    // An error changes nothing, and says where it is.
    let new = reload(&mut node, "drain = 'soon'\n");
    assert!(
        new.contains("ERROR") && new.contains("drain") && new.contains("soon"),
        "{new}"
    );
    let since = said(&node).split_off(before);
    assert!(!since.contains("the settings were read again"), "{since}");
    let new = reload(&mut node, "log = 'loud'\n");
    assert!(new.contains("ERROR") && new.contains("loud"), "{new}");
    // Two seconds still, not ten: with work that does not end.
    node.submit("work", &[], b"x");
    let _held = node.take("work", "w");
    let start = std::time::Instant::now();
    node.stop();
    let took = start.elapsed().as_secs_f64();
    assert!((2.0..8.0).contains(&took), "{took}");
}
