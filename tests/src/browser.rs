//! A real browser without a window: Debian's `chromium`, spoken to by its debugging protocol over a pipe. It ends with the
//! pipe, and so with the test.

use crate::{BOUND, Node, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use tempfile::TempDir;

/// A browser with one page. Dropping it ends it.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    number: u64,
    heard: VecDeque<Value>,
    _profile: TempDir,
}

/// The one tab.
pub struct Page {
    browser: Browser,
    session: String,
    /// URLs that it asked for.
    pub requests: Vec<String>,
    /// Complaints: errors and warnings on its console, exceptions, answers with an error status.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts one that takes these nodes' certificates, by their keys, and no other that it can't verify. None, and it says
    /// so, where there is no chromium.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    pub fn start(nodes: &[&Node]) -> Option<Self> {
        let version = Command::new("chromium").arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            println!("skipped: chromium is not installed, nobody looks at the page");
            return None;
        }
        let profile = tempfile::Builder::new().prefix("redlink-test-browser-").tempdir();
        let profile = profile.expect("a temporary directory");
        let pins: Vec<String> = nodes.iter().map(|node| pin(node)).collect();
        let mut command = Command::new("sh");
        // It listens on 3 and speaks on 4.
        command.args([
            "-c",
            r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#,
            "sh",
        ]);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!(
            "--ignore-certificate-errors-spki-list={}",
            pins.join(",")
        ));
        if rustix::process::getuid().is_root() {
            // Its sandbox needs a user who is not everybody's master.
            command.arg("--no-sandbox");
        }
        command.current_dir(profile.path()).env("HOME", profile.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        let (into, from) = channel();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for message in out.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON of chromium's");
                if into.send(message).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            to: child.stdin.take(),
            child,
            from,
            number: 0,
            heard: VecDeque::new(),
            _profile: profile,
        })
    }

    /// Opens its page, so many pixels wide.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn page(mut self, width: u32, height: u32) -> Page {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }));
        let wish = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", wish)["sessionId"].clone();
        let mut page = Page {
            browser: self,
            session: session.as_str().expect("a session").to_owned(),
            requests: Vec::new(),
            complaints: Vec::new(),
        };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.resize(width, height);
        page
    }

    #[track_caller]
    fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let mut call = json!({ "id": number, "method": method, "params": parameters });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        let to = self.to.as_mut().expect("the browser runs");
        to.write_all(&bytes)
            .and_then(|()| to.flush())
            .expect("the browser listens");
        let start = Instant::now();
        loop {
            let left = BOUND.saturating_sub(start.elapsed());
            let message = self
                .from
                .recv_timeout(left)
                .unwrap_or_else(|e| panic!("{method}: {e}"));
            if message["id"] == number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.heard.push_back(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the pipe tells it and its children to go; then this is sure to be short.
        drop(self.to.take());
        let start = Instant::now();
        while start.elapsed().as_secs() < 5 && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(crate::LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Page {
    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let session = self.session.clone();
        let result = self.browser.call(Some(&session), method, parameters);
        self.listen();
        result
    }

    /// Takes in what it has said meanwhile.
    pub fn listen(&mut self) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut heard = std::mem::take(&mut self.browser.heard);
        heard.extend(self.browser.from.try_iter());
        for message in heard {
            let about = &message["params"];
            match message["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => self.requests.push(text(&about["request"]["url"])),
                "Runtime.exceptionThrown" => self.complaints.push(about["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled"
                    if matches!(about["type"].as_str(), Some("error" | "warning" | "assert")) =>
                {
                    self.complaints.push(about["args"].to_string());
                }
                "Log.entryAdded" if matches!(about["entry"]["level"].as_str(), Some("error" | "warning")) => {
                    let entry = &about["entry"];
                    self.complaints
                        .push(format!("{} {}", text(&entry["text"]), text(&entry["url"])));
                }
                _ => {}
            }
        }
    }

    /// Makes it so many pixels wide and high.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Day or night.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// There is nothing.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        self.wait("the page to be there", "document.readyState === 'complete'");
    }

    /// What an expression of JavaScript is.
    ///
    /// # Panics
    /// It throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let wish = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let found = self.call("Runtime.evaluate", wish);
        assert!(
            found["exceptionDetails"].is_null(),
            "{expression}: {}",
            found["exceptionDetails"]
        );
        found["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// It does not become so; the page's text is shown.
    #[track_caller]
    pub fn wait(&mut self, what: &str, expression: &str) {
        let start = Instant::now();
        until(what, || {
            let so = self.eval(expression) == true;
            if !so && start.elapsed() > BOUND - crate::LOOK * 20 {
                eprintln!("--- the page says:\n{}\n{:?}", self.text("body"), self.complaints);
            }
            so.then_some(())
        });
    }

    /// Waits until an element that a selector finds has this text in it.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_text(&mut self, selector: &str, text: &str) {
        let expression = format!(
            "[...document.querySelectorAll({})].some((e) => e.checkVisibility() && e.innerText.includes({}))",
            json!(selector),
            json!(text)
        );
        self.wait(&format!("`{text}` in {selector}"), &expression);
    }

    /// The text that a reader sees of an element; empty without one.
    ///
    /// # Panics
    /// The page can't be asked.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!(
            "document.querySelector({})?.innerText ?? ''",
            json!(selector)
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks in the middle of an element, as a mouse does: something in front of it gets the click.
    ///
    /// # Panics
    /// It is not there, or not to be seen.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let expression = format!(
            "(() => {{ const e = [...document.querySelectorAll({})].find((e) => e.checkVisibility()); if (!e) return null;
              e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect();
              return [r.x + Math.min(r.width / 2, 40), r.y + r.height / 2]; }})()",
            json!(selector)
        );
        let place = until(&format!("{selector} to be there"), || {
            let place = self.eval(&expression);
            place.is_array().then_some(place)
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn insert(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key, such as `Tab` or `Enter`.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Checks that nothing is wider than the window: a page scrolls down, not to the side.
    ///
    /// # Panics
    /// Something is.
    #[track_caller]
    pub fn fits(&mut self, what: &str) {
        let found = self.eval(
            "[document.documentElement.scrollWidth, innerWidth, [...document.querySelectorAll('body *')].filter((e) =>
              e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .views, pre, .line, .skip'))
              .slice(0, 3).map((e) => e.outerHTML.slice(0, 200))]",
        );
        assert!(
            found[0].as_u64() <= found[1].as_u64(),
            "{what}: {} pixels in {}: {}",
            found[0],
            found[1],
            found[2]
        );
    }

    /// Takes a picture of all of it into `REDLINK_TEST_SHOTS`, if that is set.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("REDLINK_TEST_SHOTS") else {
            return;
        };
        let wish = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", wish);
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default());
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        std::fs::write(path, bytes.expect("base64 of chromium's")).expect("a picture can be written");
    }
}

/// What a browser is told to know a node's certificate by: the digest of its public key.
fn pin(node: &Node) -> String {
    let file = node.dir().join(".redlink/node.pem");
    let certificate =
        CertificateDer::from_pem_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).expect("a certificate");
    STANDARD.encode(Sha256::digest(parsed.public_key().raw))
}
