//! The web page in a real browser: what it shows is what the nodes do, and what it is told to do is done.

use redlink_tests::{Browser, HOSTILE, Mesh, Node, WIDTHS, Worker, until};
use serde_json::json;

const VIEWS: [&str; 5] = ["services", "messages", "consumers", "links", "node"];

/// Puts everything on the page that it can show: services, messages in each state, a worker that fails with a hostile
/// text, one that is busy, a link that is down.
fn busy(mesh: &Mesh) -> (Vec<Worker>, String) {
    let north = &mesh.north;
    let workers = vec![
        Worker::start(north, "wc", "wc-1", &["--concurrency", "2"], &["wc", "-w"]),
        Worker::script(
            &mesh.south,
            "fails",
            "f-1",
            &[],
            &format!("printf '%s' '{HOSTILE}' >&2; exit 1"),
        ),
        Worker::script(north, "echo", "e-1", &[], "cat"),
    ];
    north.register("resize", "slow-worker", 4, "5m");
    for service in ["wc", "resize", "echo"] {
        mesh.south.wait_service(service);
    }
    for n in 0..3 {
        mesh.south.submit(
            "resize",
            &[("redlink-priority", &n.to_string()), ("redlink-ett", "2h")],
            &vec![7; 3_000 * n],
        );
    }
    north.take("resize", "slow-worker");
    for _ in 0..5 {
        let id = mesh.south.submit("wc", &[], b"one two three");
        mesh.south.outcome(&id);
    }
    let failed = mesh.south.submit("fails", &[], b"x");
    mesh.south.outcome(&failed).status(424);
    mesh.south.submit("nobody.serves-this", &[], b"x");
    mesh.south.cli(
        &[
            "peer",
            "add",
            "https://localhost:1",
            "--name",
            "gone",
            "--export",
            "!secret.*",
            "--export",
            "*",
            "--wait",
            "0s",
        ],
        b"",
    );
    (workers, failed)
}

#[test]
fn the_page_shows_what_the_node_does_and_cancels() {
    let mesh = Mesh::start();
    let (_workers, failed) = busy(&mesh);
    let south = &mesh.south;
    let hostile_reply = south.submit("echo", &[("content-type", "text/html")], HOSTILE.as_bytes());
    south.outcome(&hostile_reply).status(200);
    let bytes = south.submit("echo", &[], &redlink_tests::all_bytes(40_000));
    south.outcome(&bytes).status(200);
    let Some(browser) = Browser::start(&[south]) else {
        return;
    };
    let mut page = browser.page(1280, 900);
    page.open(&south.url());
    page.picture("sign-in");
    page.fits("signing in");

    // A wrong token is called that, and gets nothing.
    page.sign_in("wrong");
    page.wait_text("#token-error", "The token is wrong");
    assert_eq!(
        page.eval("document.getElementById('head').checkVisibility()"),
        false
    );
    page.sign_in(&south.admin_token());
    page.wait_text("#name", "south");
    page.wait_text("#state", "ready");
    page.wait_text("main", "nobody.serves-this");
    page.wait_text("main", "nobody serves it");
    assert_eq!(page.eval("sessionStorage.length"), 1);
    assert_eq!(page.eval("localStorage.length"), 0);
    assert_eq!(page.eval("document.cookie"), "");
    // What is not there and can't be.
    assert_eq!(
        page.eval("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'written' } catch (e) { return e.name } })()"),
        "TypeError"
    );

    // Rates come with the second look.
    page.wait_text(".tile.in .value", "0/s");
    for (width, height) in WIDTHS {
        page.resize(width, height);
        for (at, name) in VIEWS.iter().enumerate() {
            page.view(name);
            page.wait_text("main", ["wc", "resize", "fails", "gone", "reservations"][at]);
            page.fits(&format!("{name}, {width} pixels"));
            for dark in [false, true] {
                page.dark(dark);
                let light = if dark { "dark" } else { "light" };
                page.picture(&format!("{name}-{width}-{light}"));
            }
            page.dark(false);
        }
        // One message: its steps at both nodes, and why it ended.
        page.eval(&format!("location.hash = '#messages/{failed}'"));
        page.wait_text("main dd", "failed");
        page.wait_text("main table", "accepted");
        page.click("main .row button:not([hidden]):not(.danger):not(.quiet)");
        page.wait_text("main pre", "<img src=x onerror=");
        page.fits(&format!("a message, {width} pixels"));
        page.picture(&format!("message-{width}-light"));
    }
    page.resize(1280, 900);
    page.view("links");
    page.wait_text("main", "down");
    page.wait_text("main", "export !secret.* *");
    page.wait_text("main", "north");

    // Payloads are text, or bytes, whatever they call themselves.
    page.eval(&format!("location.hash = '#messages/{hostile_reply}'"));
    page.wait_text("main dd", "replied");
    page.click("main .row button:not([hidden]):not(.danger):not(.quiet)");
    page.wait_text("main pre", HOSTILE);
    page.eval(&format!("location.hash = '#messages/{bytes}'"));
    page.wait("the other message", &format!("document.querySelector('main h2').innerText === '{bytes}' && document.querySelector('main pre') === null"));
    page.wait_text("main dd", "replied");
    page.click("main .row button:not([hidden]):not(.danger):not(.quiet)");
    page.wait_text("main pre", "0010  10 11 12 13");
    page.wait_text("main .payload", "39.1 KiB (40,000 bytes)");
    assert!(page.text("main pre").len() < 8_000);
    assert_eq!(page.eval("window.hacked ?? 'no'"), "no");
    assert_eq!(
        page.eval("document.querySelectorAll('main img, main script, main [onerror], main [onload]').length"),
        0
    );

    // Cancelled after a question, and really.
    let doomed = south.submit("nobody.serves-this", &[("redlink-ett", "1h")], b"x");
    page.eval(&format!("location.hash = '#messages/{doomed}'"));
    page.wait_text("main dd", "queued");
    page.click("main button.danger");
    page.wait("the question", "document.getElementById('ask').open");
    page.picture("cancel");
    page.press("Escape");
    page.wait("the question to go", "!document.getElementById('ask').open");
    assert_eq!(south.json(&format!("/v1/messages/{doomed}"))["state"], "queued");
    page.click("main button.danger");
    page.click("#ask-yes");
    page.wait_text("main dd", "cancelled");
    page.wait_text("#said", &doomed);
    let outcome = south.outcome(&doomed).status(424);
    assert_eq!(outcome.header("redlink-outcome"), Some("cancelled"));
    // Gone is told too, and its steps are still there.
    south.collect(&doomed);
    page.wait_text("main", "This node does not hold it");
    page.wait_text("main table", "collected");

    page.click("#leave");
    page.wait("the form", "document.getElementById('token').checkVisibility()");
    assert_eq!(page.eval("sessionStorage.length"), 0);
    assert_eq!(page.text("main"), "");
    page.is_clean(
        south,
        &[
            "status of 401",
            "status of 424",
            "status of 404",
            "Trusted",
            "TrustedHTML",
        ],
    );
}

