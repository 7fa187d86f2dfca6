//! A node's settings: a flag counts more than the environment, that more than the file, that more than the default.

mod edit;
mod peers;
mod running;
mod values;
mod ways;

#[cfg(test)]
mod tests;

pub use edit::Change;
pub use peers::{North, NorthEntry, PeerPolicy, Rules, SouthEntry, Souths};
pub use running::{DRAIN_DEFAULT, LogFormat, Logging};
pub use values::{NorthUrl, Size};
pub use ways::{OwnWay, ProxyText, Way, Ways};

use crate::content::PAYLOAD_MAX;
use crate::link::frame::ORIGIN_MAX;
use crate::proxy::Environment;
use crate::trust::programs::Permissions;
use crate::trust::{self, LIFE_DEFAULT, LIFE_MAX, LIFE_MIN, OwnFiles, Wishes};
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Directory of a node, in the directory that it is started in.
pub const DIRECTORY: &str = ".redlink";
/// The settings file in it.
pub const FILE: &str = "redlink.toml";
/// Port of the listener.
pub const PORT: u16 = 7411;
/// Memory for steps of messages unless said otherwise.
const TRACE_MEMORY: u64 = 8 << 20;
/// More would be scanned too long by who asks.
const TRACE_MEMORY_LIMIT: u64 = 1 << 30;
/// Most pairs of a service and a peer that a core has a place for.
const PAIRS_MAX: u64 = 1 << 30;
/// The environment's word on norths.
const NORTH_VARIABLE: &str = "REDLINK_NORTH";
/// Longest payload unless said otherwise.
const MAX_PAYLOAD: u64 = 64 << 20;
/// Connections unless said otherwise.
const MAX_CONNECTIONS: u32 = 4_096;

/// Everything that a node is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The directory with everything that it keeps.
    pub dir: PathBuf,
    /// Its name.
    pub name: Name,
    /// Its mesh.
    pub mesh: Name,
    /// Where it listens; port 0 means any that is free.
    pub listen: Vec<SocketAddr>,
    /// Host names and addresses for its certificate, besides those of every node.
    pub hosts: Vec<String>,
    /// The nodes that it dials.
    pub north: Vec<North>,
    /// What may pass over the links of those that dial it.
    pub south: Souths,
    /// Memory for the latest steps of messages, in bytes; 0 keeps none.
    pub trace_memory: u64,
    /// How norths are reached, unless their own entries say it.
    pub ways: Ways,
    /// Longest payload, in bytes.
    pub max_payload: u64,
    /// Where other nodes reach this one, for payloads that go straight.
    pub advertise: Option<NorthUrl>,
    /// Whether this node's large payloads go straight, unless a message says it.
    pub direct: bool,
    /// Most connections at once.
    pub max_connections: u32,
    /// Sizes of the core's tables, where they are not the defaults.
    pub capacity: Capacity,
    /// How long the certificates live that it signs, if it holds the authority.
    pub certificate_life: Duration,
    /// Certificates of another authority than the mesh's own.
    pub tls: Option<OwnFiles>,
    /// What programs that prove their names by certificate may do.
    pub programs: BTreeMap<Name, Permissions>,
    /// How long work that is under way may go on after SIGTERM.
    pub drain: Duration,
    /// What is logged, and how.
    pub logging: Logging,
}

/// Certificates of another authority than the mesh's own; paths are taken from the node's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates of the authorities that may sign for nodes of the mesh.
    pub ca: PathBuf,
    /// The node's certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Sizes of the core's tables; none means the core's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Messages of this node, up to the collection of their outcomes.
    pub messages: Option<u32>,
    /// Peers' offers that wait here.
    pub reservations: Option<u32>,
    /// Messages that consumers of this node hold, and their answers until the origin has them.
    pub deliveries: Option<u32>,
    /// Services that are offered, addressed or heard of here.
    pub services: Option<u32>,
    /// Consumers of this node.
    pub consumers: Option<u32>,
    /// Takes that wait.
    pub takes: Option<u32>,
    /// Peers.
    pub peers: Option<u32>,
    /// Pairs of a service and a peer that has announced it.
    pub routes: Option<u32>,
    /// Messages that pass between a peer and another.
    pub relays: Option<u32>,
    /// Rules of all links together for what may pass over them.
    pub rules: Option<u32>,
}

