//! A cable between two ports that can be pulled, also in the middle of a frame.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Passes connections on to a port of this machine. Its threads end with it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// How many more bytes pass, both directions together, before the cable is cut; none: no end. 0: it is cut.
    left: Option<usize>,
    /// All that passed.
    passed: u64,
    /// Cuts so far.
    cuts: u64,
    /// How long each connection lives; none: as it pleases.
    life: Option<Duration>,
    ended: bool,
    open: Vec<TcpStream>,
}

impl Relay {
    /// A cable to that port, whole.
    ///
    /// # Panics
    /// No port can be had.
    pub fn new(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State {
            left: None,
            passed: 0,
            cuts: 0,
            life: None,
            ended: false,
            open: Vec::new(),
        }));
        let shared = state.clone();
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if lock(&shared).ended {
                    return;
                }
                pass_on(&shared, near, to);
            }
        });
        Self {
            port,
            state,
            accepting: Some(accepting),
        }
    }

    /// What to dial instead of the node behind it.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Cuts it now: open connections break, new ones end at once.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.left = Some(0);
        state.cut();
    }

    /// Cuts it after so many more bytes, wherever in a frame that is.
    ///
    /// # Panics
    /// `bytes` is 0.
    pub fn cut_after(&self, bytes: usize) {
        assert!(bytes > 0, "that would be a cut now");
        lock(&self.state).left = Some(bytes);
    }

    /// Cuts each connection that is made from now on when it has lived for so long, as some firewalls do.
    pub fn limit_lives(&self, life: Duration) {
        lock(&self.state).life = Some(life);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        lock(&self.state).left == Some(0)
    }

    /// Bytes that passed so far, both directions together.
    pub fn passed(&self) -> u64 {
        lock(&self.state).passed
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        lock(&self.state).cuts
    }

    /// Makes it whole.
    pub fn restore(&self) {
        lock(&self.state).left = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.state).ended = true;
        self.cut();
        // Wakes the accepting thread, so that it sees the end.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that failed in another thread should not hide its own reason.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.cuts += 1;
        }
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(shared: &Arc<Mutex<State>>, near: TcpStream, to: u16) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
        return;
    };
    let mut state = lock(shared);
    if state.left == Some(0) {
        return;
    }
    if let (Some(life), Ok(near)) = (state.life, near.try_clone()) {
        let shared = shared.clone();
        std::thread::spawn(move || {
            std::thread::sleep(life);
            if near.shutdown(Shutdown::Both).is_ok() {
                lock(&shared).cuts += 1;
            }
        });
    }
    for (from, into) in [(&near, &far), (&far, &near)] {
        let _ = from.set_nodelay(true);
        let (Ok(from), Ok(into), Ok(kept)) = (from.try_clone(), into.try_clone(), from.try_clone()) else {
            return;
        };
        state.open.push(kept);
        let shared = shared.clone();
        std::thread::spawn(move || pump(&shared, from, into));
    }
}

/// One direction of one connection, until either end closes it or the cable is cut.
fn pump(shared: &Mutex<State>, mut from: TcpStream, mut into: TcpStream) {
    let mut piece = [0; 16 * 1024];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let (length, last) = {
            let mut state = lock(shared);
            let (length, last) = match &mut state.left {
                None => (length, false),
                Some(0) => (0, true),
                Some(left) => {
                    let length = length.min(*left);
                    *left -= length;
                    (length, *left == 0)
                }
            };
            state.passed += length as u64;
            (length, last)
        };
        let written = into.write_all(&piece[..length]);
        if last {
            lock(shared).cut();
        }
        if last || written.is_err() {
            break;
        }
    }
    // Half-closed connections are no use to TLS.
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
