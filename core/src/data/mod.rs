//! Where the core keeps things: fixed slots, and queues threaded through them.
//!
//! Nothing here grows or allocates, and nothing here knows what a message is. One element lives in one slot of a
//! [`slab`] and can be in several [`list`]s, [`tree`]s and indexes at once; all of them name it by its [`slab::Ix`].
//! Iteration follows slots, links or keys, never hashes, so that the same inputs always give the same outputs.
//! A wrong slot or id is the core's own bug and panics: ids that a peer or caller chose are looked up in an
//! [`index`] first.

pub(crate) mod bucket;
pub(crate) mod dirty;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod marks;
pub(crate) mod slab;
pub(crate) mod slots;
pub(crate) mod timers;
pub(crate) mod tree;

/// Step of the splitmix64 sequence: odd, so that its multiples repeat only after 2^64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `n` of the splitmix64 sequence that starts at `seed`: different for each `n` below 2^64.
const fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(STEP));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn the_sequence_is_splitmix64() {
        // First numbers of the published generator for seed 0. A replay by another build relies on them.
        let first = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!([mix(0, 1), mix(0, 2), mix(0, 3)], first);
        assert_eq!(mix(super::STEP, 1), first[1]);
    }
}
