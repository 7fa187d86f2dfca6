//! Connections from this node to a north peer: TCP or a proxy's tunnel, TLS with both certificates, HTTP.

use super::Chain;
use crate::proxy::{Proxy, ReachError, reach};
use crate::trust::Identity;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use redlink_core::Name;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Time for each of: TLS handshake, HTTP handshake.
const STEP: Duration = Duration::from_secs(5);

/// What a peer may have under way towards us before we read it: back-pressure starts here.
const WINDOW: u32 = 1 << 20;

/// Where a north peer is, and how it is trusted.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) server: ServerName<'static>,
    pub(super) identity: Arc<Identity>,
    /// What is between; none: nothing.
    pub(super) proxy: Option<Proxy>,
    /// What is spoken with it.
    pub(super) version: Version,
    pub(super) times: Times,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// An idle HTTP/2 connection is pinged this often, and is dead if the ping is not answered this long.
    pub(crate) keep_alive: Duration,
    /// Time that a north has to answer the request that holds the link, and then to say its hello.
    pub(crate) answer: Duration,
    /// A link that held this long was a good one.
    pub(crate) stable: Duration,
    /// A first try of streaming while a link polls comes after this; later ones after twice as long each.
    pub(crate) probe_after: Duration,
    /// Streams work if one holds this long.
    pub(crate) probe: Duration,
    /// A session that polls is over if no request of a kind succeeds for this long.
    pub(crate) give_up: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            stable: Duration::from_secs(60),
            probe_after: Duration::from_secs(60),
            probe: Duration::from_secs(15),
            give_up: Duration::from_secs(15),
        }
    }
}

/// What is spoken with a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// HTTP/2 and nothing else will do.
    Two,
    /// HTTP/1.1, which passes where somebody in between minds HTTP/2.
    One,
}

/// Why a north peer can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL of a node.
    #[error("`{url}` is not a node's URL ({why}); it should look like https://north.example:7411")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No TCP connection, or no tunnel.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// No TLS connection: it is no node of this mesh, or does not take this one for one.
    #[error(
        "no TLS connection to {host}: {}; both nodes must be of one mesh, and the host one that its certificate names",
        causes(source)
    )]
    Tls {
        /// Its host.
        host: String,
        /// What went wrong.
        source: io::Error,
    },
    /// Its certificate proves no name in this mesh.
    #[error("{host} proved no name: {source}")]
    Name {
        /// Its host.
        host: String,
        /// Why not.
        source: crate::trust::CertificateError,
    },
    /// It is another node than the one that the link is with.
    #[error(
        "{host} answered as the node `{found}`, and `{expected}` was expected; all addresses of a URL must lead to one node"
    )]
    OtherNode {
        /// Its host.
        host: String,
        /// Whom the link is with.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// HTTP/2 is not spoken with it.
    #[error("{host} speaks no HTTP/2, or something between does not let it")]
    NoStream {
        /// Its host.
        host: String,
    },
    /// No HTTP.
    #[error("no HTTP with {host}: {}", causes(source))]
    Http {
        /// Its host.
        host: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// It does not answer.
    #[error("{host} did not answer in time")]
    TimeOut {
        /// Its host.
        host: String,
    },
    /// It said no.
    #[error("{host} refused the link: {status} {text}")]
    Refused {
        /// Its host.
        host: String,
        /// How.
        status: http::StatusCode,
        /// The start of what it said.
        text: String,
    },
}

/// An error with all that caused it: hyper's own text alone says little. What the other side says of this node's
/// certificate comes as a code, after the handshake; here it says what to do.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = all_causes(error);
    if text.contains("CertificateRevoked") {
        text.push_str(
            "; this node was put out of its mesh: join again with a new token (redlink token create)",
        );
    } else if text.contains("CertificateExpired") {
        text.push_str(
            "; this node's certificate has ended there: is a clock wrong? Else join again with a new token",
        );
    }
    text
}

fn all_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl Target {
    pub(super) fn new(
        url: &str,
        proxy: Option<Proxy>,
        identity: Arc<Identity>,
    ) -> Result<Self, ConnectError> {
        let bad = |why| ConnectError::Url {
            url: url.to_owned(),
            why,
        };
        let uri: Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(bad("it does not start with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it has a path"));
        }
        let host = uri
            .host()
            .ok_or_else(|| bad("it has no host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let server = ServerName::try_from(host.clone()).map_err(|_| bad("its host is no name or address"))?;
        Ok(Self {
            url: uri,
            host,
            port,
            server,
            identity,
            proxy,
            version: Version::Two,
            times: Times::default(),
        })
    }

    /// The URL of a path at the peer.
    pub(super) fn at(&self, path: &str) -> Result<Uri, http::Error> {
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(path.parse().map_err(http::Error::from)?);
        Uri::from_parts(parts).map_err(http::Error::from)
    }

    fn late(&self) -> impl Fn(Elapsed) -> ConnectError {
        |_| ConnectError::TimeOut {
            host: self.host.clone(),
        }
    }
}

/// Bytes that nobody can guess; zeroes if the system has none, and then only less even waits and guessable session ids
/// come of it, which are of no use without the peer's certificate.
pub(super) fn random<const N: usize>(identity: &Identity) -> [u8; N] {
    let mut bytes = [0; N];
    if identity
        .client()
        .crypto_provider()
        .secure_random
        .fill(&mut bytes)
        .is_err()
    {
        tracing::debug!("the system has no random bits");
    }
    bytes
}

/// Makes requests on a connection; clones share it.
pub(super) enum Sender<B> {
    Two(http2::SendRequest<B>),
    /// One request at a time.
    One(Arc<Mutex<http1::SendRequest<B>>>),
}

impl<B> Clone for Sender<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Two(sender) => Self::Two(sender.clone()),
            Self::One(sender) => Self::One(sender.clone()),
        }
    }
}

