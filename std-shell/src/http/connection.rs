//! One connection: from the TLS handshake to its end, with a limit on every wait.

use super::auth::{Peer, ProgramPeer, Showed};
use super::problem::{Kind, Problem};
use super::rest::Leaving;
use crate::link::Chain;
use crate::trust::Identity;
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// Waits and sizes of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The TLS handshake has to be over in this time.
    pub handshake: Duration,
    /// A request's headers, from their first byte to their last.
    pub headers: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// A silent HTTP/2 connection is pinged after this, and closed if no answer comes in the same time.
    /// A route is gone with its session, so twice this is what a route to nowhere may live: 30 s.
    pub keep_alive: Duration,
    /// Bytes of a request's headers.
    pub header_bytes: u32,
    /// Requests of one HTTP/2 connection at once.
    pub streams: u32,
    /// How long requests may go on when the listener is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            keep_alive: Duration::from_secs(15),
            header_bytes: 16 * 1024,
            streams: 1_024,
            grace: Duration::from_secs(10),
        }
    }
}

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) identity: Arc<Identity>,
    pub(super) router: Router,
    pub(super) limits: Limits,
}

/// Serves a connection until it ends. `busy`: the node has enough of them, and says so to every request.
pub(super) async fn serve(shared: Arc<Shared>, tcp: TcpStream, busy: bool, stop: watch::Receiver<bool>) {
    let limits = shared.limits;
    // Small frames and answers must not wait for an acknowledgement of earlier ones.
    let _ = tcp.set_nodelay(true);
    // As it is at this moment: certificates come and go while the node runs.
    let acceptor = TlsAcceptor::from(shared.identity.server());
    let tls = match timeout(limits.handshake, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let (_, connection) = tls.get_ref();
    let two = connection.alpn_protocol() == Some(b"h2");
    let certificates = Chain::from(connection.peer_certificates().unwrap_or_default());
    let program = crate::trust::programs::certified(&shared.identity.mesh, &certificates, SystemTime::now());
    let peer = match &certificates[..] {
        [] => None,
        _ if program.is_some() => None,
        some => shared
            .identity
            .peer_name(some)
            .inspect_err(|error| tracing::debug!(%error, "a client certificate names no peer"))
            .ok(),
    };
    let named = peer.clone();
    let activity = Arc::new(Activity::new(!two));
    let io = TokioIo::new(Watched {
        io: tls,
        activity: activity.clone(),
    });
    let service = {
        let (router, activity, showed) = (shared.router.clone(), activity.clone(), certificates.clone());
        service_fn(move |request| {
            answer(
                router.clone(),
                activity.clone(),
                (
                    Peer(peer.clone()),
                    Showed(showed.clone()),
                    ProgramPeer(program.clone()),
                ),
                busy,
                request,
            )
        })
    };
    let serving = async {
        if two {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                // Windows that a fast link fills, and a slow reader can't make cost much.
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .max_frame_size(64 * 1024)
                .max_concurrent_streams(limits.streams)
                .max_header_list_size(limits.header_bytes)
                .keep_alive_interval(limits.keep_alive)
                .keep_alive_timeout(limits.keep_alive);
            drive(http.serve_connection(io, service), &activity, limits, stop).await;
        } else {
            let mut http = http1::Builder::new();
            // hyper's own limit on headers counts the wait for a request too; `Activity` tells them apart.
            http.timer(TokioTimer::new())
                .header_read_timeout(None)
                .max_header_size(limits.header_bytes as usize)
                .max_headers(100);
            drive(http.serve_connection(io, service), &activity, limits, stop).await;
        }
    };
    tokio::select! {
        () = serving => {}
        // At once, with all that is under way on it.
        () = shared.identity.until_revoked(&certificates) => {
            let peer = named.map(|name| name.to_string()).unwrap_or_default();
            tracing::warn!(peer, "a connection is closed because its certificate was revoked");
        }
    }
}

async fn answer(
    router: Router,
    activity: Arc<Activity>,
    (peer, showed, program): (Peer, Showed, ProgramPeer),
    busy: bool,
    request: Request<Incoming>,
) -> Result<Response<Tracked>, Infallible> {
    let open = Open::new(activity);
    let response = if busy {
        let detail =
            "The node has as many connections as it takes (`max_connections`); close unused ones, or wait.";
        let mut response = Problem::new(Kind::TooManyConnections, detail).into_response();
        if request.version() < http::Version::HTTP_2 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    } else {
        let asks = request.version() < http::Version::HTTP_2 && request.headers().contains_key(EXPECT);
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(peer);
        parts.extensions.insert(showed);
        parts.extensions.insert(program);
        let mut service = router.into_service::<Body>();
        if body.is_end_stream() {
            service.call(Request::from_parts(parts, Body::empty())).await?
        } else {
            let (body, rest) = Leaving::new(body, asks);
            let response = service.call(Request::from_parts(parts, Body::new(body))).await?;
            if response.status().is_client_error() || response.status().is_server_error() {
                rest.discard();
            }
            response
        }
    };
    Ok(response.map(|body| Tracked { body, _open: open }))
}

/// Polls a connection to its end, and ends it: gracefully when the listener stops or it is idle, hard when its client
/// dawdles.
async fn drive<C>(connection: C, activity: &Activity, limits: Limits, mut stop: watch::Receiver<bool>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let mut tick = interval(
        Duration::from_secs(1)
            .min(limits.headers / 4)
            .min(limits.idle / 4),
    );
    let mut closing = None;
    let mut told = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            // A listener that is gone stops too.
            _ = stop.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = tick.tick() => match activity.look(limits) {
                Look::Fine => closing = None,
                Look::Dawdling => return tracing::debug!("a request's headers took too long"),
                Look::Idle => match closing {
                    None => {
                        closing = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(since) if since.elapsed() > limits.headers => return,
                    Some(_) => {}
                },
            },
        }
    }
}

enum Look {
    Fine,
    Dawdling,
    Idle,
}

/// What a connection has been doing.
struct Activity {
    start: Instant,
    /// Requests that were begun and not answered to the last byte.
    open: AtomicUsize,
    /// When the last of those ended, in milliseconds since `start`.
    quiet: AtomicU64,
    /// When the first byte of the next request came, plus one; zero while none has.
    begun: AtomicU64,
    /// On HTTP/2 bytes come without requests too.
    headers_only: bool,
}

impl Activity {
    fn new(headers_only: bool) -> Self {
        Self {
            start: Instant::now(),
            open: AtomicUsize::new(0),
            quiet: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            headers_only,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&self) {
        if self.headers_only
            && self.open.load(Ordering::Relaxed) == 0
            && self.begun.load(Ordering::Relaxed) == 0
        {
            self.begun.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn look(&self, limits: Limits) -> Look {
        if self.open.load(Ordering::Acquire) != 0 {
            return Look::Fine;
        }
        let since = |at: u64| Duration::from_millis(self.now().saturating_sub(at));
        match self.begun.load(Ordering::Relaxed) {
            0 if since(self.quiet.load(Ordering::Relaxed)) > limits.idle => Look::Idle,
            0 => Look::Fine,
            begun if since(begun) > limits.headers => Look::Dawdling,
            _ => Look::Fine,
        }
    }
}

/// A request that is not answered yet.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        activity.begun.store(0, Ordering::Relaxed);
        Self(activity)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.quiet.store(self.0.now(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body that counts as work until it has gone.
struct Tracked {
    body: Body,
    _open: Open,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells when bytes came in.
struct Watched<S> {
    io: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(context, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
