//! A message's settings as headers, and durations as text.

use super::options::Options;
use super::problem::Problem;
use crate::clock;
use crate::store::Alternate;
use crate::trace_context::{TRACEPARENT, TRACESTATE};
use http::HeaderMap;
use redlink_core::{Duration, Terms};
use std::time::{Duration as StdDuration, SystemTime};

/// The path to answer a delivery at.
pub const DELIVERY: &str = "redlink-delivery";
/// A message's id.
pub const MESSAGE: &str = "redlink-message";
/// Number of the attempt, from 1.
pub const ATTEMPT: &str = "redlink-attempt";
/// 0 to 255, higher first.
pub const PRIORITY: &str = "redlink-priority";
/// When a message expires, RFC 3339.
pub const DEADLINE: &str = "redlink-deadline";
/// How long a delivery holds without a sign of life.
pub const LEASE: &str = "redlink-lease";
/// Whether an ack is wanted instead of a reply.
pub const SEND_ONLY: &str = "redlink-send-only";
/// What became of a message.
pub const OUTCOME: &str = "redlink-outcome";
/// Number of an exchange.
pub const EXCHANGE: &str = "redlink-exchange";
/// The name that an outcome is collected under.
pub const PRODUCER: &str = "redlink-producer";
/// What a producer wants back with the outcome, base64.
pub const PRESERVED: &str = "redlink-preserved";
/// Where a message is kept.
pub(super) const DURABILITY: &str = "redlink-durability";
/// By which a repeated submit is known.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
const ETT: &str = "redlink-ett";
pub(super) const ALTERNATE: &str = "redlink-alternate";
pub(super) const PATH: &str = "redlink-path";
const DELIVERY_MODE: &str = "redlink-delivery-mode";
const NOT_BEFORE: &str = "redlink-not-before";
const REOFFER: &str = "redlink-reoffer";
const MAX_ATTEMPTS: &str = "redlink-max-attempts";
const RETENTION: &str = "redlink-retention";

/// What a submit may say.
pub(super) const TERMS: &[&str] = &[
    PRIORITY,
    ETT,
    NOT_BEFORE,
    REOFFER,
    SEND_ONLY,
    DELIVERY_MODE,
    MAX_ATTEMPTS,
    RETENTION,
    ALTERNATE,
    PATH,
    PRODUCER,
    TRACEPARENT,
    TRACESTATE,
    IDEMPOTENCY_KEY,
    PRESERVED,
    DURABILITY,
];
/// Options that programs may know from elsewhere and that change what a submit means: never silently ignored.
const REFUSED: &[&str] = &[IDEMPOTENCY_KEY];

const DAY: StdDuration = StdDuration::from_secs(86_400);
const MILLISECOND: StdDuration = StdDuration::from_millis(1);
/// Longest ETT, delay and retention.
const YEAR: StdDuration = StdDuration::from_secs(365 * 86_400);

/// Not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and one unit, ms, s, m, h or d: 250ms, 30s, 5m")]
pub struct BadDuration;

/// Reads `250ms`, `30s`, `5m`, `2h`, `1d`.
///
/// # Errors
/// The text is something else, or too long a time to be counted in microseconds.
pub fn parse_duration(text: &str) -> Result<StdDuration, BadDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(BadDuration),
    };
    let number: u64 = number.parse().map_err(|_| BadDuration)?;
    let micros = number
        .checked_mul(millis)
        .and_then(|n| n.checked_mul(1_000))
        .ok_or(BadDuration)?;
    Ok(StdDuration::from_micros(micros))
}

/// As [`parse_duration`] reads it: whole milliseconds, rounded down, in the largest unit that holds them.
pub fn format_duration(duration: StdDuration) -> String {
    let millis = duration.as_millis();
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis != 0 && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// A moment as RFC 3339, UTC, in milliseconds; none if it lies beyond the year 9999.
pub fn format_time(at: SystemTime) -> Option<String> {
    use std::fmt::Write;
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_millis(at)).ok()?;
    Some(text)
}