/// Some of the settings, as one place says them: the file's members, the flags of `redlink node`, or the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// The node's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// `ADDRESS:PORT` or `localhost:PORT`, which is both loopback addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<String>>,
    /// Host names and addresses under which other machines dial this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// The nodes to dial: URLs, or tables that say more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub north: Option<Vec<NorthEntry>>,
    /// The HTTP proxy to those that do not say it themselves, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyText>,
    /// How links to them travel: `auto`, `stream` or `poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What may pass over the links of those that dial this node, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub south: Option<BTreeMap<String, SouthEntry>>,
    /// The same for all others of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub south_default: Option<SouthEntry>,
    /// Memory for what `redlink message trace` shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_memory: Option<Size>,
    /// Longest payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload: Option<Size>,
    /// Most connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// URL at which nodes elsewhere reach this one, for payloads that go straight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// How large payloads go: `reverse`, along the way of their offers, or `direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long the certificates live that this node signs, if it holds the mesh's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_life: Option<String>,
    /// Sizes of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Certificates of another authority than the mesh's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How long work that is under way may go on after SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// What is logged: a level, or a list of `TARGET=LEVEL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How the log's lines look: `auto`, `text` or `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// What programs that prove their names by certificate may do, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<BTreeMap<String, Permissions>>,
}

