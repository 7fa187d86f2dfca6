//! A token bucket in sixteen bytes, exact to the microsecond however long it runs.
//!
//! A rate of n in a period gives one token every period/n, and the bucket holds n. What is kept is not how many there are
//! but when the bucket will be full again: then time alone fills it, and nothing needs to be written while it does. That
//! moment is kept in whole microseconds and n-ths of one, so that a rate that does not divide its period never drifts.
//!
//! Below, an amount is in n-ths of a microsecond: a token is worth one period of them, and each microsecond gives n. The
//! largest amount is n periods, which is below 2^57.

use crate::rate::Rate;
use crate::time::{Duration, Instant};

/// How many messages a consumer may be handed just now. Without a rate, as many as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    /// When it is full again, rounded down; any time before now if it is full.
    full: Instant,
    /// As many n-ths of a microsecond later.
    part: u32,
    rate: Option<Rate>,
}

/// The two numbers of a rate.
#[derive(Clone, Copy)]
struct Pace {
    count: u64,
    token: u64,
}

impl Pace {
    fn of(rate: Rate) -> Self {
        Self {
            count: u64::from(rate.count()),
            token: rate.period().as_micros(),
        }
    }

    /// All that the bucket holds.
    fn whole(self) -> u64 {
        self.count * self.token
    }
}

impl Bucket {
    /// Without a rate.
    pub(crate) const UNLIMITED: Self = Self {
        full: Instant::ZERO,
        part: 0,
        rate: None,
    };

    /// Its rate.
    pub(crate) const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Another rate counts from now on. What was there stays, as far as it fits, so that changing the rate to and fro gains
    /// nothing; who had no rate before has one token.
    pub(crate) fn set(&mut self, rate: Option<Rate>, now: Instant) {
        if rate == self.rate {
            return;
        }
        let Some(new) = rate else {
            *self = Self::UNLIMITED;
            return;
        };
        let (old, had) = (self.rate.map(Pace::of), self.rate.map_or(0, |_| self.amount(now)));
        let (rate, pace) = (new, Pace::of(new));
        let amount = match old {
            None => pace.token,
            // Each unit of time is a multiple of the shorter ones.
            Some(old) => {
                let (tokens, rest) = (had / old.token, had % old.token);
                let rest = if pace.token >= old.token {
                    rest * (pace.token / old.token)
                } else {
                    rest / (old.token / pace.token)
                };
                (tokens * pace.token + rest).min(pace.whole())
            }
        };
        self.rate = Some(rate);
        self.lacks(pace, pace.whole() - amount, now);
    }

    /// What it takes to fill it.
    fn missing(&self, pace: Pace, now: Instant) -> u64 {
        if self.full < now {
            return 0;
        }
        now.until(self.full).as_micros() * pace.count + u64::from(self.part)
    }

    fn lacks(&mut self, pace: Pace, missing: u64, now: Instant) {
        self.full = now + Duration::from_micros(missing / pace.count);
        // Below the count, which is far below 2^32.
        self.part = (missing % pace.count) as u32;
    }

    fn amount(&self, now: Instant) -> u64 {
        self.rate
            .map(Pace::of)
            .map_or(0, |pace| pace.whole().saturating_sub(self.missing(pace, now)))
    }

    /// Whole tokens.
    pub(crate) fn tokens(&self, now: Instant) -> u32 {
        match self.rate.map(Pace::of) {
            None => u32::MAX,
            // At most the count.
            Some(pace) => (self.amount(now) / pace.token) as u32,
        }
    }

    /// When there are so many tokens, if none is taken before; none if it never holds as many, or holds them already.
    pub(crate) fn when(&self, tokens: u32, now: Instant) -> Option<Instant> {
        let pace = Pace::of(self.rate?);
        let wanted = u64::from(tokens) * pace.token;
        let lacks = wanted.checked_sub(self.amount(now)).filter(|lacks| *lacks > 0)?;
        let wait = Duration::from_micros(lacks.div_ceil(pace.count));
        (wanted <= pace.whole()).then(|| now + wait)
    }

    /// Takes a token. There must be one.
    pub(crate) fn take(&mut self, now: Instant) {
        let Some(pace) = self.rate.map(Pace::of) else {
            return;
        };
        debug_assert!(self.tokens(now) > 0, "a token that is not there is not taken");
        self.lacks(pace, self.missing(pace, now) + pace.token, now);
    }

    /// Puts back what is left of a token that was taken then and served nobody: of what time has brought since, as much may
    /// be beyond what the bucket would have held if it had not been taken.
    pub(crate) fn put_back(&mut self, taken: Instant, now: Instant) {
        let Some(pace) = self.rate.map(Pace::of) else {
            return;
        };
        let since = taken.until(now).as_micros().saturating_mul(pace.count);
        let worth = pace.token.saturating_sub(since);
        self.lacks(pace, self.missing(pace, now).saturating_sub(worth), now);
    }
}

#[cfg(test)]
mod tests;
