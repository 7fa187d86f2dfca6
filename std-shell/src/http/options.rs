//! Where the options of a call are said: in `Redlink-` headers, or in the members of an entry of a batch. They have the
//! same names, values and defaults in both, so that what one knows the other does.

use super::headers::{core_duration, format_duration, parse_duration};
use super::problem::{Kind, Problem};
use http::HeaderMap;
use redlink_core::Duration;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration as StdDuration;

/// What the node's own headers begin with.
const PREFIX: &str = "redlink-";

/// The options of a call or of an entry. They are asked for by the names of their headers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Options<'a> {
    /// As headers.
    Headers(&'a HeaderMap),
    /// As members: `Redlink-Max-Attempts` is `max_attempts`. Numbers and truth values may be said as such or as text;
    /// null says nothing.
    Members(&'a Map<String, Value>),
}

/// A header's name as a member's.
pub(super) fn member(header: &str) -> String {
    header.strip_prefix(PREFIX).unwrap_or(header).replace('-', "_")
}

impl<'a> Options<'a> {
    /// An option's text, if it is there. A header that is there twice is a mistake: which one was meant?
    ///
    /// # Errors
    /// It is there twice, or is no text.
    pub(super) fn text(self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        match self {
            Self::Headers(headers) => {
                let mut all = headers.get_all(name).iter();
                let Some(value) = all.next() else { return Ok(None) };
                if all.next().is_some() {
                    return Err(Problem::new(
                        Kind::BadHeader,
                        format!("`{name}` is there more than once; say it once."),
                    ));
                }
                let text = value
                    .to_str()
                    .map_err(|_| self.bad(name, "…", "only visible ASCII characters"))?;
                Ok(Some(text.trim().into()))
            }
            Self::Members(members) => match members.get(&member(name)) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.trim().into())),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => Ok(Some(value.to_string().into())),
                Some(Value::Array(_) | Value::Object(_)) => {
                    Err(self.bad(name, "…", "it is a text, a number, true or false"))
                }
            },
        }
    }

    /// Why a value is not possible.
    pub(super) fn bad(self, name: &str, value: &str, form: &str) -> Problem {
        match self {
            Self::Headers(_) => Problem::new(
                Kind::BadHeader,
                format!("`{name}: {value}` is not possible here: {form}."),
            ),
            Self::Members(_) => Problem::new(
                Kind::BadEntry,
                format!("`{}`: `{value}` is not possible here: {form}.", member(name)),
            ),
        }
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(self, name: &str, form: &str, default: T) -> Result<T, Problem> {
        self.text(name)?.map_or(Ok(default), |text| {
            text.parse().map_err(|_| self.bad(name, &text, form))
        })
    }

    /// A duration in a range, or nothing if `none` is said and allowed.
    pub(super) fn duration(
        self,
        name: &str,
        (least, most): (StdDuration, StdDuration),
        none: bool,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        if none && text == "none" {
            return Ok(None);
        }
        let or_none = if none { ", or none" } else { "" };
        let form = format!(
            "it is from {} to {}{or_none}",
            format_duration(least),
            format_duration(most)
        );
        let given = parse_duration(&text).map_err(|e| self.bad(name, &text, &format!("{e}; {form}")))?;
        if given < least || given > most {
            return Err(self.bad(name, &text, &form));
        }
        Ok(Some(core_duration(given)))
    }

    /// Refuses options that this call doesn't have: ignoring one silently would break what its sender relies on.
    /// `refused` are headers that are options too, though their names don't say so; `also` are members that are none.
    ///
    /// # Errors
    /// Names the first one, and what there is.
    pub(super) fn only(self, known: &[&str], refused: &[&str], also: &[&str]) -> Result<(), Problem> {
        match self {
            Self::Headers(headers) => {
                for name in headers.keys().map(http::HeaderName::as_str) {
                    let option = name.starts_with(PREFIX) || refused.contains(&name);
                    if option && !known.contains(&name) {
                        let there = match known {
                            [] => "this call has no such headers".to_owned(),
                            known => format!("it knows {}", known.join(", ")),
                        };
                        let detail = format!("This node does not know the header `{name}` here; {there}.");
                        return Err(Problem::new(Kind::BadHeader, detail));
                    }
                }
            }
            Self::Members(members) => {
                for name in members.keys() {
                    let is = |known: &&str| member(known) == *name;
                    if !known.iter().any(is) && !also.contains(&name.as_str()) {
                        let there: Vec<_> = also.iter().map(|name| (*name).to_owned()).collect();
                        let there = [there, known.iter().map(|name| member(name)).collect()].concat();
                        let shown: String = name.chars().take(64).collect();
                        let detail = format!(
                            "This node does not know the member `{shown}` here; it knows {}.",
                            there.join(", ")
                        );
                        return Err(Problem::new(Kind::BadEntry, detail));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_members_say_the_same() {
        assert_eq!(member("redlink-max-attempts"), "max_attempts");
        assert_eq!(member("idempotency-key"), "idempotency_key");
        let mut headers = HeaderMap::new();
        headers.insert("redlink-max-attempts", "7".parse().unwrap());
        for members in [r#"{"max_attempts":7}"#, r#"{"max_attempts":" 7 ","x":null}"#] {
            let members = serde_json::from_str(members).unwrap();
            for options in [Options::Headers(&headers), Options::Members(&members)] {
                assert_eq!(options.text("redlink-max-attempts").unwrap().unwrap(), "7");
                assert_eq!(options.number("redlink-max-attempts", "", 0_u16).unwrap(), 7);
                assert_eq!(options.text("redlink-x").unwrap(), None);
            }
        }
        for wrong in [
            r#"{"max_attempts":[7]}"#,
            r#"{"max_attempts":7.5}"#,
            r#"{"max_attempts":true}"#,
        ] {
            let members = serde_json::from_str(wrong).unwrap();
            let problem = Options::Members(&members)
                .number("redlink-max-attempts", "", 0_u16)
                .unwrap_err();
            assert_eq!(problem.kind(), Kind::BadEntry, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let members = serde_json::from_str(r#"{"service":"s","pririty":1}"#).unwrap();
        let options = Options::Members(&members);
        let problem = options
            .only(&["redlink-priority"], &[], &["service"])
            .unwrap_err();
        let document = String::from_utf8(problem.document()).unwrap();
        assert!(
            document.contains("pririty") && document.contains("service, priority"),
            "{document}"
        );
        assert!(options.only(&["redlink-pririty"], &[], &["service"]).is_ok());
    }
}
