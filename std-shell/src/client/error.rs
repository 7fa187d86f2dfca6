//! What can go wrong between a program and its node.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Longest piece of an answer that is shown when it isn't a problem document, in characters.
const EXCERPT: usize = 200;

/// A node's refusal (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The stable name, `urn:redlink:problem:…`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What it is, in a few words.
    #[serde(default)]
    pub title: String,
    /// What it was this time.
    #[serde(default)]
    pub detail: Option<String>,
    /// The HTTP status that it came with.
    #[serde(default)]
    pub status: u16,
    /// Seconds after which another try makes sense, from `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// Reads a problem document; anything else becomes a problem that quotes its beginning.
    pub fn read(status: http::StatusCode, headers: &http::HeaderMap, body: &[u8]) -> Self {
        let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body);
            let excerpt: String = text
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(EXCERPT)
                .collect();
            Self {
                kind: String::new(),
                title: String::new(),
                detail: (!excerpt.is_empty()).then_some(excerpt),
                status: 0,
                retry_after: None,
            }
        });
        problem.status = status.as_u16();
        if problem.title.is_empty() {
            problem.title = status.canonical_reason().unwrap_or("refused").to_owned();
        }
        problem.retry_after = headers
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse().ok());
        problem
    }

    /// The last part of [`Problem::kind`].
    pub fn name(&self) -> &str {
        self.kind
            .strip_prefix("urn:redlink:problem:")
            .unwrap_or(&self.kind)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)?;
        match &self.detail {
            Some(detail) if self.title.ends_with(['?', '!', '.']) => write!(f, " {detail}"),
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// Why a call to a node brought no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node was named and none is in this directory.
    #[error(
        "no node found: {looked} has no node, neither --node nor REDLINK_NODE names one, and no context is in use"
    )]
    NoNode {
        /// Where it was looked for.
        looked: PathBuf,
    },
    /// No context of that name is saved.
    #[error("no context `{name}` is saved in {}", home.display())]
    NoContext {
        /// The name.
        name: String,
        /// The directory of the user's configuration.
        home: PathBuf,
    },
    /// What was named is no node.
    #[error("no node at {named}: {why}")]
    NotANode {
        /// As the user wrote it.
        named: String,
        /// What is missing or wrong.
        why: String,
    },
    /// A URL, and nothing that says who may be trusted there.
    #[error("don't know whom to trust at {url}: a URL alone doesn't say")]
    Untrusted {
        /// Where.
        url: String,
    },
    /// A file that is needed to talk to the node can't be used.
    #[error("can't use {what} {}: {why}", path.display())]
    File {
        /// What the file is.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The reader may not read it.
        denied: bool,
    },
    /// Nobody answers there.
    #[error("no node answers at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// As the network says.
        why: String,
    },
    /// The connection broke while an answer was awaited; the call may or may not have been carried out.
    #[error("the connection to {url} broke before the answer was complete: {why}")]
    Broken {
        /// Where.
        url: String,
        /// As the network says.
        why: String,
        /// Bytes of the request's body.
        sent: usize,
    },
    /// Whoever answers there isn't a node of this mesh.
    #[error("the server at {url} is not a node of this mesh: {why}")]
    Stranger {
        /// Where.
        url: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// No answer in time.
    #[error("{url} did not answer within {} s", after.as_secs())]
    Silent {
        /// Where.
        url: String,
        /// How long it had.
        after: Duration,
    },
    /// The node said no.
    #[error("{0}")]
    Refused(Problem),
    /// The answer isn't what the API promises.
    #[error("{url} answered something else than a Redlink node would: {why}")]
    Puzzling {
        /// Where.
        url: String,
        /// What was expected and what came.
        why: String,
    },
}

impl Error {
    /// What the user may do about it.
    pub fn next(&self) -> Option<String> {
        let text = match self {
            Self::Refused(problem) => return refusal_hint(problem),
            Self::NoNode { .. } => {
                "start one here with `redlink node`, or say which one with --node URL or --node DIRECTORY"
            }
            Self::NoContext { .. } => {
                "`redlink context list` shows those that are, `redlink context add NAME` saves one"
            }
            Self::NotANode { .. } => {
                "give the directory in which `redlink node` was started, or a URL such as https://localhost:7411"
            }
            Self::Untrusted { .. } => {
                "give the mesh's ca.pem with --ca or REDLINK_CA, and the node's admin token in REDLINK_TOKEN"
            }
            Self::File { denied: true, .. } => {
                "run this as the user who runs the node, or ask that user for a copy of the file"
            }
            Self::File { .. } => {
                "if the node was moved, give its directory with --node; `redlink node` there writes these files"
            }
            Self::Unreachable { .. } => {
                "start it with `redlink node` in its directory, or check the address and the network"
            }
            // A node that has seen enough of a body may close before its answer was read.
            Self::Broken { sent, .. } if *sent > 1 << 20 => {
                "is it larger than the node takes? (max_payload of its settings, 64 MiB if they don't say)"
            }
            Self::Broken { .. } => {
                "look at the node's log; `redlink message list` shows what it has accepted"
            }
            Self::Stranger { .. } => {
                "check the address, and with --ca FILE name the ca.pem of the mesh that you mean"
            }
            Self::Silent { .. } => "look at the node's log; `redlink status` says if it answers at all",
            Self::Puzzling { .. } => {
                "check that the address is a node's, and that both are the same version of Redlink"
            }
        };
        Some(text.to_owned())
    }

