//! Priority that rises with waiting (P5), as it is set at a node.

use redlink_tests::Node;

/// The payloads of all that waits, in the order in which they are handed out.
fn order(node: &Node) -> Vec<String> {
    let next = |_| {
        let taken = node.take("work", "w");
        node.answer(&taken.delivery, "reply", b"").status(204);
        taken.response.text()
    };
    (0..2).map(next).collect()
}

fn submit(node: &Node, priority: &str, payload: &str) {
    node.submit("work", &[("Redlink-Priority", priority)], payload.as_bytes());
}

/// One of low priority waits a level's time and more; then one comes that is one level higher.
#[test]
fn low_priority_goes_before_what_comes_later() {
    let mut node = Node::prepare("alone");
    node.start_with(&["--ageing", "1ms"]);
    submit(&node, "3", "low");
    // Longer than a level takes.
    std::thread::sleep(std::time::Duration::from_millis(20));
    submit(&node, "4", "higher");
    // What it has waited counts over a restart.
    node.kill();
    node.restart();
    assert_eq!(order(&node), ["low", "higher"]);

    let mut node = Node::prepare("other");
    node.set_variable("REDLINK_AGEING", "none");
    node.start_with(&[]);
    submit(&node, "3", "low");
    // Longer than a level takes.
    std::thread::sleep(std::time::Duration::from_millis(20));
    submit(&node, "4", "higher");
    assert_eq!(order(&node), ["higher", "low"]);
}