/// Every part of the page can be used without a mouse, and each field says what it is.
#[test]
fn the_keyboard_is_enough() {
    let node = Node::first("alone");
    let Some(browser) = Browser::start(&[&node]) else {
        return;
    };
    let mut page = browser.page(1280, 900);
    page.open(&node.url());
    page.sign_in(&node.admin_token());
    // An empty node says what to do next.
    page.wait_text("main", "redlink serve wc -- wc -w");
    page.picture("empty");
    assert_eq!(page.eval("document.activeElement.innerText"), "Services");
    page.eval("document.querySelector('.skip').focus()");
    let mut met = Vec::new();
    for _ in 0..12 {
        let what = page.eval(
            "document.activeElement.innerText || document.activeElement.id || document.activeElement.tagName",
        );
        met.push(what.as_str().unwrap_or_default().to_owned());
        page.press("Tab");
    }
    for wanted in [
        "To the content",
        "Sign out",
        "Services",
        "Messages",
        "Consumers",
        "Links",
        "Node",
    ] {
        assert!(met.iter().any(|text| text == wanted), "no {wanted} in {met:?}");
    }
    for (name, hint) in [
        ("messages", "has its outcome"),
        ("consumers", "redlink serve"),
        ("links", "redlink token create"),
    ] {
        page.eval(&format!(
            "document.querySelector(\"#views a[href='#{name}']\").focus()"
        ));
        page.press("Enter");
        page.wait_text("main", hint);
        page.picture(&format!("empty-{name}"));
    }
    let unnamed = page.eval(
        "[...document.querySelectorAll('input, select, textarea, button')].filter((e) => e.checkVisibility() && !(e.labels?.length || e.getAttribute('aria-label') || e.innerText.trim() || e.textContent.trim())).length",
    );
    assert_eq!(unnamed, 0);
    page.is_clean(&node, &[]);
}