    /// What is given to find the node by is wrong, missing or can't be used: trying again won't help.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoNode { .. }
                | Self::NoContext { .. }
                | Self::NotANode { .. }
                | Self::Untrusted { .. }
                | Self::File { .. }
        )
    }

    /// Nothing came from the node. Whether a call was carried out is open after [`Error::Broken`] and
    /// [`Error::Silent`].
    pub fn is_unreachable(&self) -> bool {
        !self.is_usage() && !matches!(self, Self::Refused(_) | Self::Puzzling { .. })
    }

    /// Trying the same again later may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Silent { .. } => true,
            Self::Refused(problem) => {
                matches!(problem.status, 429 | 503 | 507) || problem.name() == "answer-under-way"
            }
            _ => false,
        }
    }

    /// The refusal, if it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// A delivery no longer counts: another attempt was granted, its message is over, or nobody knows it.
    pub fn is_lost_delivery(&self) -> bool {
        self.problem()
            .is_some_and(|problem| match (problem.status, problem.name()) {
                // Another answer to it is being written: not yet decided.
                (409, name) => name != "answer-under-way",
                (status, _) => matches!(status, 404 | 410),
            })
    }
}

fn refusal_hint(problem: &Problem) -> Option<String> {
    Some(match problem.status {
        401 => "use the node's own directory with --node, or give its admin token, or a program's, in REDLINK_TOKEN".into(),
        410 if problem.name() == "outcome-collected" => {
            "it was done before; to have it done again, use another idempotency key".into()
        }
        422 if problem.name() == "key-reused" => "use a new idempotency key for each new message".into(),
        403 if problem.name() == "consumer-taken" => "give this consumer another --name".into(),
        403 => "use the admin token of that node, or a token of a program that may do this".into(),
        429 | 503 | 507 => match problem.retry_after {
            Some(seconds) => format!("try again in {seconds} s"),
            None => "try again later".into(),
        },
        _ => return None,
    })
}

/// The innermost cause, which is the one that says something.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let closed = inner
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof);
    match closed {
        // A process that was killed; the TLS library's text is about attacks.
        true => "the other side closed it".into(),
        false => inner.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};

    #[test]
    fn a_problem_document_is_shown_with_its_detail() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let body =
            br#"{"type":"urn:redlink:problem:full","title":"Full","detail":"messages: 100000","status":429}"#;
        let problem = Problem::read(StatusCode::TOO_MANY_REQUESTS, &headers, body);
        assert_eq!(problem.name(), "full");
        let error = Error::Refused(problem);
        assert_eq!(error.to_string(), "Full: messages: 100000");
        assert_eq!(error.next().as_deref(), Some("try again in 7 s"));
        assert!(error.is_passing());
        assert!(!error.is_unreachable());
    }

    #[test]
    fn a_delivery_is_lost_for_good_or_only_busy() {
        let refused = |status: u16, name: &str| {
            let body = format!(r#"{{"type":"urn:redlink:problem:{name}"}}"#);
            let status = StatusCode::from_u16(status).unwrap();
            Error::Refused(Problem::read(status, &HeaderMap::new(), body.as_bytes()))
        };
        for (status, name) in [
            (409, "stale-attempt"),
            (410, "message-over"),
            (404, "unknown-delivery"),
        ] {
            assert!(refused(status, name).is_lost_delivery(), "{name}");
            assert!(!refused(status, name).is_passing(), "{name}");
        }
        let busy = refused(409, "answer-under-way");
        assert!(busy.is_passing() && !busy.is_lost_delivery());
        assert!(!refused(401, "unauthorized").is_lost_delivery());
    }

    #[test]
    fn other_bodies_are_quoted_and_never_believed() {
        let problem = Problem::read(
            StatusCode::BAD_GATEWAY,
            &HeaderMap::new(),
            b"<html>\x1b[31mproxy\xff",
        );
        assert_eq!((problem.status, problem.title.as_str()), (502, "Bad Gateway"));
        assert_eq!(problem.detail.as_deref(), Some("<html>[31mproxy\u{fffd}"));
        let long = Problem::read(StatusCode::NOT_FOUND, &HeaderMap::new(), &[b'x'; 5000]);
        assert_eq!(long.detail.map(|d| d.len()), Some(EXCERPT));
        assert_eq!(
            Problem::read(StatusCode::NOT_FOUND, &HeaderMap::new(), b"").detail,
            None
        );
    }
}
