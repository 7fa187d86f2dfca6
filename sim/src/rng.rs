//! The simulator's only randomness: xoshiro256++, seeded through splitmix64.
//!
//! Every concern draws from a stream of its own, so that leaving out one kind of fault changes as little as possible
//! of everything else: that is what makes a failing seed shrink.

/// A reproducible stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream named `stream` of this seed.
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut state = stream.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(core::array::from_fn(|_| splitmix(&mut state)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number below `n`; zero if `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of the product: no division, and its bias is far below what a simulation could notice.
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True `n` times out of a thousand.
    pub fn chance(&mut self, n: u64) -> bool {
        self.below(1_000) < n
    }

    /// One of these, or none of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }

    /// A number from `low` to `high`, small ones as likely as large ones on a scale of powers of two.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let steps = (high / low.max(1)).max(1).ilog2();
        let shift = self.below(u64::from(steps) + 1);
        let base = low.max(1) << shift;
        self.range(base, base.saturating_mul(2)).clamp(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.bits(), rng.bits(), rng.bits()]
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn ranges_reach_both_ends_and_no_further() {
        let mut rng = Rng::new(3, "");
        let seen: Vec<u64> = (0..1_000).map(|_| rng.range(5, 8)).collect();
        assert_eq!((seen.iter().min(), seen.iter().max()), (Some(&5), Some(&8)));
        assert!((0..1_000).all(|_| (10..=1_000).contains(&rng.spread(10, 1_000))));
        assert_eq!(rng.below(0), 0);
    }
}