/// The settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}: {cause}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file can't be written.
    #[error("can't write {}: {what}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The file says something that there is not; names line and column.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What, and where in it.
        cause: Box<toml::de::Error>,
    },
    /// A value is out of range or of the wrong form.
    #[error("the setting `{setting}`: {what}")]
    Value {
        /// Which setting.
        setting: &'static str,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The name of the node that lives in the directory can't be read.
    #[error(transparent)]
    Identity(#[from] trust::IdentityError),
}

impl NodeConfig {
    /// The settings of the node in `dir`: `flags`, then the environment, then the directory's file, then the defaults.
    ///
    /// A node keeps the name and the mesh that its certificate bears. A new one is called as its machine, with a random
    /// ending if it joins a mesh, where that name may be taken.
    ///
    /// # Errors
    /// The file can't be read or has an error, or a value is not possible; the error names it.
    pub fn load(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        Self::load_with(dir, flags, |name| {
            std::env::var(name).ok().filter(|v| !v.is_empty())
        })
    }

    /// As [`NodeConfig::load`], with the norths from the directory's file, whatever flags and environment say of them:
    /// for a node whose norths were changed in that file while it ran.
    ///
    /// # Errors
    /// As [`NodeConfig::load`].
    pub fn load_norths_of_file(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        let flags = Partial {
            north: None,
            ..flags.clone()
        };
        Self::load_with(dir, &flags, |name| match name {
            NORTH_VARIABLE => None,
            _ => std::env::var(name).ok().filter(|v| !v.is_empty()),
        })
    }

    /// Whether norths are told by flags or environment, which count more than the file.
    pub fn norths_are_told_elsewhere(flags: &Partial) -> bool {
        flags.north.is_some() || std::env::var(NORTH_VARIABLE).is_ok_and(|v| !v.is_empty())
    }

    fn load_with(
        dir: &Path,
        flags: &Partial,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let (above, file) = (flags.clone().or(from_environment(&env)?), read_file(dir)?);
        let ways = Ways::new(&above, &file, Environment::read(&env))?;
        let told = above.or(file);
        let logging = Logging::read(&told)?;
        let drain = running::drain(told.drain.as_deref())?;
        let tls = told.tls.map(|tls| OwnFiles {
            ca: dir.join(tls.ca),
            certificate: dir.join(tls.certificate),
            key: dir.join(tls.key),
        });
        let stored = match &tls {
            Some(own) => own.name(),
            None => trust::stored_name(dir)?,
        };
        let (stored_name, stored_mesh) = stored.unzip();
        let north = peers::norths(&told.north.unwrap_or_default(), &ways)?;
        let south = peers::souths(&told.south.unwrap_or_default(), told.south_default.as_ref())?;
        let name = match (told.name, stored_name) {
            (Some(name), _) => value("name", &name)?,
            (None, Some(name)) => name,
            (None, None) => default_name(!north.is_empty())?,
        };
        let mesh = match (told.mesh, stored_mesh) {
            (Some(mesh), _) => value("mesh", &mesh)?,
            (None, Some(mesh)) => mesh,
            (None, None) => value("mesh", "mesh")?,
        };
        let listen = told.listen.unwrap_or_else(|| vec![format!("localhost:{PORT}")]);
        let listen = listen
            .iter()
            .map(|l| parse_listen(l))
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        if listen.is_empty() {
            return Err(wrong(
                "listen",
                "name at least one address, such as localhost:7411",
            ));
        }
        let max_payload = told.max_payload.map_or(MAX_PAYLOAD, |size| size.0);
        if !(1..=PAYLOAD_MAX).contains(&max_payload) {
            return Err(wrong("max_payload", "it is from 1 to 1GiB"));
        }
        let trace_memory = told.trace_memory.map_or(TRACE_MEMORY, |size| size.0);
        if trace_memory > TRACE_MEMORY_LIMIT {
            return Err(wrong(
                "trace_memory",
                "it is from 0, which keeps nothing, to 1GiB",
            ));
        }
        let max_connections = told.max_connections.unwrap_or(MAX_CONNECTIONS);
        if !(1..=1 << 20).contains(&max_connections) {
            return Err(wrong("max_connections", "it is from 1 to 1048576"));
        }
        let advertise = told.advertise.map(|url| value("advertise", &url)).transpose()?;
        if advertise
            .as_ref()
            .is_some_and(|url: &NorthUrl| url.to_string().len() > ORIGIN_MAX)
        {
            return Err(wrong("advertise", "it is longer than 255 characters"));
        }
        let direct = match told.path.as_deref() {
            None | Some("reverse") => false,
            Some("direct") if advertise.is_some() => true,
            Some("direct") => {
                return Err(wrong(
                    "path",
                    "`direct` needs `advertise`, the URL at which nodes elsewhere reach this one",
                ));
            }
            Some(other) => return Err(wrong("path", &format!("`{other}` is not reverse or direct"))),
        };
        let hosts = told.hosts.unwrap_or_default();
        if let Some(bad) = hosts.iter().find(|h| !trust::is_host(h)) {
            return Err(wrong("hosts", &format!("`{bad}` is no host name and no address")));
        }
        let capacity = told.capacity.unwrap_or_default();
        let default = redlink_core::Capacity::default();
        let services = u64::from(capacity.services.unwrap_or(default.services));
        if services * u64::from(capacity.peers.unwrap_or(default.peers)) > PAIRS_MAX {
            let what = "`services` times `peers` is at most 1073741824; each such pair takes 3 bytes";
            return Err(wrong("capacity", what));
        }
        let certificate_life = told.certificate_life.as_deref().map_or(Ok(LIFE_DEFAULT), life)?;
        let programs = told.programs.unwrap_or_default().into_iter();
        let programs = programs
            .map(|(name, permissions)| Ok((value("programs", &name)?, permissions)))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            dir: dir.to_owned(),
            name,
            mesh,
            listen,
            hosts,
            north,
            south,
            trace_memory,
            ways,
            max_payload,
            advertise,
            direct,
            max_connections,
            capacity,
            certificate_life,
            tls,
            programs,
            drain,
            logging,
        })
    }

    /// What they say about the node's trust.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            hosts: self.certificate_hosts(),
            certificate_life: self.certificate_life,
            own: self.tls.clone(),
        }
    }

    /// Host names and addresses that its certificate should bear: the configured ones, and those that it listens on.
    pub fn certificate_hosts(&self) -> Vec<String> {
        let listening = self
            .listen
            .iter()
            .map(|l| l.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
        self.hosts
            .iter()
            .cloned()
            .chain(listening.map(|ip| ip.to_string()))
            .collect()
    }

    /// Takes over from `new` what counts at once, but for the peers.
    pub fn take_over(&mut self, new: &Self) {
        self.ways = new.ways.clone();
        self.programs = new.programs.clone();
        self.drain = new.drain;
        self.logging.level = new.logging.level.clone();
    }

    /// The settings that differ in `new` and count only from a start on.
    pub fn needs_restart_for(&self, new: &Self) -> Vec<&'static str> {
        // Whoever adds a setting has to say here what a reload does with it.
        let Self {
            dir: _,
            name,
            mesh,
            listen,
            hosts,
            north: _,
            south: _,
            ways: _,
            trace_memory,
            max_payload,
            advertise,
            direct,
            max_connections,
            capacity,
            certificate_life,
            tls,
            programs: _,
            drain: _,
            logging,
        } = self;
        let differ = [
            ("name", *name != new.name),
            ("mesh", *mesh != new.mesh),
            ("listen", *listen != new.listen),
            ("hosts", *hosts != new.hosts),
            ("trace_memory", *trace_memory != new.trace_memory),
            ("max_payload", *max_payload != new.max_payload),
            ("advertise", *advertise != new.advertise),
            ("path", *direct != new.direct),
            ("max_connections", *max_connections != new.max_connections),
            ("capacity", *capacity != new.capacity),
            ("certificate_life", *certificate_life != new.certificate_life),
            ("tls", *tls != new.tls),
            ("log_format", logging.format != new.logging.format),
        ];
        let differ = differ.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(setting, _)| setting).collect()
    }

    /// Writes down what the flags said, so that the next start needs none of them. A settings file that is there is the
    /// user's and stays as it is.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn remember(&self, flags: &Partial) -> Result<(), ConfigError> {
        let path = self.dir.join(FILE);
        let failed = |what: String| ConfigError::Write {
            path: path.clone(),
            what,
        };
        if path.try_exists().map_err(|e| failed(e.to_string()))? {
            return Ok(());
        }
        let told = Partial {
            name: Some(self.name.to_string()),
            mesh: Some(self.mesh.to_string()),
            // Who looks closer once does not mean always.
            log: None,
            log_format: None,
            ..flags.clone()
        };
        let text = toml::to_string(&told).map_err(|e| failed(e.to_string()))?;
        let text = format!(
            "# Settings of this node, from its first start; change them here. Flags of `redlink node` and environment\n\
             # variables (REDLINK_LISTEN and so on) count more than this file.\n{text}"
        );
        trust::write_private(&self.dir, FILE, text.as_bytes()).map_err(|e| failed(e.to_string()))
    }
}

