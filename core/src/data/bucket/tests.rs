//! Beside a bucket whose level is a fraction, and beside the promise in its own words.

extern crate std;
use super::*;
use crate::rate::RATE_MAX;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

fn rate(text: &str) -> Rate {
    text.parse().expect(text)
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn bucket(text: &str, now: Instant) -> Bucket {
    let mut bucket = Bucket::UNLIMITED;
    bucket.set(Some(rate(text)), now);
    bucket
}

/// Takes all that is there.
fn drain(bucket: &mut Bucket, now: Instant) -> u32 {
    let tokens = bucket.tokens(now);
    for _ in 0..tokens {
        bucket.take(now);
    }
    tokens
}

#[test]
fn it_begins_with_one_and_holds_as_many_as_the_rate_has() {
    let mut b = bucket("10/s", at(7));
    assert_eq!(drain(&mut b, at(7)), 1);
    assert_eq!(b.when(1, at(7)), Some(at(100_007)));
    assert_eq!((b.tokens(at(100_006)), b.tokens(at(100_007))), (0, 1));
    assert_eq!(drain(&mut b, at(500_000_000)), 10);
    assert_eq!(b.when(11, at(500_000_000)), None, "never that many");
    assert_eq!(b.when(10, at(500_000_000)), Some(at(501_000_000)));
    assert_eq!(size_of::<Bucket>(), 16);
    assert_eq!(Bucket::UNLIMITED.tokens(at(0)), u32::MAX);
    assert_eq!(Bucket::UNLIMITED.when(1, at(0)), None);
}

/// A rate that does not divide its period, one token at a time for a day: all of them, and none more.
#[test]
fn it_does_not_drift() {
    for (text, count, period) in [("7/s", 7, 1_000_000), ("999983/s", 999_983, 1_000_000)] {
        let mut b = bucket(text, at(0));
        let (mut now, mut taken) = (at(0), 0u64);
        let end = at(period * if count == 7 { 86_400 } else { 1 });
        while now <= end {
            b.take(now);
            taken += 1;
            now = b.when(1, now).expect("some time");
        }
        assert_eq!(taken, 1 + count * end.as_micros() / period, "{text}");
    }
}

#[test]
fn the_largest_rates_and_times_fit() {
    let late = at(u64::MAX / 2);
    for text in ["1000000/d", "1000000/s", "1/d"] {
        let mut b = bucket(text, late);
        let full = late + Duration::from_secs(86_400);
        assert_eq!(b.tokens(full), rate(text).count());
        assert_eq!(drain(&mut b, full), rate(text).count());
        assert_eq!(b.tokens(full), 0);
    }
    // Nothing breaks where time ends, in 584,000 years.
    let last = at(u64::MAX);
    drain(&mut bucket("5/d", last), last);
}

#[test]
fn changing_the_rate_gains_nothing() {
    let mut b = bucket("4/s", at(0));
    let now = at(10_000_000);
    drain(&mut b, now);
    for text in ["1000000/s", "4/s", "5/d", "1000000/d", "4/s"] {
        b.set(Some(rate(text)), now);
        assert_eq!(b.tokens(now), 0, "{text}");
    }
    b.set(Some(rate("4/s")), now);
    assert_eq!(b.when(1, now), Some(at(10_250_000)), "half a wait is not lost");
    // What is there stays, as far as it fits.
    let mut b = bucket("4/s", at(0));
    b.set(Some(rate("3/m")), now);
    assert_eq!(b.tokens(now), 3);
    b.set(None, now);
    assert_eq!(b.tokens(now), u32::MAX);
    b.set(Some(rate("3/m")), now);
    assert_eq!(b.tokens(now), 1);
}

#[test]
fn what_is_put_back_at_once_is_whole_and_later_is_less() {
    let mut b = bucket("2/s", at(0));
    b.take(at(0));
    b.put_back(at(0), at(0));
    assert_eq!(b.tokens(at(0)), 1);
    b.take(at(0));
    b.put_back(at(0), at(200_000));
    // 0.4 came by time, and 0.6 are left of it.
    assert_eq!(b.tokens(at(200_000)), 1);
    assert_eq!(b.when(2, at(200_000)), Some(at(700_000)));
    let mut b = bucket("2/s", at(0));
    b.take(at(0));
    b.take(at(500_000));
    b.put_back(at(0), at(500_000));
    assert_eq!(b.tokens(at(500_000)), 0, "time has made up for it");
}

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Take,
    /// One of those that were taken, counted from the last.
    PutBack(usize),
    Set(Option<Rate>),
}

fn rates() -> impl Strategy<Value = Rate> {
    let count = prop_oneof![1u32..8, Just(999_983), Just(RATE_MAX)];
    (count, 0usize..4).prop_map(|(count, unit)| {
        let mut text = String::new();
        core::fmt::Write::write_fmt(&mut text, format_args!("{count}/{}", ["s", "m", "h", "d"][unit]))
            .expect("text");
        rate(&text)
    })
}

