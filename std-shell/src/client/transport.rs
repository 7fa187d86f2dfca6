//! Requests and answers over kept TLS connections.

use super::context::Context;
use super::error::{Error, Problem, root_cause};
use super::upload::{Onlooker, Progress, Upload};
use crate::content::PAYLOAD_MAX;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take beyond what the request itself asks the node to wait: a slow disk, a busy node.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// A request to a node.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    patience: Duration,
}

impl Request {
    /// A request without a body. `path` starts with a slash and may have a query.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            patience: PATIENCE,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// The node may take this long in all, and is not told so.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The node may take this long before it answers: it is told so with `wait=`, and given a margin on top.
    pub fn waiting(mut self, wait: Duration) -> Self {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        self.path = format!("{}{mark}wait={}ms", self.path, wait.as_millis());
        self.patience = PATIENCE.saturating_add(wait);
        self
    }
}

/// A complete answer with a status below 400.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

impl Answer {
    /// The text of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A node's API. Clones share the connections; each is used by one request at a time and kept for the next.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Upload>,
    url: Arc<str>,
    authorization: Option<header::HeaderValue>,
    onlooker: Option<Onlooker>,
}

impl std::fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares to talk to a node; nothing is sent yet.
    ///
    /// # Errors
    /// The mesh's certificates can't be read, or the token isn't one.
    pub fn new(context: &Context) -> Result<Self, Error> {
        let refuse = |why: String, denied| Error::File {
            what: "the mesh's certificates in",
            path: context.ca.clone(),
            why,
            denied,
        };
        let pem = std::fs::read(&context.ca).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => refuse("there is no such file".into(), false),
            std::io::ErrorKind::PermissionDenied => refuse("permission denied".into(), true),
            _ => refuse(e.to_string(), false),
        })?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|e| refuse(e.to_string(), false))?;
            roots.add(certificate).map_err(|e| refuse(e.to_string(), false))?;
        }
        if roots.is_empty() {
            return Err(refuse("it holds no certificate in PEM form".into(), false));
        }
        Self::with_roots(&context.url, roots, context.token.as_deref())
    }

    /// As [`Client::new`], with certificates at hand.
    pub(crate) fn with_roots(
        url: &str,
        roots: rustls::RootCertStore,
        token: Option<&str>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Puzzling {
                url: url.to_owned(),
                why: e.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        // A request that waits for long must notice that its node's machine is gone.
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        // HTTP/1.1 on kept connections: the faster form for small payloads on few hops, and an aborted take closes
        // its connection, which the node can't miss.
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        let authorization = token
            .map(|token| {
                let mut value: header::HeaderValue =
                    format!("Bearer {token}").parse().map_err(|_| Error::NotANode {
                        named: url.to_owned(),
                        why: "its token has characters no token has".into(),
                    })?;
                value.set_sensitive(true);
                Ok::<_, Error>(value)
            })
            .transpose()?;
        Ok(Self {
            http,
            url: url.into(),
            authorization,
            onlooker: None,
        })
    }

    /// The same, with somebody who sees how far each of its requests and answers is.
    #[must_use]
    pub fn watched_by(self, onlooker: Onlooker) -> Self {
        Self {
            onlooker: Some(onlooker),
            ..self
        }
    }

    /// Where it talks to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and receives its answer completely; a short body is [`Error::Broken`].
    ///
    /// # Errors
    /// No answer, a broken one, or [`Error::Refused`] for one with a status from 400.
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        let answer = self.exchange(request).await?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            return Err(Error::Refused(Problem::read(
                answer.status,
                &answer.headers,
                &answer.body,
            )));
        }
        Ok(answer)
    }

    /// Sends a request and hands its answer over piece by piece, as it comes; says how many bytes that were.
    ///
    /// # Errors
    /// As [`Client::request`]; the inner error is the taker's.
    pub async fn download(
        &self,
        request: Request,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<std::io::Result<u64>, Error> {
        let patience = request.patience;
        let whole = async {
            let (sent, response) = self.send(request).await?;
            let (head, mut body) = response.into_parts();
            if !head.status.is_success() {
                let body = read(body, None).await.map_err(|e| self.broken(&e, sent))?;
                return Err(Error::Refused(Problem::read(head.status, &head.headers, &body)));
            }
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|e| self.broken(&e, sent))?.into_data() else {
                    continue;
                };
                bytes += data.len() as u64;
                if let Err(error) = take(&data) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(bytes))
        };
        tokio::time::timeout(patience, whole)
            .await
            .unwrap_or_else(|_| Err(self.silent(patience)))
    }

    /// As [`Client::request`], with every status taken for an answer.
    ///
    /// # Errors
    /// No answer, or a broken one.
    pub async fn exchange(&self, request: Request) -> Result<Answer, Error> {
        let patience = request.patience;
        let whole = async {
            let (sent, response) = self.send(request).await?;
            let (head, body) = response.into_parts();
            let body = read(body, self.onlooker.as_ref())
                .await
                .map_err(|e| self.broken(&e, sent))?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        tokio::time::timeout(patience, whole)
            .await
            .unwrap_or_else(|_| Err(self.silent(patience)))
    }

    fn silent(&self, after: Duration) -> Error {
        Error::Silent {
            url: self.url.to_string(),
            after,
        }
    }

    /// Up to the head of the answer; also says how long the body was that was sent.
    async fn send(&self, request: Request) -> Result<(usize, http::Response<Incoming>), Error> {
        let Request {
            method,
            path,
            headers,
            body,
            patience: _,
        } = request;
        let sent = body.len();
        let uri: Uri = format!("{}{path}", self.url)
            .parse()
            .map_err(|e| Error::NotANode {
                named: format!("{}{path}", self.url),
                why: format!("{e}"),
            })?;
        let mut built = http::Request::builder().method(method).uri(uri);
        if let Some(authorization) = &self.authorization {
            built = built.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            built = built.header(name, value);
        }
        let request = built
            .body(Upload::new(body, self.onlooker.clone()))
            .map_err(|e| Error::NotANode {
                named: self.url.to_string(),
                why: e.to_string(),
            })?;
        let response = self.http.request(request).await;
        Ok((sent, response.map_err(|e| self.failed(&e, sent))?))
    }

    fn failed(&self, error: &legacy::Error, sent: usize) -> Error {
        let url = self.url.to_string();
        if let Some(tls) = tls_cause(error) {
            return match tls {
                rustls::Error::InvalidCertificate(why) => Error::Stranger {
                    url,
                    why: certificate_fault(why),
                },
                other => Error::Stranger {
                    url,
                    why: other.to_string(),
                },
            };
        }
        match error.is_connect() {
            true => Error::Unreachable {
                url,
                why: root_cause(error),
            },
            false => self.broken(error, sent),
        }
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static), sent: usize) -> Error {
        Error::Broken {
            url: self.url.to_string(),
            why: root_cause(error),
            sent,
        }
    }
}

