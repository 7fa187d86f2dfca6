//! Randomness that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of random numbers from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Seed {
    number: u64,
    state: u64,
}

impl Seed {
    /// The stream of this number.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            // Spread, and never 0.
            state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// The seed in the environment variable `name`, or a new one. It is printed, so that a failing test shows it.
    ///
    /// # Panics
    /// The variable holds no number.
    pub fn from_env(name: &str) -> Self {
        let number = match std::env::var(name) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| {
                u64::from(since.subsec_nanos()) ^ since.as_secs().rotate_left(32)
            }),
        };
        println!("{name}={number}");
        Self::new(number)
    }

    /// What it was made from.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A stream of its own for another part, whatever this one is used for meanwhile.
    #[must_use]
    pub fn part(&self, part: u64) -> Self {
        let mut own = Self::new(self.number ^ (part + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        own.next_number();
        own
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One from `0` to `bound - 1`.
    ///
    /// # Panics
    /// `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half: the low bits of this kind of stream are the worse ones.
        (self.next_number() >> 32) % bound
    }

    /// Whether something that happens so often in a hundred times happens now.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