fn act() -> impl Strategy<Value = Act> {
    let time = prop_oneof![0u64..3, 0u64..2_000_000, 0u64..200_000_000_000];
    prop_oneof![
        3 => time.prop_map(Act::Pass),
        6 => Just(Act::Take),
        2 => (0usize..6).prop_map(Act::PutBack),
        1 => proptest::option::weighted(0.9, rates()).prop_map(Act::Set),
    ]
}

/// A token in the twin's units: each period is a part of a day.
const TOKEN: u128 = 86_400_000_000;

/// A level that rises as time passes.
struct Twin {
    rate: Rate,
    level: u128,
    at: Instant,
}

impl Twin {
    fn gain(&self) -> u128 {
        u128::from(self.rate.count()) * TOKEN / u128::from(self.rate.period().as_micros())
    }

    fn pass(&mut self, now: Instant) {
        let more = u128::from(self.at.until(now).as_micros()) * self.gain();
        self.level = (self.level + more).min(u128::from(self.rate.count()) * TOKEN);
        self.at = now;
    }
}

proptest! {
    #[test]
    fn it_is_a_bucket(first in rates(), acts in proptest::collection::vec(act(), 1..200)) {
        let mut now = at(5);
        let mut b = bucket(&std::format!("{first}"), now);
        let mut twin = Some(Twin { rate: first, level: TOKEN, at: now });
        let mut taken: Vec<Instant> = Vec::new();
        for act in acts {
            match act {
                Act::Pass(micros) => now += Duration::from_micros(micros),
                Act::Take => {
                    if b.tokens(now) > 0 {
                        b.take(now);
                        taken.push(now);
                        if let Some(twin) = &mut twin {
                            twin.pass(now);
                            twin.level -= TOKEN;
                        }
                    }
                }
                Act::PutBack(back) => {
                    if back < taken.len() {
                        let then = taken.remove(taken.len() - 1 - back);
                        b.put_back(then, now);
                        if let Some(twin) = &mut twin {
                            twin.pass(now);
                            twin.level += TOKEN.saturating_sub(u128::from(then.until(now).as_micros()) * twin.gain());
                            twin.pass(now);
                        }
                    }
                }
                Act::Set(rate) => {
                    b.set(rate, now);
                    let old = twin.take().map(|mut twin| { twin.pass(now); twin });
                    twin = rate.map(|rate| {
                        let level = old.as_ref().map_or(TOKEN, |old| old.level);
                        // A rate that was there is no other rate.
                        let same = old.is_some_and(|old| old.rate == rate);
                        let unit = TOKEN / u128::from(rate.period().as_micros());
                        let level = if same { level } else { level / unit * unit };
                        let mut twin = Twin { rate, level, at: now };
                        twin.pass(now);
                        twin
                    });
                }
            }
            let Some(twin) = &mut twin else {
                prop_assert_eq!(b.tokens(now), u32::MAX);
                continue;
            };
            twin.pass(now);
            let tokens = (twin.level / TOKEN) as u32;
            prop_assert_eq!(b.tokens(now), tokens);
            prop_assert_eq!(b.rate(), Some(twin.rate));
            match b.when(tokens + 1, now) {
                None => prop_assert_eq!(tokens, twin.rate.count()),
                Some(next) => {
                    prop_assert!(next > now);
                    prop_assert_eq!(b.tokens(next), tokens + 1);
                    prop_assert_eq!(b.tokens(next - Duration::from_micros(1)), tokens);
                }
            }
        }
    }

    /// The promise in its own words, with some of the takes undone: those that stay never exceed it.
    #[test]
    fn no_span_has_more_than_it_may(
        rate in rates(),
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut now = at(0);
        let mut b = bucket(&std::format!("{rate}"), now);
        let mut kept: Vec<Instant> = Vec::new();
        for act in acts {
            match act {
                Act::Pass(micros) => now += Duration::from_micros(micros % 3_000_000),
                Act::Take => {
                    if b.tokens(now) > 0 {
                        b.take(now);
                        kept.push(now);
                    }
                }
                Act::PutBack(back) => {
                    if back < kept.len() {
                        let then = kept.remove(kept.len() - 1 - back);
                        b.put_back(then, now);
                    }
                }
                Act::Set(_) => {}
            }
            let (count, period) = (u128::from(rate.count()), u128::from(rate.period().as_micros()));
            for (from, then) in kept.iter().enumerate() {
                let got = (kept.len() - from) as u128;
                let span = u128::from(then.until(now).as_micros());
                prop_assert!(got * period <= count * (period + span), "{got} in {span} us at {rate}");
            }
            prop_assert!(kept.len() as u128 * period <= period + count * u128::from(now.as_micros()));
        }
    }
}
