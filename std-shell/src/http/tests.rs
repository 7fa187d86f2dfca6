//! The listener and its routes over real TLS on loopback.

mod alternate;
mod batches;
mod delayed;
mod exchange;
mod extras;
mod intruders;
mod join;
mod listener;
mod metrics;
mod once;
mod owners;
mod page;
mod peers;
mod problems;
mod producers;
mod programs;
mod refusals;
mod routes;
mod tokens;

use super::Node;
use super::connection::{Limits, Shared};
use super::listen::Listener;
use super::problem::MEDIA_TYPE;
use crate::config::{NodeConfig, Partial};
use crate::driver::{self, Running, Settings};
use crate::peers::Peers;
use crate::store;
use crate::trust::programs::{Permissions, Programs};
use crate::trust::{CA_FILE, Identity, Wishes};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than anything takes that a test waits for.
pub(super) const LONG: Duration = Duration::from_secs(20);
pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) type Connection = TlsStream<TcpStream>;

/// A node's trust, and a listener that runs.
pub(super) struct Site {
    pub(super) dir: tempfile::TempDir,
    pub(super) identity: Arc<Identity>,
    pub(super) address: SocketAddr,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) served: JoinHandle<()>,
}

pub(super) fn identity(dir: &Path) -> Arc<Identity> {
    let (name, mesh) = (Name::new("first").unwrap(), Name::new("mesh").unwrap());
    Arc::new(Identity::load_or_create(dir, &name, &mesh, &Wishes::default()).unwrap())
}

impl Site {
    /// A listener for any router.
    pub(super) async fn start(router: Router, limits: Limits, connections: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path());
        Self::listen(dir, identity, router, limits, connections).await
    }

    async fn listen(
        dir: tempfile::TempDir,
        identity: Arc<Identity>,
        router: Router,
        limits: Limits,
        connections: usize,
    ) -> Self {
        let listener = Listener::bind(&[LOOPBACK]).await.unwrap();
        let address = listener.addresses()[0];
        let shared = Arc::new(Shared {
            identity: identity.clone(),
            router,
            limits,
        });
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let served = tokio::spawn(async move { listener.run(shared, connections, stopped).await });
        Self {
            dir,
            identity,
            address,
            stop: Some(stop),
            served,
        }
    }

    /// Connects as a program: trusts the mesh, shows no certificate.
    pub(super) async fn program(&self, protocol: &str) -> Connection {
        self.connect(self.program_config(protocol)).await.unwrap()
    }

    /// As [`Site::program`], with a receive buffer of a few KiB.
    pub(super) async fn narrow(&self, protocol: &str) -> Connection {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let tcp = socket.connect(self.address).await.unwrap();
        let connector = TlsConnector::from(self.program_config(protocol));
        connector
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
            .unwrap()
    }

    fn program_config(&self, protocol: &str) -> Arc<rustls::ClientConfig> {
        program_config(self.dir.path(), protocol)
    }

    /// Connects as a node of the mesh: this one itself, for want of another.
    pub(super) async fn peer(&self) -> Connection {
        self.connect(self.identity.client()).await.unwrap()
    }

    pub(super) async fn connect(&self, config: Arc<rustls::ClientConfig>) -> std::io::Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(config)
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
    }
}

/// What trusts the mesh of a node's directory and shows nothing of its own.
pub(super) fn program_config(dir: &Path, protocol: &str) -> Arc<rustls::ClientConfig> {
    let ca = CertificateDer::from_pem_file(dir.join(CA_FILE)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}

/// Sends one request on a connection of its own; HTTP/2 if that was agreed. The connection lasts as long as the response.
pub(super) async fn begin(
    stream: Connection,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<hyper::body::Incoming>> {
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if two {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }
}

/// As [`begin`], to the end of the answer.
pub(super) async fn request(
    stream: Connection,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Bytes>> {
    let (parts, body) = begin(stream, request).await?.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}

/// The real routes of a real driver and store.
pub(super) struct Api {
    pub(super) site: Site,
    pub(super) token: String,
    store: store::StoreHandle,
    running: Running,
}

/// The settings' permissions of programs with certificates.
fn certified() -> BTreeMap<Name, Permissions> {
    let worker = serde_json::json!({ "consume": ["s"] });
    let name = Name::new("certified-worker").unwrap();
    [(name, serde_json::from_value(worker).unwrap())].into()
}

/// Longest payload of an [`Api`].
pub(super) const PAYLOAD_MAX: usize = 4 << 20;

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings.
    pub(super) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path());
        let mut settings = Settings::new(identity.name.clone(), identity.mesh.clone());
        settings.payload_max = PAYLOAD_MAX as u64;
        change(&mut settings);
        let (done_in, done) = tokio::sync::mpsc::unbounded_channel();
        let opened = store::open(&dir.path().join("data"), done_in).unwrap();
        let store = opened.store.clone();
        let running = driver::start(opened, done, settings).unwrap();
        let node = Node {
            advertises: false,
            web: Arc::default(),
            direct: false,
            handle: running.handle.clone(),
            identity: identity.clone(),
            programs: Arc::new(Programs::open(dir.path(), &certified()).unwrap()),
            peers: Peers::start(
                running.handle.clone(),
                identity.clone(),
                dir.path(),
                &Partial::default(),
                NodeConfig::load(dir.path(), &Partial::default()).unwrap(),
            )
            .unwrap(),
        };
        let token = std::fs::read_to_string(dir.path().join(crate::trust::ADMIN_TOKEN_FILE)).unwrap();
        let site = Site::listen(dir, identity, super::routes::router(node), Limits::default(), 100).await;
        Self {
            site,
            token: token.trim().to_owned(),
            store,
            running,
        }
    }

    /// Stops everything in the order of a node.
    pub(super) async fn stop(mut self) {
        self.running.stop().await;
        drop(self.site.stop.take());
        self.site.served.await.unwrap();
        let store = self.store;
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }

    /// A request of the administrator.
    pub(super) fn build(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Bytes> {
        request(
            self.site.program("http/1.1").await,
            self.build(method, path, headers, body),
        )
        .await
        .unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response<Bytes> {
        self.send("GET", path, &[], b"").await
    }

    pub(super) async fn post(&self, path: &str, body: &[u8]) -> Response<Bytes> {
        self.send("POST", path, &[], body).await
    }

    /// Takes the next message of the service `s` and says where to answer.
    pub(super) async fn take(&self) -> (String, Response<Bytes>) {
        let taken = self.post("/v1/services/s/consumers/c/take?wait=30s", b"").await;
        assert_eq!(taken.status(), 200, "{taken:?}");
        (header(&taken, "redlink-delivery").to_owned(), taken)
    }
}

pub(super) fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

pub(super) fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|e| panic!("{e}: {response:?}"))
}

/// Checks that it is a problem document of this status and name; gives its detail.
pub(super) fn problem(response: &Response<Bytes>, status: u16, name: &str) -> String {
    assert_eq!(response.status(), status, "{response:?}");
    assert_eq!(header(response, "content-type"), MEDIA_TYPE, "{response:?}");
    let document = json(response);
    assert_eq!(
        document["type"],
        format!("urn:redlink:problem:{name}"),
        "{document}"
    );
    assert_eq!(document["status"], status, "{document}");
    let detail = document["detail"].as_str().unwrap();
    assert!(
        !detail.is_empty() && !document["title"].as_str().unwrap().is_empty(),
        "{document}"
    );
    detail.to_owned()
}
