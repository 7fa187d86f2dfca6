//! The nodes that a node dials, and what is between.

use super::values::NorthUrl;
use super::{ConfigError, value, wrong};
use crate::link::Wish;
use crate::proxy::{Environment, Proxy, Rule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A node to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct North {
    /// Where it listens.
    pub url: NorthUrl,
    /// The proxy on the way; none: straight.
    pub proxy: Option<Proxy>,
    /// How the link travels.
    pub link: Wish,
}

impl fmt::Display for North {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// One value for all norths, or one for each, by its URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, or a table of texts by the URLs of norths")]
pub enum PerNorth {
    /// For all.
    All(String),
    /// By URL.
    Each(BTreeMap<String, String>),
}

impl fmt::Debug for PerNorth {
    /// Without the values: a proxy's URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) => f.write_str("All"),
            Self::Each(each) => f.debug_set().entries(each.keys()).finish(),
        }
    }
}

impl PerNorth {
    /// The values for these norths, in their order; the default for one that has none.
    fn values<T>(
        told: Option<Self>,
        setting: &'static str,
        norths: &[NorthUrl],
    ) -> Result<Vec<T>, ConfigError>
    where
        T: FromStr + Clone + Default,
        T::Err: fmt::Display,
    {
        // The values themselves are not repeated in errors.
        let parse = |text: &str| text.parse::<T>().map_err(|e| wrong(setting, &e.to_string()));
        match told {
            None => Ok(vec![T::default(); norths.len()]),
            Some(Self::All(text)) => Ok(vec![parse(&text)?; norths.len()]),
            Some(Self::Each(each)) => {
                let mut values = vec![T::default(); norths.len()];
                for (url, text) in each {
                    let of: NorthUrl = value(setting, &url)?;
                    let at = norths.iter().position(|north| *north == of);
                    let at = at.ok_or_else(|| {
                        wrong(setting, &format!("`{of}` is none of the norths; see `north`"))
                    })?;
                    values[at] = parse(&text)?;
                }
                Ok(values)
            }
        }
    }
}

/// Puts together what the settings and the environment say of norths.
pub(super) fn norths(
    urls: Option<Vec<String>>,
    proxy: Option<PerNorth>,
    link: Option<PerNorth>,
    environment: &Environment,
) -> Result<Vec<North>, ConfigError> {
    let urls = urls.unwrap_or_default();
    let urls = urls
        .iter()
        .map(|n| value("north", n))
        .collect::<Result<Vec<NorthUrl>, _>>()?;
    let rules: Vec<Rule> = PerNorth::values(proxy, "proxy", &urls)?;
    let wishes: Vec<Wish> = PerNorth::values(link, "link", &urls)?;
    let norths = urls
        .into_iter()
        .zip(rules)
        .zip(wishes)
        .map(|((url, rule), link)| {
            let proxy = rule
                .proxy(environment, &url.host, url.port)
                .map_err(|e| wrong("proxy", &e.to_string()))?;
            Ok(North { url, proxy, link })
        });
    norths.collect()
}