/// Reads a body whole. A large one is copied into its place as it comes: held in pieces first it would take twice the
/// memory.
async fn read(mut body: Incoming, onlooker: Option<&Onlooker>) -> Result<Bytes, hyper::Error> {
    let exact = body.size_hint().exact();
    let said = exact.unwrap_or(0).min(PAYLOAD_MAX);
    let mut received = 0;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        received += data.len() as u64;
        if let Some(onlooker) = onlooker {
            onlooker.see(Progress::Received(received, exact));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(usize::try_from(said).unwrap_or(0));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The TLS error in a chain of causes. `io::Error` hides what it holds from `source`, so it is opened here.
fn tls_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        if let Some(held) = current
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref())
            && let Some(tls) = tls_cause(held)
        {
            return Some(tls);
        }
        next = current.source();
    }
    None
}

fn certificate_fault(why: &rustls::CertificateError) -> String {
    match why {
        rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
            "its certificate was signed by another authority".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_to_the_node_and_allowed_for_here() {
        let plain = Request::new(Method::GET, "/v1/x").waiting(Duration::from_secs(30));
        assert_eq!(plain.path, "/v1/x?wait=30000ms");
        assert_eq!(plain.patience, Duration::from_secs(60));
        let more = Request::new(Method::GET, "/v1/x?max=1").waiting(Duration::from_millis(5));
        assert_eq!(more.path, "/v1/x?max=1&wait=5ms");
    }

    #[test]
    fn a_tls_error_is_found_inside_an_io_error() {
        let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let io = std::io::Error::other(std::io::Error::other(inner));
        assert!(matches!(
            tls_cause(&io),
            Some(rustls::Error::InvalidCertificate(_))
        ));
        assert!(tls_cause(&std::io::Error::other("x")).is_none());
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        // A port that was free a moment ago and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("https://127.0.0.1:{port}");
        let client = Client::with_roots(&url, rustls::RootCertStore::empty(), None).unwrap();
        let error = client
            .request(Request::new(Method::GET, "/livez"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&url));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let context = Context {
            url: "https://h".into(),
            ca: file.path().into(),
            token: None,
            home: None,
        };
        let error = Client::new(&context).unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
    }
}