impl<B> Sender<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Two(sender) => sender.is_closed(),
            // One that is in use fails by itself.
            Self::One(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        }
    }

    /// Sends a request for a whole URL.
    pub(super) async fn send_request(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Two(sender) => sender.send_request(request).await,
            Self::One(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(relative(request)).await
            }
        }
    }
}

/// A request as HTTP/1.1 has it: the path alone, and the host in a header.
fn relative<B>(mut request: Request<B>) -> Request<B> {
    let host = request.uri().authority().map(|authority| authority.as_str());
    if let Some(Ok(host)) = host.map(HeaderValue::from_str) {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request
}

/// A connection; it closes when this is dropped.
pub(super) struct Connection<B> {
    pub(super) sender: Sender<B>,
    /// The peer's name, as its certificate proves.
    pub(super) peer: Name,
    /// The chain that proves it.
    pub(super) certificates: Chain,
    task: JoinHandle<()>,
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn connect<B>(target: &Target) -> Result<Connection<B>, ConnectError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let host = || target.host.clone();
    let (tls, peer, certificates) = secure(target).await?;
    let broken = |source| ConnectError::Http { host: host(), source };
    if target.version == Version::One {
        let (sender, connection) = timeout(STEP, http1::handshake(TokioIo::new(tls)))
            .await
            .map_err(target.late())?
            .map_err(broken)?;
        let sender = Sender::One(Arc::new(Mutex::new(sender)));
        return Ok(Connection {
            sender,
            peer,
            certificates,
            task: tokio::spawn(run(connection)),
        });
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(target.times.keep_alive)
        .keep_alive_timeout(target.times.keep_alive)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW);
    let (sender, connection) = timeout(STEP, builder.handshake(TokioIo::new(tls)))
        .await
        .map_err(target.late())?
        .map_err(broken)?;
    Ok(Connection {
        sender: Sender::Two(sender),
        peer,
        certificates,
        task: tokio::spawn(run(connection)),
    })
}

async fn run(connection: impl Future<Output = hyper::Result<()>>) {
    // Who uses the connection sees its own requests fail, and reports that.
    if let Err(error) = connection.await {
        tracing::debug!(error = %causes(&error), "a connection to a north peer ended");
    }
}

type Secured = (TlsStream<TcpStream>, Name, Chain);

/// The TLS connection, the name that the peer proves, and the chain that proves it.
async fn secure(target: &Target) -> Result<Secured, ConnectError> {
    let host = || target.host.clone();
    let tcp = reach(&target.host, target.port, target.proxy.as_ref()).await?;
    let mut config = rustls::ClientConfig::clone(&target.identity.client());
    config.alpn_protocols = match target.version {
        // With both on offer, a peer that has no HTTP/2 says so instead of breaking off.
        Version::Two => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Version::One => vec![b"http/1.1".to_vec()],
    };
    let connector = TlsConnector::from(Arc::new(config));
    let tls = timeout(STEP, connector.connect(target.server.clone(), tcp))
        .await
        .map_err(target.late())?;
    let tls = tls.map_err(|source| ConnectError::Tls { host: host(), source })?;
    let (_, session) = tls.get_ref();
    let certificates = Chain::from(session.peer_certificates().unwrap_or_default());
    let peer = target
        .identity
        .peer_name(&certificates)
        .map_err(|source| ConnectError::Name { host: host(), source })?;
    if target.version == Version::Two && session.alpn_protocol() != Some(b"h2") {
        return Err(ConnectError::NoStream { host: host() });
    }
    Ok((tls, peer, certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, String> {
        let dir = tempfile::tempdir().unwrap();
        let (name, mesh) = (Name::new("n").unwrap(), Name::new("m").unwrap());
        let identity = Identity::load_or_create(dir.path(), &name, &mesh, &Default::default()).unwrap();
        Target::new(url, None, Arc::new(identity)).map_err(|e| e.to_string())
    }

    #[test]
    fn only_a_nodes_url_is_dialled() {
        let north = target("https://north.example:7411").unwrap();
        assert_eq!((north.host.as_str(), north.port), ("north.example", 7411));
        assert_eq!(
            north.at("/v1/link").unwrap().to_string(),
            "https://north.example:7411/v1/link"
        );
        assert_eq!(target("https://[::1]:7411/").unwrap().host, "::1");
        assert_eq!(target("https://10.0.0.1").unwrap().port, 443);
        for bad in [
            "",
            "north:7411",
            "http://north:7411",
            "https://north/path",
            "https://north/?a",
            "https://",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
