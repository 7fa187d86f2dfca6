//! A `redlink node` process and its directory.

use crate::curl::{Curl, Response};
use crate::process::{Process, Said, redlink, run};
use crate::until;
use redlink::client::{Client, Context};
use redlink::config::Partial;
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// A node of its own directory. Dropping it kills it and removes everything.
#[derive(Debug)]
pub struct Node {
    // Before the directory: it writes there until it ends.
    process: Option<Process>,
    name: String,
    port: u16,
    variables: Vec<(String, String)>,
    directory: TempDir,
}

impl Node {
    /// A first node, of a new mesh; it is ready when this returns.
    ///
    /// # Panics
    /// It does not get ready.
    #[track_caller]
    pub fn first(name: &str) -> Self {
        Self::start_new(name, &[])
    }

    /// A node that joins by a token and dials `north`; it is ready when this returns, the link may not be up yet.
    ///
    /// # Panics
    /// It does not get ready.
    #[track_caller]
    pub fn join(name: &str, north: &str, token: &str) -> Self {
        Self::start_new(name, &["--north", north, "--token", token])
    }

    #[track_caller]
    fn start_new(name: &str, arguments: &[&str]) -> Self {
        let mut node = Self::prepare(name);
        node.start_with(arguments);
        node
    }

    /// A directory and a port for a node that is started later.
    ///
    /// # Panics
    /// They can't be had.
    pub fn prepare(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("redlink-test-").tempdir();
        Self {
            process: None,
            name: name.to_owned(),
            port: free_port(),
            variables: Vec::new(),
            directory: directory.expect("a temporary directory"),
        }
    }

    /// Sets an environment variable of its process, from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it, on its port, with these arguments too.
    ///
    /// # Panics
    /// It runs already, or does not get ready.
    #[track_caller]
    pub fn start_with(&mut self, arguments: &[&str]) {
        self.launch(arguments);
        self.wait_ready();
    }

