//! The event log: the same seed gives the same bytes (promise P10).

use std::fmt::{self, Write as _};
use std::io::Write as _;

/// What becomes of the log's lines.
#[derive(Debug)]
enum Sink {
    /// Nothing is even formatted.
    Off,
    /// Only a hash and a count are kept, so that two runs can be compared at no cost in memory.
    Hash,
    /// To standard output as well.
    Print,
    /// All lines are kept, to show the first one where two runs differ.
    Keep(Vec<String>),
}

/// One line per thing that happened.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    hash: Hasher,
    lines: u64,
}

#[derive(Debug)]
struct Hasher(u64);

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl Log {
    fn new(sink: Sink) -> Self {
        Self {
            sink,
            hash: Hasher(0xcbf2_9ce4_8422_2325),
            lines: 0,
        }
    }

    /// Formats nothing.
    pub fn off() -> Self {
        Self::new(Sink::Off)
    }

    /// Hashes what it is told.
    pub fn hashed() -> Self {
        Self::new(Sink::Hash)
    }

    /// Prints what it is told.
    pub fn printed() -> Self {
        Self::new(Sink::Print)
    }

    /// Keeps what it is told.
    pub fn kept() -> Self {
        Self::new(Sink::Keep(Vec::new()))
    }

    /// Whether lines are printed or kept: then time matters less than seeing what is wrong at once.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.sink, Sink::Print | Sink::Keep(_))
    }

    /// Number of lines and their hash.
    pub fn digest(&self) -> (u64, u64) {
        (self.lines, self.hash.0)
    }

    /// The lines of a log that keeps them.
    pub fn into_lines(self) -> Vec<String> {
        match self.sink {
            Sink::Keep(lines) => lines,
            Sink::Off | Sink::Hash | Sink::Print => Vec::new(),
        }
    }

    /// Adds a line; `now` is virtual microseconds.
    pub fn line(&mut self, now: u64, what: fmt::Arguments<'_>) {
        if matches!(self.sink, Sink::Off) {
            return;
        }
        self.lines += 1;
        // Writing to a hash never fails.
        let _ = writeln!(self.hash, "{now} {what}");
        match &mut self.sink {
            Sink::Off | Sink::Hash => {}
            Sink::Print => {
                // A closed pipe (`| head`) is no reason to stop: the verdict is still wanted.
                let _ = writeln!(std::io::stdout(), "{:>13.6} {what}", now as f64 / 1e6);
            }
            Sink::Keep(lines) => lines.push(format!("{now} {what}")),
        }
    }
}