impl Partial {
    /// These, and where they say nothing, `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            name: self.name.or(others.name),
            mesh: self.mesh.or(others.mesh),
            listen: self.listen.or(others.listen),
            hosts: self.hosts.or(others.hosts),
            north: self.north.or(others.north),
            proxy: self.proxy.or(others.proxy),
            link: self.link.or(others.link),
            south: self.south.or(others.south),
            south_default: self.south_default.or(others.south_default),
            trace_memory: self.trace_memory.or(others.trace_memory),
            max_payload: self.max_payload.or(others.max_payload),
            max_connections: self.max_connections.or(others.max_connections),
            advertise: self.advertise.or(others.advertise),
            path: self.path.or(others.path),
            certificate_life: self.certificate_life.or(others.certificate_life),
            capacity: self.capacity.or(others.capacity),
            tls: self.tls.or(others.tls),
            drain: self.drain.or(others.drain),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
            programs: self.programs.or(others.programs),
        }
    }
}

fn from_environment(env: impl Fn(&str) -> Option<String>) -> Result<Partial, ConfigError> {
    let list = |text: String| -> Vec<String> { text.split(',').map(|part| part.trim().to_owned()).collect() };
    let number = |text: String| {
        text.parse().map_err(|_| {
            wrong(
                "max_connections",
                &format!("REDLINK_MAX_CONNECTIONS=`{text}` is no number"),
            )
        })
    };
    Ok(Partial {
        name: env("REDLINK_NAME"),
        mesh: env("REDLINK_MESH"),
        listen: env("REDLINK_LISTEN").map(list),
        hosts: env("REDLINK_HOSTS").map(list),
        north: env(NORTH_VARIABLE).map(|text| list(text).into_iter().map(NorthEntry::from).collect()),
        proxy: env("REDLINK_PROXY").map(Into::into),
        link: env("REDLINK_LINK"),
        south: None,
        south_default: None,
        trace_memory: None,
        max_payload: env("REDLINK_MAX_PAYLOAD")
            .map(|text| value("max_payload", &text))
            .transpose()?,
        max_connections: env("REDLINK_MAX_CONNECTIONS").map(number).transpose()?,
        advertise: env("REDLINK_ADVERTISE"),
        path: env("REDLINK_PATH"),
        certificate_life: env("REDLINK_CERTIFICATE_LIFE"),
        capacity: None,
        tls: None,
        drain: env("REDLINK_DRAIN"),
        log: env("REDLINK_LOG"),
        log_format: env("REDLINK_LOG_FORMAT"),
        programs: None,
    })
}

