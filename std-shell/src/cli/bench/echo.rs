//! The yardstick: hyper and rustls with nothing behind them.

use crate::cli::exit::Failure;
use crate::client::Client;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An HTTPS server that answers every request with its body. It has threads of its own, as a node has.
#[derive(Debug)]
pub(super) struct Echo {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    roots: rustls::RootCertStore,
}

impl Echo {
    pub(super) fn start() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        runtime.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls))));
        Ok(Self {
            runtime: Some(runtime),
            address,
            roots,
        })
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        let url = format!("https://localhost:{}", self.address.port());
        Ok(Client::with_roots(&url, self.roots.clone(), None)?)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not be waited for inside another one.
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    // Ends with its runtime; an accept that fails ends the measurement by refused connections.
    while let Ok((tcp, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(stream) = tls.accept(tcp).await else { return };
            let answer = service_fn(|request: http::Request<Incoming>| async {
                let body = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(http::Response::new(Full::new(body)))
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Request;

    #[tokio::test]
    async fn it_answers_with_what_it_was_sent() {
        let echo = Echo::start().unwrap();
        let client = echo.client().unwrap();
        for _ in 0..2 {
            let request = Request::new(http::Method::POST, "/").body("hello".into());
            assert_eq!(client.request(request).await.unwrap().body, "hello");
        }
    }
}
