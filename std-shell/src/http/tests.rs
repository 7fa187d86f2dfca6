//! The listener and its routes over real TLS on loopback.

mod listener;

use super::connection::{Limits, Shared};
use super::listen::Listener;
use crate::trust::{CA_FILE, Identity};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

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
    Arc::new(Identity::load_or_create(dir, &name, &mesh, &[]).unwrap())
}

impl Site {
    pub(super) async fn start(router: Router, limits: Limits, connections: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path());
        let listener = Listener::bind(&[LOOPBACK]).await.unwrap();
        let address = listener.addresses()[0];
        let acceptor = TlsAcceptor::from(identity.server.clone());
        let shared = Arc::new(Shared {
            acceptor,
            router,
            mesh: identity.mesh.clone(),
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
        let ca = CertificateDer::from_pem_file(self.dir.path().join(CA_FILE)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        self.connect(Arc::new(config)).await.unwrap()
    }

    /// Connects as a node of the mesh: this one itself, for want of another.
    pub(super) async fn peer(&self) -> Connection {
        self.connect(self.identity.client.clone()).await.unwrap()
    }

    pub(super) async fn connect(&self, config: Arc<rustls::ClientConfig>) -> std::io::Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(config)
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
    }
}

/// Sends one request on a connection of its own; HTTP/2 if that was agreed.
pub(super) async fn request(
    stream: Connection,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Bytes>> {
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let response = if two {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}