/// The core's measure, microseconds; more than it can count is the most that it can.
pub(super) fn core_duration(duration: StdDuration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// The settings of a submit, with the defaults of the API for what is not said; `direct` is this node's.
///
/// # Errors
/// A value out of range; an option that this node doesn't know. `also` are an entry's members that are no options.
pub(super) fn terms(options: Options<'_>, also: &[&str], direct: bool) -> Result<Terms, Problem> {
    let default = Terms {
        direct,
        ..Terms::default()
    };
    terms_over(options, also, &default)
}

/// The settings of a message that has some already: those stay that are not said.
///
/// # Errors
/// As [`terms`].
pub(super) fn terms_over(options: Options<'_>, also: &[&str], default: &Terms) -> Result<Terms, Problem> {
    options.only(TERMS, REFUSED, also)?;
    let least = MILLISECOND;
    let or = |found: Option<Duration>, default: Duration| found.unwrap_or(default);
    let ett = options.duration(ETT, (least, YEAR), true, default.ett)?;
    let delay = options.duration(NOT_BEFORE, (least, YEAR), true, None)?;
    in_time(options, delay, ett)?;
    Ok(Terms {
        priority: options.number(PRIORITY, "it is from 0 to 255", default.priority)?,
        ett,
        not_before: or(delay, Duration::ZERO),
        reoffer: or(
            options.duration(REOFFER, (100 * MILLISECOND, DAY), false, None)?,
            default.reoffer,
        ),
        send_only: match options.text(SEND_ONLY)?.as_deref() {
            None => default.send_only,
            Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(options.bad(SEND_ONLY, other, "it is true or false")),
        },
        at_most_once: match options.text(DELIVERY_MODE)?.as_deref() {
            None => default.at_most_once,
            Some("at-least-once") => false,
            Some("at-most-once") => true,
            Some(other) => {
                return Err(options.bad(DELIVERY_MODE, other, "it is at-least-once or at-most-once"));
            }
        },
        max_attempts: options.number(
            MAX_ATTEMPTS,
            "it is from 0, no limit, to 65535",
            default.max_attempts,
        )?,
        retention: or(
            options.duration(RETENTION, (1_000 * MILLISECOND, YEAR), false, None)?,
            default.retention,
        ),
        direct: match options.text(PATH)?.as_deref() {
            None => default.direct,
            Some("reverse") => false,
            Some("direct") => true,
            Some(other) => return Err(options.bad(PATH, other, "it is reverse or direct")),
        },
    })
}

/// A message that may be offered at its deadline or later never would be.
fn in_time(options: Options<'_>, delay: Option<Duration>, ett: Option<Duration>) -> Result<(), Problem> {
    let (Some(delay), Some(ett)) = (delay, ett) else {
        return Ok(());
    };
    if delay < ett {
        return Ok(());
    }
    let [delay, ett] = [delay, ett].map(|time| format_duration(clock::std_duration(time)));
    let why =
        format!("the message's deadline comes {ett} after its acceptance; give it a longer ETT, or none");
    Err(options.bad(NOT_BEFORE, &delay, &why))
}

/// The alternate service of a submit, `SERVICE;after=10s`; whether it may be addressed is the caller's to check.
///
/// # Errors
/// The text is something else, or the time is longer than a year.
pub(super) fn alternate(options: Options<'_>) -> Result<Option<Alternate>, Problem> {
    let form = "it is SERVICE;after=TIME, with a time of at most 365d, like resize-slow;after=10s";
    let Some(text) = options.text(ALTERNATE)? else {
        return Ok(None);
    };
    let bad = || options.bad(ALTERNATE, &text, form);
    let (service, after) = text.split_once(';').ok_or_else(bad)?;
    let (name, after) = after.split_once('=').ok_or_else(bad)?;
    if name.trim() != "after" {
        return Err(bad());
    }
    let after = parse_duration(after.trim()).map_err(|_| bad())?;
    if after > YEAR {
        return Err(bad());
    }
    Ok(Some(Alternate {
        service: service.trim().into(),
        after: core_duration(after),
    }))
}

/// Refuses options that this call doesn't have.
///
/// # Errors
/// Names the first one, and what there is.
pub(super) fn only(headers: &HeaderMap, known: &[&str]) -> Result<(), Problem> {
    Options::Headers(headers).only(known, REFUSED, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Kind;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Terms, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        terms(Options::Headers(&map), &[], false)
    }

    #[test]
    fn durations_read_back() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            let duration = StdDuration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration));
            assert_eq!(format_duration(duration), text);
        }
        assert_eq!(format_duration(StdDuration::ZERO), "0ms");
        assert_eq!(format_duration(StdDuration::from_micros(29_999_999)), "29999ms");
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1S",
            "1m30s",
            "none",
            "99999999999999999999s",
            "9999999999999d",
        ] {
            assert_eq!(parse_duration(bad), Err(BadDuration), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_duration_is_too_strange(text in ".*", number in "[0-9]{1,25}", unit in "(ms|s|m|h|d)", n: u32) {
            let _ = parse_duration(&text);
            if let Ok(duration) = parse_duration(&format!("{number}{unit}")) {
                proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
            let duration = StdDuration::from_millis(n.into());
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_header_is_too_strange(name in "redlink-[a-z-]{1,16}", value in proptest::collection::vec(32u8..=255, 0..40)) {
            let mut headers = HeaderMap::new();
            let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::from_bytes(&value)) else {
                return Ok(());
            };
            for known in TERMS {
                headers.insert(*known, value.clone());
                let options = Options::Headers(&headers);
                let _ = (terms(options, &[], false), alternate(options));
                headers.remove(*known);
            }
            headers.insert(name, value);
            let _ = terms(Options::Headers(&headers), &[], false);
        }
    }

    #[test]
    fn an_alternate_service_has_a_time() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ALTERNATE, value.parse().unwrap());
            alternate(Options::Headers(&headers))
        };
        assert_eq!(alternate(Options::Headers(&HeaderMap::new())).unwrap(), None);
        for text in ["slow;after=10s", "slow ; after = 10s"] {
            let found = read(text).unwrap().unwrap();
            assert_eq!((&*found.service, found.after), ("slow", Duration::from_secs(10)));
        }
        assert_eq!(read("slow;after=0ms").unwrap().unwrap().after, Duration::ZERO);
        for bad in [
            "",
            "slow",
            "slow;10s",
            "slow;after",
            "slow;after=soon",
            "slow;after=366d",
            "slow;before=1s",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(read(&[("content-type", "text/plain")]).unwrap(), Terms::default());
        let said = read(&[
            (PRIORITY, "255"),
            (ETT, "none"),
            (NOT_BEFORE, "365d"),
            (REOFFER, "250ms"),
            (SEND_ONLY, "true"),
            (DELIVERY_MODE, "at-most-once"),
            (MAX_ATTEMPTS, "0"),
            (RETENTION, "1d"),
        ]);
        let expected = Terms {
            direct: false,
            priority: 255,
            ett: None,
            not_before: Duration::from_secs(365 * 86_400),
            reoffer: Duration::from_millis(250),
            send_only: true,
            at_most_once: true,
            max_attempts: 0,
            retention: Duration::from_secs(86_400),
        };
        assert_eq!(said.unwrap(), expected);
    }

    #[test]
    fn every_wrong_header_is_refused_by_name() {
        for (name, value) in [
            (PRIORITY, "256"),
            (PRIORITY, "-1"),
            (PRIORITY, ""),
            (ETT, "0s"),
            (ETT, "366d"),
            (ETT, "5"),
            (ETT, "None"),
            (NOT_BEFORE, "0s"),
            (NOT_BEFORE, "366d"),
            (NOT_BEFORE, "tomorrow"),
            (REOFFER, "none"),
            (REOFFER, "1ms"),
            (SEND_ONLY, "yes"),
            (DELIVERY_MODE, "exactly-once"),
            (MAX_ATTEMPTS, "65536"),
            (RETENTION, "0s"),
            (PATH, "straight"),
            ("redlink-pririty", "1"),
        ] {
            let problem = read(&[(name, value)]).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadHeader);
            let document = String::from_utf8(problem.document()).unwrap();
            assert!(document.contains(name), "{name}: {document}");
        }
        assert!(read(&[(PRIORITY, "1"), (PRIORITY, "2")]).is_err());
    }

    #[test]
    fn a_message_is_offered_before_its_deadline_or_refused() {
        for (delay, ett, taken) in [
            ("299s", None, true),
            ("300s", None, false),
            ("10m", None, false),
            ("10m", Some("11m"), true),
            ("365d", Some("none"), true),
            ("none", Some("1ms"), true),
        ] {
            let said = [Some((NOT_BEFORE, delay)), ett.map(|ett| (ETT, ett))];
            let said: Vec<_> = said.into_iter().flatten().collect();
            match read(&said) {
                Ok(_) => assert!(taken, "{said:?}"),
                Err(problem) => {
                    assert!(!taken, "{said:?}");
                    let document = String::from_utf8(problem.document()).unwrap();
                    assert!(document.contains("comes 5m after its acceptance"), "{document}");
                }
            }
        }
    }

    #[test]
    fn a_time_that_has_no_text_has_none() {
        assert_eq!(
            format_time(SystemTime::UNIX_EPOCH).as_deref(),
            Some("1970-01-01T00:00:00.000Z")
        );
        assert_eq!(format_time(SystemTime::UNIX_EPOCH + 10_000 * YEAR), None);
    }
}
