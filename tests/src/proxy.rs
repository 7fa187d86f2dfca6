//! An HTTP proxy that makes tunnels, as companies have them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A proxy on a port of this machine. Every host that it is asked for is this machine to it, so that names which nobody
/// else can look up show who went through it. Its threads end with it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// The header's value that it wants, if it wants one.
    authorization: Option<&'static str>,
    /// `host:port` of all tunnels that it was asked for, and whether it made them.
    asked: Vec<(String, bool)>,
    ended: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy for everybody.
    ///
    /// # Panics
    /// No port can be had.
    pub fn new() -> Self {
        Self::start(0, None)
    }

    /// A proxy for those who send this `Proxy-Authorization`.
    ///
    /// # Panics
    /// No port can be had.
    pub fn with_authorization(authorization: &'static str) -> Self {
        Self::start(0, Some(authorization))
    }

    fn start(port: u16, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State {
            authorization,
            asked: Vec::new(),
            ended: false,
            open: Vec::new(),
        }));
        let shared = state.clone();
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if lock(&shared).ended {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(&shared, near));
            }
        });
        Self {
            port,
            state,
            accepting: Some(accepting),
        }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of each tunnel that it made, in their order.
    pub fn tunnels(&self) -> Vec<String> {
        let state = lock(&self.state);
        let made = state.asked.iter().filter(|(_, made)| *made);
        made.map(|(to, _)| to.clone()).collect()
    }

    /// How many it refused.
    pub fn refused(&self) -> usize {
        lock(&self.state).asked.iter().filter(|(_, made)| !made).count()
    }

    /// Ends it, with all tunnels: its port refuses connections from then on.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        {
            let mut state = lock(&self.state);
            state.ended = true;
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // Wakes the accepting thread, so that it sees the end.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = accepting.join();
    }

    /// Starts it again on its port, after [`Proxy::stop`].
    ///
    /// # Panics
    /// Somebody else has the port.
    pub fn restart(&mut self) {
        self.stop();
        let authorization = lock(&self.state).authorization;
        *self = Self::start(self.port, authorization);
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that failed in another thread should not hide its own reason.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Arc<Mutex<State>>, near: TcpStream) {
    let Ok(mut answering) = near.try_clone() else {
        return;
    };
    let mut reading = BufReader::new(near);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reading.read_line(&mut line) {
            Ok(length) if length > 2 => lines.push(line.trim_end().to_owned()),
            Ok(2) => break,
            _ => return,
        }
    }
    let first = lines.first().map(String::as_str).unwrap_or_default();
    let Some(to) = first
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
    else {
        let _ = answering.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let header = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
    let shown = header.map(|(_, value)| value);
    let wanted = lock(shared).authorization;
    if wanted.is_some() && wanted != shown {
        lock(shared).asked.push((to.to_owned(), false));
        let _ = answering.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\
              Content-Length: 0\r\n\r\n",
        );
        return;
    }
    let port = to.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let far = port.and_then(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    let Some(far) = far else {
        lock(shared).asked.push((to.to_owned(), false));
        let _ = answering.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    {
        let mut state = lock(shared);
        if state.ended {
            return;
        }
        state.asked.push((to.to_owned(), true));
        for stream in [&answering, &far] {
            let _ = stream.set_nodelay(true);
            state.open.extend(stream.try_clone());
        }
    }
    if answering
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .is_err()
    {
        return;
    }
    let (Ok(back), Ok(mut forth)) = (far.try_clone(), far.try_clone()) else {
        return;
    };
    let mut buffered = Vec::new();
    buffered.extend_from_slice(reading.buffer());
    let near = reading.into_inner();
    std::thread::spawn(move || pump(back, answering));
    if forth.write_all(&buffered).is_ok() {
        pump(near, forth);
    }
}

fn pump(mut from: TcpStream, mut into: TcpStream) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if into.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