    /// Starts it and does not wait for it.
    ///
    /// # Panics
    /// It runs already, or can't be started.
    #[track_caller]
    pub fn launch(&mut self, arguments: &[&str]) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let listen = format!("localhost:{}", self.port);
        let line = ["node", "--name", &self.name, "--listen", &listen];
        let mut command = redlink(self.dir(), line.iter().chain(arguments));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start(&self.name, command, &self.log()));
    }

    /// Waits until it is ready, by the file that says where it listens, and by asking there.
    ///
    /// # Panics
    /// It ends, or does not get ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let address = self.dir().join(".redlink/address");
        let expected = format!("{}\n", self.url());
        let name = self.name.clone();
        until(&format!("{name} to be ready"), || {
            let process = self.process.as_mut().expect("it was started");
            if let Some(status) = process.ended() {
                panic!("{name} ended with {status} before it was ready");
            }
            if std::fs::read_to_string(&address).ok()? != expected {
                return None;
            }
            let answer = self.curl("GET", "/readyz").send().ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Starts it again after its end, on the same directory and port, as its user would.
    ///
    /// # Panics
    /// It does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start_with(&[]);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it as an operator would; it has to end well.
    ///
    /// # Panics
    /// It does not end, or with an error.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process().signal(Signal::TERM);
        self.wait_stopped();
    }

    /// Waits for its end after it was told to stop; it has to end well.
    ///
    /// # Panics
    /// It does not end, or with an error.
    #[track_caller]
    pub fn wait_stopped(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let status = process.wait();
        assert!(
            status.success(),
            "{} ended with {status}:\n{}",
            self.name,
            process.output()
        );
    }

    /// Lets it stand still (SIGSTOP) or go on (SIGCONT).
    ///
    /// # Panics
    /// It does not run.
    #[track_caller]
    pub fn stand_still(&mut self, still: bool) {
        self.process()
            .signal(if still { Signal::STOP } else { Signal::CONT });
    }

    /// Takes its disk away: its messages and its identity, not its certificate and its settings.
    ///
    /// # Panics
    /// It runs.
    #[track_caller]
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "{} must not run meanwhile", self.name);
        std::fs::remove_dir_all(self.dir().join(".redlink/data")).expect("its data");
    }

    /// Changes its settings from its next start on, in the file that its user would change.
    ///
    /// # Panics
    /// They can't be read or written.
    #[track_caller]
    pub fn change_settings(&self, change: impl FnOnce(&mut Partial)) {
        let file = self.dir().join(".redlink/redlink.toml");
        let text = std::fs::read_to_string(&file).expect("its settings");
        let mut settings = toml::from_str(&text).expect("settings that a node wrote");
        change(&mut settings);
        let text = toml::to_string(&settings).expect("settings as text");
        std::fs::write(&file, text).expect("its settings can be written");
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The product's own client, with kept connections, as its administrator.
    ///
    /// # Panics
    /// Its files are not there.
    #[track_caller]
    pub fn client(&self) -> Client {
        let home = self.dir().join(".redlink");
        let context = Context {
            url: self.url(),
            ca: home.join("ca.pem"),
            token: Some(self.admin_token()),
            home: None,
        };
        Client::new(&context).unwrap_or_else(|e| panic!("a client for {}: {e}", self.name))
    }

    /// The token of its administrator.
    ///
    /// # Panics
    /// It has none.
    #[track_caller]
    pub fn admin_token(&self) -> String {
        let file = self.dir().join(".redlink/admin-token");
        let token = std::fs::read_to_string(file).expect("its admin token");
        token.trim().to_owned()
    }

    /// Its process.
    ///
    /// # Panics
    /// It does not run.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes it listen on another port from its next start on.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// The directory that it is started in.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// What its processes wrote.
    pub fn log(&self) -> PathBuf {
        self.dir().join("log")
    }

    /// `https://localhost:PORT`
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// A request to a path of it, as its administrator.
    pub fn curl(&self, method: &str, path: &str) -> Curl {
        let curlrc = self.dir().join(".redlink/curlrc");
        Curl::new(method, format!("{}{path}", self.url()), Some(&curlrc))
    }

    /// One of its JSON documents.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        self.curl("GET", path).get().status(200).json()
    }

    /// Runs `redlink ARGUMENT…` in its directory.
    ///
    /// # Panics
    /// The command does not end.
    #[track_caller]
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Said {
        run(redlink(self.dir(), arguments), input)
    }

    /// A token for one other node.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn token(&self) -> String {
        self.cli(&["token", "create"], b"").ok().text()
    }

    /// Submits with these headers; the id of what was accepted.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn submit(&self, service: &str, headers: &[(&str, &str)], payload: &[u8]) -> String {
        let path = format!("/v1/services/{service}/messages");
        let mut request = self.curl("POST", &path).body(payload);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.get().status(202);
        let id = answer.json()["id"].as_str().map(str::to_owned);
        let id = id.unwrap_or_else(|| panic!("no id: {}", answer.text()));
        let location = format!("/v1/messages/{id}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
        id
    }

    /// Waits for a message's outcome and leaves it there: 200, or 424 for one that its producer did not hope for.
    ///
    /// # Panics
    /// There is none within [`BOUND`](crate::BOUND).
    #[track_caller]
    pub fn outcome(&self, id: &str) -> Response {
        let answer = self
            .curl("GET", &format!("/v1/messages/{id}/outcome?wait=60s"))
            .get();
        assert!(
            matches!(answer.status, 200 | 424),
            "{id} has no outcome: {} {}",
            answer.status,
            answer.text()
        );
        answer
    }

    /// Waits for a message's outcome, collects it, and sees that it is gone then. The outcome is the same before and
    /// after another look (P2).
    ///
    /// # Panics
    /// There is none within [`BOUND`](crate::BOUND), or it is not as it should be.
    #[track_caller]
    pub fn collect(&self, id: &str) -> Response {
        let outcome = self.outcome(id);
        let path = format!("/v1/messages/{id}/outcome");
        let again = self.curl("GET", &path).get();
        assert_eq!(
            again.header("redlink-outcome"),
            outcome.header("redlink-outcome"),
            "{id}"
        );
        assert_eq!(again.body, outcome.body, "{id}");
        self.curl("DELETE", &path).get().status(204);
        self.curl("DELETE", &path).get().problem(404, "unknown-message");
        self.curl("GET", &path).get().problem(404, "unknown-message");
        outcome
    }

    /// Takes a message for a consumer, waiting up to 60 s.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn take(&self, service: &str, consumer: &str) -> Taken {
        let path = format!("/v1/services/{service}/consumers/{consumer}/take?wait=60s");
        Taken::read(&self.curl("POST", &path).get().status(200))
    }

    /// Registers a consumer.
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn register(&self, service: &str, consumer: &str, limit: u16, lease: &str) {
        let path = format!("/v1/services/{service}/consumers/{consumer}");
        let wish = serde_json::json!({ "limit": limit, "lease": lease });
        self.curl("PUT", &path).body(wish.to_string()).get().status(204);
    }

    /// Answers a delivery.
    ///
    /// # Panics
    /// There is no answer to that.
    #[track_caller]
    pub fn answer(&self, delivery: &str, verb: &str, body: &[u8]) -> Response {
        self.curl("POST", &format!("{delivery}/{verb}")).body(body).get()
    }

    /// Waits until it knows a consumer of the service, its own or a peer's.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_service(&self, service: &str) {
        until(&format!("{} to know of {service}", self.name), || {
            self.known(service).then_some(())
        });
    }

    /// Whether it knows a consumer of the service, its own or a peer's.
    pub fn known(&self, service: &str) -> bool {
        let services = self.json("/v1/services");
        let found = services
            .as_array()
            .into_iter()
            .flatten()
            .find(|s| s["name"] == service);
        found.is_some_and(|s| s["consumers"].as_u64() > Some(0) || s["peers"].as_u64() > Some(0))
    }

    /// Waits until its link with a peer is up or down.
    ///
    /// # Panics
    /// It does not get there.
    #[track_caller]
    pub fn wait_link(&self, up: bool) {
        until(&format!("the link of {} to be up: {up}", self.name), || {
            let peers = self.json("/v1/peers");
            let connected = peers
                .as_array()
                .into_iter()
                .flatten()
                .any(|p| p["connected"] == true);
            (connected == up).then_some(())
        });
    }

    /// Waits until a message is in a state, such as `granted`.
    ///
    /// # Panics
    /// It does not get there.
    #[track_caller]
    pub fn wait_state(&self, id: &str, state: &str) {
        until(&format!("{id} to be {state}"), || {
            let answer = self.curl("GET", &format!("/v1/messages/{id}")).get().status(200);
            (answer.json()["state"] == state).then_some(())
        });
    }

    /// Lets `sqlite3` look whether its database is whole. Says so where there is no `sqlite3`. The node must not run.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn check_database(&self) {
        assert!(self.process.is_none(), "{} must not run meanwhile", self.name);
        let file = self.dir().join(".redlink/data/redlink.db");
        let mut command = std::process::Command::new("sqlite3");
        if command.arg("--version").output().is_err() {
            println!("skipped: sqlite3 is not installed, nobody else looks at the database");
            return;
        }
        let mut command = std::process::Command::new("sqlite3");
        command
            .arg(&file)
            .arg("PRAGMA integrity_check; SELECT 'messages', count(*) FROM message;");
        let said = run(command, b"").ok();
        assert!(
            said.text().starts_with("ok\nmessages|"),
            "{}: {}",
            file.display(),
            said.text()
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A panic between a kill and a restart should show what it said before.
        if self.process.is_none() && std::thread::panicking() {
            let text = std::fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("--- {}, which does not run, wrote:\n{text}---", self.name);
        }
    }
}

/// A delivery.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Path to answer at.
    pub delivery: String,
    /// The message's id.
    pub message: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The answer as it came.
    pub response: Response,
}

impl Taken {
    /// Reads the answer of a take.
    ///
    /// # Panics
    /// A header is missing.
    #[track_caller]
    pub fn read(response: &Response) -> Self {
        let header = |name: &str| {
            let found = response.header(name).map(str::to_owned);
            found.unwrap_or_else(|| panic!("{}: no {name} in {:?}", response.request, response.headers))
        };
        Self {
            delivery: header("redlink-delivery"),
            message: header("redlink-message"),
            attempt: header("redlink-attempt").parse().expect("a number"),
            response: response.clone(),
        }
    }
}

/// A port that is free now. It lies below those that systems give to outgoing connections: a node that is killed and
/// started again must find its port free, although thousands of connections were made meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests in other processes start elsewhere.
    let start = std::process::id().wrapping_mul(61);
    let offset = u16::try_from(start % u32::from(COUNT)).unwrap_or(0);
    loop {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
