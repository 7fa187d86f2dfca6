//! What a service manager is told of the node: the datagrams of `sd_notify(3)`, where `NOTIFY_SOCKET` asks for them.

use crate::driver::Handle;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's ear, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How long it may go without a sign of life.
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment says. What can't be used is logged, and left alone: a node works without.
    pub fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| mine && *micros > 0);
        match open(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog.map(Duration::from_micros),
            },
            Err(error) => {
                tracing::warn!(socket = ?name, %error, "the service manager can't be told anything");
                Self::default()
            }
        }
    }

    /// It takes work now.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its settings again; [`Manager::ready`] ends that.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now
            .tv_sec
            .saturating_mul(1_000_000)
            .saturating_add(now.tv_nsec / 1_000);
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reads its settings again"
        ));
    }

    /// It stops, and may take this long.
    pub fn stopping(&self, at_most: Duration) {
        let micros = at_most.as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=lets work end"
        ));
    }

    /// What it does, for people.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// Tells for ever that the node lives, but only when its driver has gone round since the last time: one that hangs
    /// makes the manager start the node again. Never ends; does nothing else where no watchdog is wanted.
    pub async fn keep_alive(&self, handle: &Handle) {
        let Some(watchdog) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut seen = handle.turns();
        loop {
            tokio::time::sleep(watchdog / 4).await;
            let turns = handle.turns();
            if turns != seen {
                seen = turns;
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, text: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        // Never waits: a manager that does not read holds up nothing.
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', hidden @ ..] => abstract_address(hidden)?,
        [b'/', ..] => SocketAddr::from_pathname(OsString::from(name))?,
        _ => return Err(io::Error::other("it is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("this system has no abstract sockets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listener: &UnixDatagram, name: &OsStr) -> String {
        let manager = Manager {
            socket: Some(open(name).unwrap()),
            watchdog: None,
        };
        manager.ready("well");
        let mut bytes = [0; 200];
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        assert_eq!(told(&listener, path.as_os_str()), "READY=1\nSTATUS=well");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_name_is_told() {
        let name = format!("redlink-test-{}", std::process::id());
        let address = abstract_address(name.as_bytes()).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let text = format!("@{name}");
        assert_eq!(told(&listener, OsStr::new(&text)), "READY=1\nSTATUS=well");
    }

    #[test]
    fn nobody_to_tell_and_nonsense_are_no_reason_to_stop() {
        Manager::default().ready("x");
        assert!(open(OsStr::new("relative")).is_err());
        let gone = Manager {
            socket: Some(open(OsStr::new("/nonexistent/socket")).unwrap()),
            watchdog: None,
        };
        gone.ready("x");
    }
}
