//! A cable between two ports that can be pulled, also in the middle of a frame, and that has weather.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pieces on their way in one direction of one connection; who sends more has to wait.
const ON_THE_WAY: usize = 64;
/// What a lost packet costs at least: TCP's shortest retransmission timeout.
const LOST: Duration = Duration::from_millis(200);

/// What a cable does to the bytes that pass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Each piece arrives so much later.
    pub delay: Duration,
    /// Of a hundred pieces so many come late by what TCP takes to notice a lost packet.
    pub loss: u8,
    /// Each direction of each connection passes so many bytes a second; none: as many as come.
    pub bytes_per_second: Option<u32>,
    /// Nothing arrives at who was dialled; the connections stay open.
    pub no_way_there: bool,
    /// Nothing arrives at who dials; the connections stay open.
    pub no_way_back: bool,
}

/// Passes connections on to a port of this machine. Its threads end with it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The weather has changed, or something was cut.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many more bytes pass, both directions together, before the cable is cut; none: no end. 0: it is cut.
    left: Option<usize>,
    weather: Weather,
    /// All that passed.
    passed: u64,
    /// Pieces that passed, to find out which are lost.
    pieces: u64,
    /// Cuts so far that broke a connection.
    cuts: u64,
    /// How long each connection lives; none: as it pleases.
    life: Option<Duration>,
    ended: bool,
    /// Connections by number.
    open: HashMap<u64, [TcpStream; 2]>,
    next: u64,
}

impl Relay {
    /// A cable to that port, whole.
    ///
    /// # Panics
    /// No port can be had.
    pub fn new(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                left: None,
                weather: Weather::default(),
                passed: 0,
                pieces: 0,
                cuts: 0,
                life: None,
                ended: false,
                open: HashMap::new(),
                next: 0,
            }),
            changed: Condvar::new(),
        });
        let for_all = shared.clone();
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if for_all.lock().ended {
                    return;
                }
                pass_on(&for_all, near, to);
            }
        });
        Self {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    /// What to dial instead of the node behind it.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Cuts it now: open connections break, new ones end at once.
    pub fn cut(&self) {
        self.shared.cut(&mut self.shared.lock());
    }

    /// Cuts it after so many more bytes, wherever in a frame that is.
    ///
    /// # Panics
    /// `bytes` is 0.
    pub fn cut_after(&self, bytes: usize) {
        assert!(bytes > 0, "that would be a cut now");
        self.shared.lock().left = Some(bytes);
    }

    /// Cuts each connection that is made from now on when it has lived for so long, as some firewalls do.
    pub fn limit_lives(&self, life: Duration) {
        self.shared.lock().life = Some(life);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.shared.lock().left == Some(0)
    }

    /// Bytes that passed so far, both directions together.
    pub fn passed(&self) -> u64 {
        self.shared.lock().passed
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        self.shared.lock().cuts
    }

    /// Makes it whole.
    pub fn restore(&self) {
        self.shared.lock().left = None;
    }

    /// Changes its weather; what is on its way meets the new one.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.lock().weather = weather;
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.cut();
        // Wakes the accepting thread, so that it sees the end.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed in another thread should not hide its own reason.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, state: &mut State) {
        state.left = Some(0);
        if !state.open.is_empty() {
            state.cuts += 1;
        }
        for (_, streams) in state.open.drain() {
            shut(&streams);
        }
        self.changed.notify_all();
    }

    /// Ends a connection; the other direction's threads see it.
    fn close(&self, connection: u64) {
        if let Some(streams) = self.lock().open.remove(&connection) {
            shut(&streams);
        }
        self.changed.notify_all();
    }

    /// Cuts a connection that has lived long enough.
    fn end_life(&self, connection: u64) {
        let mut state = self.lock();
        if let Some(streams) = state.open.remove(&connection) {
            shut(&streams);
            state.cuts += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until a piece that came at `came` may go on. `false`: its connection is over.
    fn weather(&self, connection: u64, there: bool, came: Instant, length: usize) -> bool {
        let mut state = self.lock();
        state.pieces += 1;
        let lost = state.pieces * u64::from(state.weather.loss) % 100 < u64::from(state.weather.loss);
        let lost = if lost { LOST } else { Duration::ZERO };
        let started = Instant::now();
        loop {
            if !state.open.contains_key(&connection) {
                return false;
            }
            let weather = state.weather;
            if if there {
                weather.no_way_there
            } else {
                weather.no_way_back
            } {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let takes = weather.bytes_per_second.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(length as f64 / f64::from(rate.max(1)))
            });
            let due = (came + weather.delay + lost).max(started + takes);
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Half-closed connections are no use to TLS.
fn shut(streams: &[TcpStream; 2]) {
    for stream in streams {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn pass_on(shared: &Arc<Shared>, near: TcpStream, to: u16) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
        return;
    };
    let copy = |stream: &TcpStream| {
        let _ = stream.set_nodelay(true);
        stream.try_clone()
    };
    let ways = [(&near, &far, true), (&far, &near, false)]
        .map(|(from, into, there)| Ok::<_, std::io::Error>((copy(from)?, copy(into)?, there)));
    let mut state = shared.lock();
    if state.left == Some(0) {
        return;
    }
    let connection = state.next;
    state.next += 1;
    state.open.insert(connection, [near, far]);
    if let Some(life) = state.life {
        let shared = shared.clone();
        std::thread::spawn(move || {
            std::thread::sleep(life);
            shared.end_life(connection);
        });
    }
    drop(state);
    for way in ways {
        let Ok((from, into, there)) = way else {
            return shared.close(connection);
        };
        let (send, receive) = sync_channel(ON_THE_WAY);
        let writer = shared.clone();
        // What is on its way still arrives when its sender has closed; then the writer ends the connection.
        std::thread::spawn(move || read(from, &send));
        std::thread::spawn(move || {
            write(&writer, connection, there, into, &receive);
            writer.close(connection);
        });
    }
}

/// The near end of one direction, until its sender closes it or the cable is cut.
fn read(mut from: TcpStream, send: &SyncSender<(Instant, Vec<u8>)>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if send.send((Instant::now(), piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// The far end of one direction.
fn write(
    shared: &Shared,
    connection: u64,
    there: bool,
    mut into: TcpStream,
    receive: &Receiver<(Instant, Vec<u8>)>,
) {
    for (came, piece) in receive {
        if !shared.weather(connection, there, came, piece.len()) {
            return;
        }
        let (length, last) = {
            let mut state = shared.lock();
            let (length, last) = match &mut state.left {
                None => (piece.len(), false),
                Some(0) => (0, true),
                Some(left) => {
                    let length = piece.len().min(*left);
                    *left -= length;
                    (length, *left == 0)
                }
            };
            state.passed += length as u64;
            (length, last)
        };
        let written = into.write_all(&piece[..length]);
        if last {
            shared.cut(&mut shared.lock());
        }
        if last || written.is_err() {
            return;
        }
    }
}
