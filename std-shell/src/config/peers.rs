//! Peers in the settings: the nodes to dial, and what may pass over links.

use super::values::NorthUrl;
use super::{ConfigError, Key, OwnWay, ProxyText, Way, Ways, name_of, value, wrong};
use redlink_core::{Name, Pattern, Policy};
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A node to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct North {
    /// Where it listens.
    pub url: NorthUrl,
    /// The name that its certificate must prove; none takes any node of the mesh.
    pub name: Option<Name>,
    /// What may pass over its link.
    pub policy: PeerPolicy,
    /// What is said of the way to it alone.
    pub own: OwnWay,
    /// How it is reached, by that and by what is said of all.
    pub way: Way,
}

impl fmt::Display for North {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// What may pass over the links with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeerPolicy {
    /// Of a north peer: what it announces may be told to this node's south peers.
    pub redistribute: bool,
    /// Of a south peer: what it announces is taken.
    pub accept_from_south: bool,
    /// What the peer may announce to this node.
    #[schema(value_type = Vec<String>)]
    pub import: Rules,
    /// What this node announces to the peer.
    #[schema(value_type = Vec<String>)]
    pub export: Rules,
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self {
            redistribute: true,
            accept_from_south: true,
            import: Rules::default(),
            export: Rules::default(),
        }
    }
}

impl PeerPolicy {
    /// As the core wants it.
    pub fn core(&self) -> Policy<'_> {
        Policy {
            redistribute: self.redistribute,
            accept_from_south: self.accept_from_south,
            import: self.import.as_str(),
            export: self.export.as_str(),
        }
    }
}

/// Rules for services: patterns, each allowed, or denied with a `!` before it; the first that matches counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(String);

impl Rules {
    /// Checks them.
    ///
    /// # Errors
    /// Which of them is no rule, and why.
    pub fn new<S: AsRef<str>>(rules: &[S]) -> Result<Self, String> {
        let mut text = String::new();
        for rule in rules {
            let rule = rule.as_ref();
            let pattern = rule.strip_prefix('!').unwrap_or(rule);
            Pattern::new(pattern).map_err(|e| {
                format!("`{rule}` is no rule ({e}); rules are such as \"jobs.*\", or \"!secret.*\" to deny")
            })?;
            if !text.is_empty() {
                text.push(' ');
            }
            text += rule;
        }
        Ok(Self(text))
    }

    /// With blanks between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let rules = Vec::<String>::deserialize(from)?;
        Self::new(&rules).map_err(serde::de::Error::custom)
    }
}

/// What may pass over the links of the peers that dial this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Souths {
    /// Of those that have settings of their own.
    pub named: BTreeMap<Name, PeerPolicy>,
    /// Of all others.
    pub others: PeerPolicy,
}

impl Souths {
    /// What counts for a peer.
    pub fn policy(&self, peer: &Name) -> &PeerPolicy {
        self.named.get(peer).unwrap_or(&self.others)
    }
}

/// One entry of `north`: a URL, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NorthEntry {
    url: String,
    name: Option<String>,
    policy: SouthEntry,
    redistribute: Option<bool>,
    way: OwnWay,
}

/// `[south.NAME]` and `[south_default]`; a north has the lists too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SouthEntry {
    /// Whether what it announces is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_from_south: Option<bool>,
    /// Rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Vec<String>>,
    /// Rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Vec<String>>,
}

/// As a file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NorthTable {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redistribute: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    import: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl<S: Into<String>> From<S> for NorthEntry {
    fn from(url: S) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }
}

impl Serialize for NorthEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if *self == Self::from(self.url.as_str()) {
            return to.serialize_str(&self.url);
        }
        let Self {
            url,
            name,
            policy,
            redistribute,
            way,
        } = self.clone();
        let SouthEntry { import, export, .. } = policy;
        let table = NorthTable {
            url,
            name,
            redistribute,
            import,
            export,
            proxy: way.proxy,
            link: way.link,
        };
        table.serialize(to)
    }
}