#[test]
fn a_program_sees_its_own_and_an_ended_token_is_told() {
    let node = Node::first("alone");
    let made = node
        .cli(
            &[
                "token",
                "create",
                "--program",
                "shop",
                "--produce",
                "jobs.*",
                "--json",
            ],
            b"",
        )
        .ok();
    let made: serde_json::Value = serde_json::from_slice(&made.out).expect("JSON");
    let token = made["token"].as_str().expect("a token");
    node.submit("jobs.other", &[], b"the administrator's");
    let path = format!("{}/v1/services/jobs.own/messages", node.url());
    let own = redlink_tests::Curl::new("POST", path, None)
        .argument("--cacert")
        .argument(&node.dir().join(".redlink/ca.pem").display().to_string())
        .header("Authorization", &format!("Bearer {token}"))
        .body("x")
        .get()
        .status(202)
        .json();
    let Some(browser) = Browser::start(&[&node]) else {
        return;
    };
    let mut page = browser.page(390, 844);
    page.open(&node.url());
    page.sign_in(token);
    page.wait_text("main", "jobs.own");
    page.wait_text("#limited", "--administer");
    page.wait_text("#about", "you are shop");
    assert!(!page.text("main").contains("jobs.other"));
    assert_eq!(page.text("#views"), "Messages");
    page.fits("a program's view");
    page.picture("program-390");
    page.click(&format!("main a[href$='{}']", own["id"].as_str().expect("an id")));
    page.wait_text("main", "for administrators");
    page.click("main button.danger");
    page.click("#ask-yes");
    page.wait_text("main dd", "cancelled");
    // It asked for nothing that it may not have.
    page.is_clean(&node, &[]);
    node.cli(&["token", "revoke", made["id"].as_str().expect("an id")], b"")
        .ok();
    page.wait_text("#token-error", "revoked");
    assert_eq!(page.eval("sessionStorage.length"), 0);

    // The address that `redlink web` prints signs in, and keeps nothing.
    let said = node
        .cli(&["web", "--ttl", "10m"], b"")
        .ok()
        .says(&["redlink token revoke", "ca.pem"]);
    let url = said.text();
    assert!(
        url.starts_with(&format!("{}/#token=redlink-program-1.", node.url())),
        "{url}"
    );
    page.open(url.trim());
    page.wait_text("#about", "you are web");
    page.wait_text("main", "jobs.other");
    assert!(
        !page
            .eval("location.href")
            .as_str()
            .unwrap_or_default()
            .contains("token")
    );
    assert!(
        page.requests.iter().all(|url| !url.contains("redlink-program")),
        "{:?}",
        page.requests
    );
    page.open(&format!("{}/#token=redlink-program-1.broken", node.url()));
    page.wait_text("#token-error", "damaged");
}

/// A node that goes away is missed, asked for less and less often, one question at a time, and found again.
#[test]
fn a_node_that_goes_is_found_again() {
    let mut node = Node::first("alone");
    let Some(browser) = Browser::start(&[&node]) else {
        return;
    };
    let mut page = browser.page(1280, 900);
    page.open(&node.url());
    page.sign_in(&node.admin_token());
    page.wait_text("#state", "ready");
    // It stands still: one question is asked, and no second one before that is over.
    node.stand_still(true);
    let asked = page.requests.len();
    page.wait_text("#lost", "Connection lost");
    page.listen();
    let meanwhile: Vec<&String> = page.requests[asked..]
        .iter()
        .filter(|url| url.ends_with("/v1/node"))
        .collect();
    assert!(meanwhile.len() <= 3, "{meanwhile:?}");
    node.stand_still(false);
    page.wait("the answer", "document.getElementById('lost').hidden");
    node.kill();
    page.wait_text("#lost", "Connection lost");
    page.picture("lost");
    node.restart();
    page.click("#retry");
    page.wait("the answer", "document.getElementById('lost').hidden");
    page.wait_text("#state", "ready");
    page.is_clean(
        &node,
        &[
            "ERR_CONNECTION",
            "ERR_TIMED_OUT",
            "ERR_",
            "Failed to load resource",
        ],
    );
}

/// However much is held, a page of it is shown.
#[test]
fn long_lists_come_in_pages() {
    let node = Node::first("alone");
    let client = node.client();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let submission = redlink::client::Submission {
            service: "many".into(),
            headers: vec![("redlink-ett", "1h".into())],
            payload: bytes::Bytes::from_static(b"x"),
        };
        for _ in 0..25 {
            let ten = (0..10).map(|_| {
                let (client, submission) = (client.clone(), submission.clone());
                tokio::spawn(async move { client.submit(&submission).await })
            });
            for one in ten.collect::<Vec<_>>() {
                one.await.expect("no panic").expect("accepted");
            }
        }
    });
    node.submit("few", &[], b"x");
    // Each once, over the pages of the API.
    let mut seen = std::collections::HashSet::new();
    let mut path = Some("/v1/messages?max=100&state=open".to_owned());
    while let Some(next) = path {
        let answer = node.curl("GET", &next).get().status(200);
        for message in answer.json().as_array().into_iter().flatten() {
            assert!(seen.insert(message["id"].to_string()));
        }
        let link = answer.header("link");
        path = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
    }
    assert_eq!(seen.len(), 251);
    assert_eq!(node.json("/v1/messages?state=settled"), json!([]));
    node.curl("GET", "/v1/messages?state=lost")
        .get()
        .problem(400, "bad-request");
    let Some(browser) = Browser::start(&[&node]) else {
        return;
    };
    let mut page = browser.page(390, 844);
    page.open(&node.url());
    page.sign_in(&node.admin_token());
    page.wait_text("main", "many");
    page.view("messages");
    let rows = "document.querySelectorAll('main tbody tr').length";
    for (shown, expected) in [
        ("1–50", 50),
        ("51–100", 50),
        ("101–150", 50),
        ("151–200", 50),
        ("201–250", 50),
        ("251–251", 1),
    ] {
        page.wait_text("main .tools", shown);
        assert_eq!(page.eval(rows), expected);
        if expected == 50 {
            page.click("main .filters button:last-child");
        }
    }
    page.fits("a long list");
    page.click("#of-service");
    page.insert("few");
    page.press("Enter");
    page.wait("only few", &format!("{rows} === 1"));
    until("the address to say so", || {
        (page.eval("location.hash") == "#messages?service=few&state=open").then_some(())
    });
    page.is_clean(&node, &[]);
}
