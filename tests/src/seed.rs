//! Randomness that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of random numbers from a seed (xorshift64*). The seed is printed, so that a failing test shows it.
#[derive(Debug, Clone)]
pub struct Seed {
    state: u64,
}

impl Seed {
    /// The seed in the environment variable `name`, or a new one.
    ///
    /// # Panics
    /// The variable holds no number.
    pub fn from_env(name: &str) -> Self {
        let seed = match std::env::var(name) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| {
                u64::from(since.subsec_nanos()) ^ since.as_secs().rotate_left(32)
            }),
        };
        println!("{name}={seed}");
        Self {
            // Spread, and never 0.
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
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
        self.next_number() % bound
    }
}
