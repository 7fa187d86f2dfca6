//! Dead letters on the web page, in a real browser.

use redlink_tests::{Browser, HOSTILE, Node, WIDTHS, Worker, until};
use serde_json::json;

/// What died is looked at, changed, requeued and deleted, and the nodes have done it.
#[test]
fn dead_letters_are_seen_changed_requeued_and_deleted() {
    let node = Node::first("alone");
    let words = format!("printf '%s' '{HOSTILE}' >&2; exit 1");
    let worker = Worker::script(&node, "jobs", "w-1", &[], &words);
    let send_only = ("redlink-send-only", "true");
    let payloads = [HOSTILE.as_bytes(), b"as it was", b"\x00\x01binary\xff"];
    let ids =
        payloads.map(|payload| node.submit("jobs", &[send_only, ("content-type", "text/html")], payload));
    until("three to die", || {
        let letters = node.json("/v1/dead-letters");
        (letters.as_array().map(Vec::len) == Some(3)).then_some(())
    });
    drop(worker);
    let Some(browser) = Browser::start(&[&node]) else {
        return;
    };
    let mut page = browser.page(1280, 900);
    page.open(&node.url());
    page.sign_in(&node.admin_token());
    page.wait_text(".tile.letters .value", "3");
    page.view("dead-letters");
    page.wait_text("main td.problem", "<img src=x onerror=");
    for (width, height) in WIDTHS {
        page.resize(width, height);
        page.fits(&format!("dead letters, {width} pixels"));
        for dark in [false, true] {
            page.dark(dark);
            page.picture(&format!(
                "letters-{width}-{}",
                if dark { "dark" } else { "light" }
            ));
        }
        page.dark(false);
        page.click(&format!("button[aria-label='Look at {}']", ids[2]));
        page.wait_text("#ask pre[aria-label=Content]", "0000  00 01 62 69");
        page.fits(&format!("a letter, {width} pixels"));
        page.picture(&format!("letter-{width}"));
        // What is no text is not to be changed here.
        assert_eq!(
            page.eval("document.querySelector('#ask textarea').checkVisibility()"),
            false
        );
        page.press("Escape");
        page.wait("the letter to close", "!document.getElementById('ask').open");
    }
    page.resize(1280, 900);

    // Changed, and for another service.
    page.click(&format!("button[aria-label='Look at {}']", ids[0]));
    page.wait_text("#ask pre[aria-label=Content]", HOSTILE);
    page.wait_text("#ask button", "Change the payload");
    page.eval("[...document.querySelectorAll('#ask button')].find((b) => b.textContent === 'Change the payload').click()");
    page.wait("the field", "document.activeElement.tagName === 'TEXTAREA'");
    assert_eq!(page.eval("document.activeElement.value"), HOSTILE);
    page.eval("document.activeElement.select()");
    page.insert("mended");
    page.click("#requeue-to");
    page.eval("document.activeElement.select()");
    page.insert("other");
    page.click("#ask-yes");
    page.wait_text("#said", &ids[0]);
    let taken = node.take("other", "c");
    assert_eq!(taken.response.body, b"mended");
    let shown = node.json(&format!("/v1/messages/{}", taken.message));
    assert_eq!(shown["requeued_from"], ids[0].as_str());
    node.answer(&taken.delivery, "ack", b"").status(204);

    // As it was.
    page.click(&format!("button[aria-label='Requeue {}']", ids[1]));
    page.click("#ask-yes");
    page.wait_text("#said", &ids[1]);
    let taken = node.take("jobs", "c");
    assert_eq!(taken.response.body, b"as it was");
    node.answer(&taken.delivery, "ack", b"").status(204);

    // Gone after a question, and not before.
    page.click(&format!("button[aria-label='Delete {}']", ids[2]));
    page.wait("the question", "document.getElementById('ask').open");
    page.press("Escape");
    page.wait("the question to go", "!document.getElementById('ask').open");
    assert_eq!(node.json("/v1/dead-letters")[0]["id"], ids[2].as_str());
    page.click(&format!("button[aria-label='Delete {}']", ids[2]));
    page.click("#ask-yes");
    page.wait_text("#said", &format!("Deleted {}", ids[2]));
    assert_eq!(node.json("/v1/dead-letters"), json!([]));
    page.wait_text("main", "Nothing has died here");
    assert_eq!(page.eval("window.hacked ?? 'no'"), "no");
    page.is_clean(&node, &[]);
}
