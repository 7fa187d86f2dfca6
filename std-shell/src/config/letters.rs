//! The setting for dead letters.

use super::{ConfigError, wrong};
use crate::http::headers::parse_duration;
use crate::store::LetterLimits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most dead letters that may be kept.
const MAX: u32 = 10_000_000;
/// Longest that one may be kept, and shortest.
const KEEP_MAX: Duration = Duration::from_secs(3_650 * 86_400);
const KEEP_MIN: Duration = Duration::from_secs(1);

/// How many dead letters are kept, and how long; none means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// At most so many; 0 keeps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// None longer than this, such as `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
}

impl DeadLetters {
    /// As the store takes them.
    pub(super) fn limits(&self) -> Result<LetterLimits, ConfigError> {
        let default = LetterLimits::default();
        let max = self.max.unwrap_or(default.max);
        if max > MAX {
            return Err(wrong(
                "dead_letters.max",
                "it is from 0, which keeps none, to 10000000",
            ));
        }
        let keep = match &self.keep {
            None => default.keep,
            Some(text) => {
                let keep = parse_duration(text).ok();
                let keep = keep.filter(|keep| (KEEP_MIN..=KEEP_MAX).contains(keep));
                let what = || format!("`{text}` is not possible; it is from 1s to 3650d, such as 30d");
                keep.ok_or_else(|| wrong("dead_letters.keep", what()))?
            }
        };
        Ok(LetterLimits { max, keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_default_and_what_can_not_be_is_named() {
        let limits = |text: &str| toml::from_str::<DeadLetters>(text).unwrap().limits();
        assert_eq!(limits("").unwrap(), LetterLimits::default());
        let told = limits("max = 5\nkeep = \"2h\"").unwrap();
        assert_eq!((told.max, told.keep), (5, Duration::from_secs(7_200)));
        for bad in [
            "max = 10000001",
            "keep = \"0s\"",
            "keep = \"30\"",
            "keep = \"4000d\"",
        ] {
            let said = limits(bad).unwrap_err().to_string();
            assert!(said.contains("dead_letters"), "{said}");
        }
        assert!(toml::from_str::<DeadLetters>("most = 1").is_err());
    }
}
