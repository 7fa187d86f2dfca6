//! How norths are reached: through which proxy, and how their links travel.
//!
//! A flag or the environment counts for all norths. In the settings file a north's own entry counts more than what is said
//! there for all others.

use super::{ConfigError, Key, NorthUrl, Partial, Wrong, wrong};
use crate::link::Wish;
use crate::proxy::{Environment, Proxy, Rule};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a setting says of a proxy; its URL may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyText(String);

impl From<String> for ProxyText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl ProxyText {
    /// With user and password.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyText")
    }
}

/// What is said of the way to one north, and of no other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnWay {
    /// Its proxy, or `none`.
    pub proxy: Option<ProxyText>,
    /// How its link travels.
    pub link: Option<String>,
}

/// The way to one north.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// The proxy on it; none: straight.
    pub proxy: Option<Proxy>,
    /// How the link travels.
    pub link: Wish,
}

/// The ways to norths, as far as their own entries do not say them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    proxy: Told<Rule>,
    link: Told<Wish>,
    environment: Environment,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told<T> {
    /// By a flag or the environment: for all.
    all: Option<T>,
    /// By the file: for those that do not say it.
    others: Option<T>,
}

impl<T: Clone + Default> Told<T> {
    fn of(&self, own: Option<T>) -> T {
        let told = self.all.clone().or(own).or_else(|| self.others.clone());
        told.unwrap_or_default()
    }
}

/// The text itself is not repeated in the error.
fn parse<T>(key: impl Into<Key>, text: Option<&str>) -> Result<Option<T>, Wrong>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let parsed = text.map(|text| text.parse().map_err(|e: T::Err| Wrong::new(key, e.to_string())));
    parsed.transpose()
}

/// The file says it, whoever else says something of this too.
fn in_file(wrong: Wrong) -> Wrong {
    Wrong {
        in_file: true,
        ..wrong
    }
}

impl Ways {
    /// `above` is what flags and environment say.
    pub(super) fn new(
        above: &Partial,
        file: &Partial,
        environment: Environment,
    ) -> Result<Self, ConfigError> {
        let proxy = |told: &Partial| parse("proxy", told.proxy.as_ref().map(ProxyText::as_str));
        let link = |told: &Partial| parse("link", told.link.as_deref());
        Ok(Self {
            proxy: Told {
                all: proxy(above)?,
                others: proxy(file).map_err(in_file)?,
            },
            link: Told {
                all: link(above)?,
                others: link(file).map_err(in_file)?,
            },
            environment,
        })
    }

    /// The way to a north of which this is said.
    ///
    /// # Errors
    /// It is no proxy or no way; or the environment names a proxy that can't be used, and it would be needed.
    pub fn to(&self, url: &NorthUrl, own: &OwnWay) -> Result<Way, ConfigError> {
        self.to_entry(&Key::from("north"), url, own)
    }

    /// As [`Ways::to`], of the entry at `key`.
    pub(super) fn to_entry(&self, key: &Key, url: &NorthUrl, own: &OwnWay) -> Result<Way, ConfigError> {
        let proxy = own.proxy.as_ref().map(ProxyText::as_str);
        let rule = self.proxy.of(parse(key.clone().member("proxy"), proxy)?);
        let proxy = rule
            .proxy(&self.environment, &url.host, url.port)
            .map_err(|e| wrong("proxy", e.to_string()))?;
        let link = self
            .link
            .of(parse(key.clone().member("link"), own.link.as_deref())?);
        Ok(Way { proxy, link })
    }
}