fn read_file(dir: &Path) -> Result<Partial, ConfigError> {
    let path = dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Partial::default()),
        Err(cause) => return Err(ConfigError::Read { path, cause }),
    };
    toml::from_str(&text).map_err(|cause| ConfigError::File {
        path,
        cause: Box::new(cause),
    })
}

fn wrong(setting: &'static str, what: &str) -> ConfigError {
    ConfigError::Value {
        setting,
        what: what.to_owned(),
    }
}

fn value<T: FromStr>(setting: &'static str, text: &str) -> Result<T, ConfigError>
where
    T::Err: fmt::Display,
{
    text.parse()
        .map_err(|e: T::Err| wrong(setting, &format!("`{text}`: {e}")))
}

/// Reads how long certificates live.
fn life(text: &str) -> Result<Duration, ConfigError> {
    let life = crate::http::headers::parse_duration(text).ok();
    life.filter(|life| (LIFE_MIN..=LIFE_MAX).contains(life))
        .ok_or_else(|| {
            let days = LIFE_MAX.as_secs() / 86_400;
            let what = format!(
                "`{text}` is not possible; it is from {}s to {days}d, such as 30d",
                LIFE_MIN.as_secs()
            );
            wrong("certificate_life", &what)
        })
}

fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let bad = || {
        wrong(
            "listen",
            &format!("`{text}` is not ADDRESS:PORT, such as 0.0.0.0:7411, [::]:7411 or localhost:7411"),
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    if host == "localhost" {
        // Which of the two `localhost` is depends on the machine.
        let port = port.parse().map_err(|_| bad())?;
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, port)).into());
    }
    Ok(vec![text.parse().map_err(|_| bad())?])
}

/// The machine's name, as far as names allow it.
fn default_name(joins: bool) -> Result<Name, ConfigError> {
    let host = trust::own_host_name().unwrap_or_default();
    let label = host.split('.').next().unwrap_or_default();
    let mut base: String = label
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(48)
        .collect();
    base = base.trim_matches('-').to_owned();
    // Every machine that has no name of its own calls itself so.
    let nameless = base.is_empty() || base == "localhost";
    if nameless {
        base = "node".into();
    }
    if joins || nameless {
        base = format!("{base}-{:04x}", trust::random_number());
    }
    value("name", &base)
}
