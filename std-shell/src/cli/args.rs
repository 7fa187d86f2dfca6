//! Options that several verbs share, and how their texts are read.

use crate::client::{Context, Contexts, Error, Place, SAVED_VARIABLE, Submission};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use redlink_core::{MessageId, Name};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::Failure;

/// Which node a verb talks to.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// Its URL, or the directory in which it was started [env: REDLINK_NODE] [default: the node of this directory, else the
    /// chosen context]
    #[arg(long, value_name = "URL|DIR", global = true, help_heading = "Which node")]
    pub(super) node: Option<Place>,

    /// A saved one, by its name [env: REDLINK_CONTEXT]; see `redlink help context`
    #[arg(
        long,
        value_name = "NAME",
        value_parser = name,
        global = true,
        conflicts_with = "node",
        help_heading = "Which node"
    )]
    pub(super) context: Option<String>,

    /// The mesh's certificates (PEM) [default: ca.pem of the node's directory]
    #[arg(
        long,
        env = "REDLINK_CA",
        value_name = "FILE",
        global = true,
        help_heading = "Which node"
    )]
    pub(super) ca: Option<PathBuf>,

    /// File with the token to show [default: admin-token of the node's directory; REDLINK_TOKEN holds a token itself]
    #[arg(
        long,
        env = "REDLINK_TOKEN_FILE",
        value_name = "FILE",
        global = true,
        help_heading = "Which node"
    )]
    pub(super) token_file: Option<PathBuf>,
}

/// How a node was found.
#[derive(Debug)]
pub(super) struct Found {
    /// As the user named it, if it was so.
    pub(super) place: Option<Place>,
    /// By what.
    pub(super) by: String,
}

impl Target {
    /// Finds the node.
    pub(super) fn context(&self) -> Result<Context, Failure> {
        Ok(self.find()?.0)
    }

    /// As [`Target::context`], with no node at all being an answer.
    pub(super) fn context_if_any(&self) -> Result<Option<Context>, Failure> {
        match self.look()? {
            Ok((context, _)) => Ok(Some(context)),
            Err(Error::NoNode { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// As [`Target::context`], and what it was found by.
    pub(super) fn find(&self) -> Result<(Context, Found), Failure> {
        Ok(self.look()??)
    }

    /// A flag counts more than the environment, that more than the directory, and that more than a choice of some day.
    fn look(&self) -> Result<Result<(Context, Found), Error>, Failure> {
        let current = std::env::current_dir()
            .map_err(|e| Failure::usage(format!("can't tell the current directory: {e}")))?;
        let token = self.token()?;
        let (ca, token) = (self.ca.as_deref(), token.as_deref());
        let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
        let of_place = |place: Place, by: &str| {
            let found = Context::find(Some(&place), ca, token, &current);
            found.map(|context| {
                let by = by.to_owned();
                let place = Some(place);
                (context, Found { place, by })
            })
        };
        let saved = |text: &str, by: &str| -> Result<_, Failure> {
            let called = Name::new(text).map_err(|e| Failure::usage(format!("{by}: `{text}`: {e}")))?;
            let Some(contexts) = Contexts::of_user() else {
                return Err(Failure::usage("there is no place for saved contexts")
                    .hint("set HOME, or REDLINK_CONFIG_HOME to a directory of yours"));
            };
            let found = contexts.context(&called, ca, token);
            Ok(found.map(|context| {
                let by = format!("context {called}, {by}");
                (context, Found { place: None, by })
            }))
        };
        if let Some(place) = &self.node {
            return Ok(of_place(place.clone(), "--node"));
        }
        if let Some(called) = &self.context {
            return saved(called, "--context");
        }
        if let Some(text) = variable("REDLINK_NODE") {
            let place = text
                .parse()
                .map_err(|e| Failure::usage(format!("REDLINK_NODE: {e}")))?;
            return Ok(of_place(place, "REDLINK_NODE"));
        }
        if let Some(called) = variable(SAVED_VARIABLE) {
            return saved(&called, SAVED_VARIABLE);
        }
        let here = Context::find(None, ca, token, &current).map(|context| {
            let by = "./.redlink".to_owned();
            (context, Found { place: None, by })
        });
        match (here, Contexts::of_user()) {
            (Err(Error::NoNode { .. }), Some(contexts)) if contexts.current()?.is_some() => {
                let called = contexts
                    .current()?
                    .map(|name| name.to_string())
                    .unwrap_or_default();
                saved(&called, "`redlink context use`")
            }
            (here, _) => Ok(here),
        }
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::usage(format!("can't read the token file {}: {e}", path.display())))?;
            return Ok(Some(text.trim().to_owned()));
        }
        // Not a flag: the arguments of a process are everybody's to see.
        Ok(std::env::var("REDLINK_TOKEN")
            .ok()
            .filter(|token| !token.is_empty()))
    }
}

/// How a message is to be treated.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Terms {
    /// 0 to 255, higher first [default: 0]
    #[arg(long, value_name = "N", help_heading = "The message")]
    pub(super) priority: Option<u8>,

    /// How long its outcome is waited for end to end, e.g. 250ms, 30s, 5m; `none` for no end [default: 300s]
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "The message")]
    pub(super) ett: Option<Limit>,

    /// Offer it to nobody before this time has passed, e.g. 10m; with a longer --ett if it is not shorter than that
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "The message")]
    pub(super) not_before: Option<Limit>,

    /// How long it waits unclaimed before it is offered again [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "The message")]
    pub(super) reoffer: Option<Duration>,

    /// Offer it under this service too if nobody has claimed it after this time, e.g. resize-slow=10s
    #[arg(long, value_name = "SERVICE=TIME", value_parser = alternate, help_heading = "The message")]
    pub(super) alternate: Option<Alternate>,

    /// How large payloads go: reverse, along the way of the offer, or direct [default: the node's]
    #[arg(long, value_name = "PATH", value_parser = ["reverse", "direct"], help_heading = "The message")]
    pub(super) path: Option<String>,

    /// at-most-once: an attempt that ends without an answer is the only one, and then it has failed
    #[arg(long, value_name = "MODE", value_parser = ["at-least-once", "at-most-once"], help_heading = "The message")]
    pub(super) delivery_mode: Option<String>,

    /// Attempts whose lease may run out before it is dead; 0 for no limit [default: 5]
    #[arg(long, value_name = "N", help_heading = "The message")]
    pub(super) max_attempts: Option<u16>,

    /// The name that its outcome is collected under [default: the program's own]
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "The message")]
    pub(super) producer: Option<String>,
    /// Makes the same command with the same payload, within 24 hours, the same message: 1 to 255 visible characters
    #[arg(long, value_name = "KEY", value_parser = idempotency_key, help_heading = "The message")]
    pub(super) idempotency_key: Option<String>,

    /// Where its node keeps it: disk, or memory: gone when that stops, but never written [default: disk]
    #[arg(long, value_name = "WHERE", value_parser = ["disk", "memory"], help_heading = "The message")]
    pub(super) durability: Option<String>,

    /// Given back with the outcome, never sent to the worker; `@FILE` takes it from a file, up to 4 KiB
    #[arg(long, value_name = "TEXT|@FILE", value_parser = preserved, help_heading = "The message")]
    pub(super) preserved: Option<Bytes>,

    /// What the payload is, e.g. application/json [default: not said]
    #[arg(long, value_name = "TYPE", value_parser = content_type, help_heading = "The message")]
    pub(super) content_type: Option<String>,
}