impl<'de> Deserialize<'de> for NorthEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = NorthEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with a `url`")
            }
            fn visit_str<E>(self, url: &str) -> Result<NorthEntry, E> {
                Ok(url.into())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<NorthEntry, A::Error> {
                let table = NorthTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(NorthEntry {
                    url: table.url,
                    name: table.name,
                    policy: SouthEntry {
                        accept_from_south: None,
                        import: table.import,
                        export: table.export,
                    },
                    redistribute: table.redistribute,
                    way: OwnWay {
                        proxy: table.proxy,
                        link: table.link,
                    },
                })
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// The norths that the settings name.
pub(super) fn norths(entries: &[NorthEntry], ways: &Ways) -> Result<Vec<North>, ConfigError> {
    let mut norths: Vec<North> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let key = Key::from("north").entry(at);
        let of_url = key.clone().member("url");
        let of_name = key.clone().member("name");
        let url: NorthUrl = value(of_url.clone(), &entry.url)?;
        let name = entry.name.as_deref().map(|name| value(of_name.clone(), name));
        let name: Option<Name> = name.transpose()?;
        if norths.iter().any(|north| north.url == url) {
            return Err(wrong(
                of_url,
                format!("`{url}` is there twice; leave one of them"),
            ));
        }
        if let Some(name) = &name
            && norths.iter().any(|north| north.name.as_ref() == Some(name))
        {
            return Err(wrong(
                of_name,
                format!("`{name}` is there twice, and one link with a node is all that there can be"),
            ));
        }
        let rules = |of: &str, list: &Option<Vec<String>>| {
            let list = list.as_deref().unwrap_or_default();
            rules_at(key.clone().member(of), list)
        };
        let policy = PeerPolicy {
            redistribute: entry.redistribute.unwrap_or(true),
            import: rules("import", &entry.policy.import)?,
            export: rules("export", &entry.policy.export)?,
            ..PeerPolicy::default()
        };
        let way = ways.to_entry(&key, &url, &entry.way)?;
        norths.push(North {
            url,
            name,
            policy,
            own: entry.way.clone(),
            way,
        });
    }
    Ok(norths)
}

/// What the settings say of souths. What one with a table of its own does not say there is as for all others.
pub(super) fn souths(
    named: &BTreeMap<String, SouthEntry>,
    others: Option<&SouthEntry>,
) -> Result<Souths, ConfigError> {
    let base = PeerPolicy::default();
    let others = match others {
        Some(entry) => south(Key::from("south_default"), entry, &base)?,
        None => base,
    };
    let named = named.iter().map(|(name, entry)| {
        let policy = south(Key::from("south").member(name), entry, &others)?;
        Ok((name_of("south", name)?, policy))
    });
    let named = named.collect::<Result<_, ConfigError>>()?;
    Ok(Souths { named, others })
}

fn south(key: Key, entry: &SouthEntry, base: &PeerPolicy) -> Result<PeerPolicy, ConfigError> {
    let rules = |what: &str, list: &Option<Vec<String>>, base: &Rules| match list {
        None => Ok(base.clone()),
        Some(list) => rules_at(key.clone().member(what), list),
    };
    Ok(PeerPolicy {
        redistribute: true,
        accept_from_south: entry.accept_from_south.unwrap_or(base.accept_from_south),
        import: rules("import", &entry.import, &base.import)?,
        export: rules("export", &entry.export, &base.export)?,
    })
}

/// The rules at a place in the settings.
fn rules_at(key: Key, list: &[String]) -> Result<Rules, ConfigError> {
    // The first that is wrong, with its place.
    for (at, rule) in list.iter().enumerate() {
        Rules::new(std::slice::from_ref(rule)).map_err(|what| wrong(key.clone().entry(at), what))?;
    }
    Rules::new(list).map_err(|what| wrong(key, what))
}
