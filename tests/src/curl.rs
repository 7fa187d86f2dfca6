//! Requests by the system's `curl`, with the `curlrc` that a node writes: what any program would do.

use crate::process::run;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One request.
#[derive(Debug, Clone)]
pub struct Curl {
    method: String,
    url: String,
    curlrc: Option<PathBuf>,
    arguments: Vec<String>,
    body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The request, for messages.
    pub request: String,
    /// The status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it took, with the start of curl.
    pub took: Duration,
}

impl Curl {
    /// A request to a whole URL, with a `curlrc` if there is one.
    pub fn new(method: &str, url: String, curlrc: Option<&Path>) -> Self {
        Self {
            method: method.to_owned(),
            url,
            curlrc: curlrc.map(Path::to_owned),
            arguments: Vec::new(),
            body: None,
        }
    }

    /// Another request to the same node.
    #[must_use]
    pub fn at(&self, method: &str, url: String) -> Self {
        Self::new(method, url, self.curlrc.as_deref())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.argument("-H").argument(&format!("{name}: {value}"))
    }

    /// Adds an argument of curl's.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets the body, of no type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        // curl would call it a form.
        self.argument("-H").argument("Content-Type:")
    }

    /// Sends it.
    ///
    /// # Errors
    /// There was no answer, or no complete one; curl's exit code and words.
    pub fn send(&self) -> Result<Response, String> {
        let mut command = Command::new("curl");
        command.args(["-sS", "-i", "--max-time", "90"]);
        if let Some(curlrc) = &self.curlrc {
            command.arg("-K").arg(curlrc);
        }
        command.args(["-X", &self.method]).args(&self.arguments);
        if self.body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        command.arg(&self.url).env("no_proxy", "*");
        let said = run(command, self.body.as_deref().unwrap_or_default());
        let request = format!("{} {}", self.method, self.url);
        if said.code != 0 {
            return Err(format!(
                "{request}: curl ended with {}: {}",
                said.code,
                said.err.trim()
            ));
        }
        read(request, &said.out, said.took)
    }

    /// Sends it; there has to be an answer.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn get(&self) -> Response {
        self.send().unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Splits what `curl -i` printed. Interim answers (100) come before the real one.
fn read(request: String, mut bytes: &[u8], took: Duration) -> Result<Response, String> {
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| format!("{request}: no end of the header"))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| format!("{request}: no status in {head:?}"))?;
        if (100..200).contains(&status) {
            continue;
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        return Ok(Response {
            request,
            status,
            headers,
            body: bytes.to_vec(),
            took,
        });
    }
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!(
                "{}: {}: no JSON ({e}): {}",
                self.request,
                self.status,
                self.text()
            )
        })
    }

    /// Itself, if its status is this.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text());
        self
    }

    /// Itself, if it is the problem document of this name with this status (RFC 9457).
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn problem(self, status: u16, name: &str) -> Self {
        let this = self.status(status);
        assert_eq!(
            this.header("content-type"),
            Some("application/problem+json"),
            "{}: {}",
            this.request,
            this.text()
        );
        let document = this.json();
        let urn = format!("urn:redlink:problem:{name}");
        assert_eq!(document["type"], urn.as_str(), "{}: {document}", this.request);
        assert_eq!(document["status"], status, "{}: {document}", this.request);
        for part in ["title", "detail"] {
            let text = document[part].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{}: no {part} in {document}", this.request);
        }
        this
    }
}
