//! How many messages a consumer wants at most in a time, as it says it: `100/s`.

use crate::time::Duration;
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Most messages in one period.
pub const RATE_MAX: u32 = 1_000_000;

/// So many messages per second, minute, hour or day (P4): from 1 to [`RATE_MAX`].
///
/// A consumer with a rate of n in a period gets at most n + n·t/period messages in any span of length t, so never more
/// than n at once, and a freshly registered one gets at most 1 + n·t/period in the time t since then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Rate(
    /// The unit in the highest two bits, the number below: an optional rate takes no more than four bytes.
    NonZeroU32,
);

/// Seconds and letter of each unit; its place is its number.
const UNITS: [(u64, &str); 4] = [(1, "s"), (60, "m"), (3_600, "h"), (86_400, "d")];
/// Bits of the number.
const BITS: u32 = 30;

/// The text or number is no rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRate;

impl Rate {
    fn new(count: u32, unit: usize) -> Result<Self, BadRate> {
        let unit = u32::try_from(unit).ok().filter(|unit| *unit < 4).ok_or(BadRate)?;
        if !(1..=RATE_MAX).contains(&count) {
            return Err(BadRate);
        }
        NonZeroU32::new(count | (unit << BITS)).map(Self).ok_or(BadRate)
    }

    fn unit(self) -> (u64, &'static str) {
        UNITS[(self.0.get() >> BITS) as usize]
    }

    /// Messages in one period.
    pub fn count(self) -> u32 {
        self.0.get() & ((1 << BITS) - 1)
    }

    /// A second, a minute, an hour or a day.
    pub fn period(self) -> Duration {
        Duration::from_secs(self.unit().0)
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    /// Reads `100/s`: digits without a sign, a slash, and one of `s`, `m`, `h`, `d`.
    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (count, unit) = text.split_once('/').ok_or(BadRate)?;
        // `parse` would take a plus sign.
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRate);
        }
        let unit = UNITS.iter().position(|(_, letter)| *letter == unit);
        Self::new(count.parse().map_err(|_| BadRate)?, unit.ok_or(BadRate)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count(), self.unit().1)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<u32> for Rate {
    type Error = BadRate;
    fn try_from(bits: u32) -> Result<Self, BadRate> {
        Self::new(bits & ((1 << BITS) - 1), (bits >> BITS) as usize)
    }
}

impl From<Rate> for u32 {
    fn from(rate: Rate) -> Self {
        rate.0.get()
    }
}

impl fmt::Display for BadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a rate is a number from 1 to {RATE_MAX} per s, m, h or d, such as 100/s or 5/d"
        )
    }
}

impl core::error::Error for BadRate {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn rates_are_read_and_written() {
        for (text, count, seconds) in [
            ("100/s", 100, 1),
            ("1/m", 1, 60),
            ("1000000/h", 1_000_000, 3_600),
            ("5/d", 5, 86_400),
        ] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(
                (rate.count(), rate.period()),
                (count, Duration::from_secs(seconds))
            );
            assert_eq!(rate.to_string(), text);
            assert_eq!(Rate::try_from(u32::from(rate)), Ok(rate));
        }
        assert_eq!(size_of::<Option<Rate>>(), 4);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "/",
            "5",
            "5/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1 /s",
            "1/ s",
            "1/S",
            "1/ms",
            "1/s/s",
            "1000001/s",
            "99999999999999999999/s",
            "1/w",
            "\u{661}/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate), "{text}");
        }
        assert!(Rate::try_from(0).is_err());
        assert!(Rate::try_from(RATE_MAX + 1).is_err());
    }
}