impl Terms {
    /// What is submitted.
    pub(super) fn submission(&self, service: &str, send_only: bool, payload: Bytes) -> Submission {
        let mut headers = Vec::new();
        let mut set = |name, value: Option<String>| headers.extend(value.map(|value| (name, value)));
        set("redlink-priority", self.priority.map(|n| n.to_string()));
        set(
            "redlink-ett",
            self.ett.map(|Limit(time)| time.map_or("none".into(), api_time)),
        );
        set(
            "redlink-not-before",
            self.not_before
                .map(|Limit(time)| time.map_or("none".into(), api_time)),
        );
        set("redlink-reoffer", self.reoffer.map(api_time));
        set(
            "redlink-alternate",
            self.alternate
                .as_ref()
                .map(|Alternate { service, after }| format!("{service};after={}", api_time(*after))),
        );
        set("redlink-path", self.path.clone());
        set("redlink-delivery-mode", self.delivery_mode.clone());
        set("redlink-max-attempts", self.max_attempts.map(|n| n.to_string()));
        set("redlink-producer", self.producer.clone());
        set("redlink-durability", self.durability.clone());
        set("idempotency-key", self.idempotency_key.as_deref().map(quoted));
        set(
            "redlink-preserved",
            self.preserved.as_ref().map(|data| STANDARD.encode(data)),
        );
        set("redlink-send-only", send_only.then(|| "true".into()));
        set("content-type", self.content_type.clone());
        Submission {
            service: service.to_owned(),
            headers,
            payload,
        }
    }
}

/// Where else a message is offered, and after what time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alternate {
    service: String,
    after: Duration,
}

/// Reads `SERVICE=TIME`.
fn alternate(text: &str) -> Result<Alternate, String> {
    let form = || "it is SERVICE=TIME, like resize-slow=10s".to_owned();
    let (service, after) = text.split_once('=').ok_or_else(form)?;
    Ok(Alternate {
        service: name(service)?,
        after: duration(after)?,
    })
}

/// Reads an idempotency key.
fn idempotency_key(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    match visible && (1..=255).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("a key is 1 to 255 visible ASCII characters".into()),
    }
}

/// As structured headers have a string.
fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Most bytes that are preserved.
const PRESERVED_MAX: usize = 4 << 10;

/// Reads what is to be given back: a text, or `@` and the name of a file.
fn preserved(text: &str) -> Result<Bytes, String> {
    let data = match text.strip_prefix('@') {
        None => text.as_bytes().to_vec(),
        Some(file) => std::fs::read(file).map_err(|e| format!("can't read {file}: {e}"))?,
    };
    match data.len() <= PRESERVED_MAX {
        true => Ok(data.into()),
        false => Err(format!(
            "it has {} bytes, and at most {PRESERVED_MAX} are kept",
            data.len()
        )),
    }
}

