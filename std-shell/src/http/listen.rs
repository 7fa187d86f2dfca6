//! Where connections come in.

use super::Node;
pub use super::connection::Limits;
use super::connection::{self, Shared};
use super::routes;
use crate::config::NodeConfig;
use crate::trust;
use rustix::io::Errno;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The file in the node's directory that says where it listens, as a URL.
pub const ADDRESS_FILE: &str = "address";
/// Connections over the limit that are still told why nobody has time for them.
const POLITE: usize = 64;
/// And for how long.
const POLITE_TIME: Duration = Duration::from_secs(5);
/// The system has no descriptors left, or the like: give it a moment, the listening socket keeps the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket can't be had.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}", reason(*.address, .cause))]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub cause: io::Error,
}

fn reason(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "another program does already; stop that, or choose another port: --listen localhost:{}",
                { address.port().wrapping_add(1).max(1_024) }
            )
        }
        ErrorKind::PermissionDenied => format!("{error}; ports below 1024 need privileges"),
        _ => error.to_string(),
    }
}

/// Sockets that listen, before they are served.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listener {
    /// Takes the sockets. Port 0 becomes one that is free, the same for all that ask for it. A machine without IPv6 is
    /// forgiven if the same port is had on 127.0.0.1.
    ///
    /// # Errors
    /// A socket can't be had.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        // With any port, the one that the first socket was given may be taken on the second address.
        let mut tries = if addresses.iter().any(|a| a.port() == 0) {
            16
        } else {
            1
        };
        loop {
            tries -= 1;
            match Self::try_bind(addresses).await {
                Err(BindError { cause, .. }) if cause.kind() == ErrorKind::AddrInUse && tries > 0 => {}
                result => return result,
            }
        }
    }

    async fn try_bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut listener = Self {
            sockets: Vec::new(),
            addresses: Vec::new(),
        };
        let mut any = 0;
        for &address in addresses {
            let asked = SocketAddr::new(
                address.ip(),
                if address.port() == 0 { any } else { address.port() },
            );
            let bound = TcpListener::bind(asked)
                .await
                .and_then(|socket| Ok((socket.local_addr()?, socket)));
            match bound {
                Ok((real, socket)) => {
                    if address.port() == 0 {
                        any = real.port();
                    }
                    listener.addresses.push(real);
                    listener.sockets.push(socket);
                }
                Err(error) if listener.forgives(asked, &error) => {
                    tracing::info!(address = %asked, "there is no IPv6 on this machine: listening without");
                }
                Err(cause) => {
                    return Err(BindError {
                        address: asked,
                        cause,
                    });
                }
            }
        }
        Ok(listener)
    }

    fn forgives(&self, address: SocketAddr, error: &io::Error) -> bool {
        let twin = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port());
        let none = matches!(
            Errno::from_io_error(error),
            Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)
        );
        address.ip() == IpAddr::from(Ipv6Addr::LOCALHOST) && none && self.addresses.contains(&twin)
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL for programs of this machine.
    pub fn url(&self) -> String {
        let near = self
            .addresses
            .iter()
            .find(|a| a.ip().is_loopback() || a.ip().is_unspecified());
        match (near, self.addresses.first()) {
            (Some(near), _) => format!("https://localhost:{}", near.port()),
            (None, Some(far)) => format!("https://{far}"),
            (None, None) => String::new(),
        }
    }

    /// Writes the URL into the node's directory, where commands look for it.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn announce(&self, dir: &Path) -> Result<(), trust::FileError> {
        trust::write_private(dir, ADDRESS_FILE, format!("{}\n", self.url()).as_bytes())
    }

    /// Takes connections until `stop` is over; then lets requests that are under way end, for a while.
    pub async fn serve(
        self,
        node: Node,
        config: &NodeConfig,
        limits: Limits,
        stop: impl Future<Output = ()>,
    ) {
        let shared = Shared {
            identity: node.identity.clone(),
            router: routes::router(node),
            limits,
        };
        self.run(Arc::new(shared), config.max_connections as usize, stop)
            .await;
    }

    pub(super) async fn run(self, shared: Arc<Shared>, connections: usize, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        let polite = Arc::new(Semaphore::new(POLITE));
        let (stopping, stopped) = watch::channel(false);
        let mut open = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let mut turn = 0;
        loop {
            let tcp = tokio::select! {
                () = stop.as_mut() => break,
                tcp = accept(&self.sockets, &mut turn) => tcp,
                Some(_) = open.join_next() => continue,
            };
            let tcp = match tcp {
                Ok(tcp) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let shared = shared.clone();
            let stopped = stopped.clone();
            if let Ok(permit) = room.clone().try_acquire_owned() {
                open.spawn(holding(permit, connection::serve(shared, tcp, false, stopped)));
            } else if let Ok(permit) = polite.clone().try_acquire_owned() {
                let serve = connection::serve(shared, tcp, true, stopped);
                open.spawn(holding(permit, async { drop(timeout(POLITE_TIME, serve).await) }));
            }
            // Else it is closed without a word: whoever makes that many is not reading.
        }
        // New connections are refused from here on, not queued.
        drop(self.sockets);
        let _ = stopping.send(true);
        let all = async { while open.join_next().await.is_some() {} };
        if timeout(shared.limits.grace, all).await.is_err() {
            tracing::info!(
                connections = open.len(),
                "closing connections that did not end by themselves"
            );
        }
    }
}

async fn holding(permit: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(permit);
}

/// The next connection of any socket; they take turns at being asked first.
async fn accept(sockets: &[TcpListener], turn: &mut usize) -> io::Result<TcpStream> {
    poll_fn(|context| {
        for _ in 0..sockets.len() {
            *turn = (*turn + 1) % sockets.len();
            if let Poll::Ready(result) = sockets[*turn].poll_accept(context) {
                return Poll::Ready(result.map(|(tcp, _)| tcp));
            }
        }
        Poll::Pending
    })
    .await
}
