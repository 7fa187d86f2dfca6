//! TCP connections to nodes, and tunnels through proxies.

use super::{Proxy, authority};
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Time for a TCP connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Time that a proxy has to make a tunnel: it looks up the name and connects.
const TUNNEL: Duration = Duration::from_secs(10);

/// Most bytes of the headers of its answer.
const ANSWER_MAX: usize = 16 << 10;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No TCP connection to the node.
    #[error("can't connect to {to}: {source}")]
    Node {
        /// `host:port`.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TCP connection to the proxy.
    #[error("can't connect to the proxy {proxy} (named by {named_by}): {source}")]
    Proxy {
        /// Its URL.
        proxy: String,
        /// Where it was named.
        named_by: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy makes no tunnel.
    #[error("the proxy {proxy} answered {status} when asked for a tunnel to {to}: {advice}")]
    Refused {
        /// Its URL.
        proxy: String,
        /// `host:port` of the node.
        to: String,
        /// How it answered.
        status: StatusCode,
        /// What that means, and what to do.
        advice: String,
    },
    /// What answers there is no proxy.
    #[error("the proxy {proxy} (named by {named_by}) does not answer as an HTTP proxy: {what}")]
    Broken {
        /// Its URL.
        proxy: String,
        /// Where it was named.
        named_by: &'static str,
        /// What went wrong.
        what: String,
    },
    /// The proxy does not answer.
    #[error("the proxy {proxy} made no tunnel to {to} within {within:?}")]
    Late {
        /// Its URL.
        proxy: String,
        /// `host:port` of the node.
        to: String,
        /// How long it had.
        within: Duration,
    },
}

/// A connection to a node, through the proxy if there is one; that looks the name up then. Small writes leave at once.
///
/// # Errors
/// There is none within 5 s, and another 10 s for a tunnel; the error says whose fault it seems to be.
pub async fn reach(host: &str, port: u16, proxy: Option<&Proxy>) -> Result<TcpStream, ReachError> {
    match proxy {
        None => tcp(host, port).await.map_err(|source| ReachError::Node {
            to: authority(host, port),
            source,
        }),
        Some(proxy) => through(proxy, &authority(host, port), TUNNEL).await,
    }
}

async fn through(proxy: &Proxy, to: &str, within: Duration) -> Result<TcpStream, ReachError> {
    let tcp = tcp(&proxy.host, proxy.port)
        .await
        .map_err(|source| ReachError::Proxy {
            proxy: proxy.to_string(),
            named_by: proxy.named_by,
            source,
        })?;
    timeout(within, tunnel(tcp, to, proxy))
        .await
        .map_err(|_| ReachError::Late {
            proxy: proxy.to_string(),
            to: to.to_owned(),
            within,
        })?
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
    // Who writes has put together already what can travel together.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn tunnel(tcp: TcpStream, to: &str, proxy: &Proxy) -> Result<TcpStream, ReachError> {
    let broken = |what: String| ReachError::Broken {
        proxy: proxy.to_string(),
        named_by: proxy.named_by,
        what,
    };
    let http = |error: hyper::Error| broken(crate::link::causes(&error));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(tcp)).await.map_err(http)?;
    // Ends with this function: by then it has given the connection back, or is of no use.
    let mut running = JoinSet::new();
    running.spawn(connection.with_upgrades());
    let mut request = Request::connect(to).header(HOST, to);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(format!("no request can be made: {error}")))?;
    let response = sender.send_request(request).await.map_err(http)?;
    let status = response.status();
    if !status.is_success() {
        return Err(ReachError::Refused {
            proxy: proxy.to_string(),
            to: to.to_owned(),
            status,
            advice: advice(status, proxy),
        });
    }
    let upgraded: Upgraded = hyper::upgrade::on(response).await.map_err(http)?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| broken("the connection was lost".to_owned()))?;
    // A node says nothing before it was greeted, so these bytes are the proxy's.
    if !parts.read_buf.is_empty() {
        return Err(broken("it says more than its answer".to_owned()));
    }
    Ok(parts.io.into_inner())
}

fn advice(status: StatusCode, proxy: &Proxy) -> String {
    let named_by = proxy.named_by;
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.authorization.is_none() => {
            format!("give user and password in {named_by}, as http://USER:PASSWORD@HOST:PORT")
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("it does not take the user and the password (basic authentication) in {named_by}")
        }
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
            "it does not let this node go there; whoever runs it must allow CONNECT to that host and port, or name the \
             host in NO_PROXY if it can be reached without"
                .to_owned()
        }
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::NOT_FOUND => "it can't reach that node".to_owned(),
        _ => format!("it makes no tunnel; is {named_by} right?"),
    }
}

#[cfg(test)]
mod tests;