/// A time, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<Duration>);

/// Reads a time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        let unit = text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
        let hint = if unit {
            format!(" (did you mean {text}s?)")
        } else {
            String::new()
        };
        format!("a time is a number with its unit, such as 250ms, 30s, 5m, 2h{hint}")
    })
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        time => duration(time).map(|time| Limit(Some(time))),
    }
}

/// A time as the API reads it: a whole number and one unit.
pub(super) fn api_time(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis().max(1)),
    }
}

/// Reads a number of bytes: `1024`, `64K`, `10KiB`, `1MiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "a size is a number of bytes, or one with a unit: 1024, 64KiB, 1MiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Reads the name of a service, consumer, node or mesh.
pub(super) fn name(text: &str) -> Result<String, String> {
    Name::new(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|e| e.to_string())
}

/// Reads a message id.
pub(super) fn message_id(text: &str) -> Result<MessageId, String> {
    text.parse()
        .map_err(|e: redlink_core::BadId| format!("{e}; `redlink message list` shows them"))
}

/// Reads a content type.
pub(super) fn content_type(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    match plain && text.contains('/') {
        true => Ok(text.to_owned()),
        false => Err("a content type looks like text/plain or application/json".into()),
    }
}

/// Reads the payload completely: a file, or standard input for `-` and when nothing is named.
pub(super) fn payload(file: Option<&Path>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    match file {
        Some(path) if path != Path::new("-") => {
            bytes = std::fs::read(path)
                .map_err(|e| Failure::usage(format!("can't read {}: {e}", path.display())))?;
        }
        _ => {
            use std::io::IsTerminal;
            if std::io::stdin().is_terminal() {
                super::output::note("reading the payload from the terminal; end it with Ctrl-D");
            }
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|e| Failure::usage(format!("can't read standard input: {e}")))?;
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit_and_the_error_offers_one() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("30").unwrap_err().contains("30s"));
        for bad in ["", "s", "-1s", "ten", "none", "1e9s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(limit("none"), Ok(Limit(None)));
    }

    #[test]
    fn times_go_to_the_api_with_one_unit() {
        assert_eq!(api_time(Duration::from_secs(90)), "90s");
        assert_eq!(api_time(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(api_time(Duration::from_micros(10)), "1ms");
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("64K"), Ok(65_536));
        assert_eq!(bytes("1MiB"), Ok(1_048_576));
        for bad in ["", "K", "1.5K", "-1", "99999999999999999999", "1GB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_was_said_is_sent() {
        assert!(
            Terms::default()
                .submission("wc", false, Bytes::new())
                .headers
                .is_empty()
        );
        let said = Terms {
            priority: Some(5),
            ett: Some(Limit(None)),
            not_before: Some(Limit(Some(Duration::from_secs(600)))),
            reoffer: Some(Duration::from_millis(500)),
            alternate: Some(alternate("wc-slow=10s").unwrap()),
            path: Some("direct".into()),
            delivery_mode: Some("at-most-once".into()),
            max_attempts: Some(0),
            producer: Some("shop".into()),
            durability: Some("memory".into()),
            idempotency_key: Some("a\"b".into()),
            preserved: Some("order 17".into()),
            content_type: Some("text/plain".into()),
        };
        let headers = said.submission("wc", true, Bytes::new()).headers;
        let expected = [
            ("redlink-priority", "5"),
            ("redlink-ett", "none"),
            ("redlink-not-before", "600s"),
            ("redlink-reoffer", "500ms"),
            ("redlink-alternate", "wc-slow;after=10s"),
            ("redlink-path", "direct"),
            ("redlink-delivery-mode", "at-most-once"),
            ("redlink-max-attempts", "0"),
            ("redlink-producer", "shop"),
            ("redlink-durability", "memory"),
            ("idempotency-key", r#""a\"b""#),
            ("redlink-preserved", "b3JkZXIgMTc="),
            ("redlink-send-only", "true"),
            ("content-type", "text/plain"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_header_can_not_be_smuggled_in() {
        assert!(content_type("text/plain; charset=utf-8").is_ok());
        for bad in ["", "text", "a/b\r\nx: y", "t\u{e4}xt/plain"] {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
        assert!(name("a/b").is_err());
        for bad in ["", "a b", "a\n", "\u{e4}", &"x".repeat(256)] {
            assert!(idempotency_key(bad).is_err(), "{bad:?}");
        }
        assert!(preserved("@/nowhere/at/all").is_err());
        assert!(preserved(&"x".repeat(PRESERVED_MAX)).is_ok());
        assert!(preserved(&"x".repeat(PRESERVED_MAX + 1)).is_err());
        for bad in ["", "a", "a/b=1s", "a=", "a=soon", "a\r\nb=1s"] {
            assert!(alternate(bad).is_err(), "{bad:?}");
        }
        assert!(message_id("../../etc").unwrap_err().contains("message list"));
    }
}
