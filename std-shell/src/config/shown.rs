//! The settings that are in force, each with who said it. Passwords are left out.

use super::document::{self, Document};
use super::settings::{SETTINGS, Setting, Unsaid, from_environment, merge, table};
use super::{ConfigError, FILE, NodeConfig, Partial};
use crate::trust;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Who said a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// A flag.
    Flag {
        /// With its dashes.
        name: String,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// The settings file.
    File {
        /// Which.
        file: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
    },
    /// The node's certificate, which bears its name and its mesh.
    Certificate,
    /// Nobody.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Variable { name } => write!(f, "environment {name}"),
            Self::File {
                file,
                line: Some(line),
            } => write!(f, "{}:{line}", file.display()),
            Self::File { file, line: None } => write!(f, "{}", file.display()),
            Self::Certificate => f.write_str("the node's certificate"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownSetting {
    /// Which.
    pub setting: &'static Setting,
    /// None if it is not set.
    pub value: Option<Value>,
    /// Who said it.
    pub source: Source,
}

/// All settings as they are in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Where the node is.
    pub dir: PathBuf,
    /// In the order of the table of settings.
    pub settings: Vec<ShownSetting>,
}

impl Shown {
    /// As `redlink node` with these flags would take them now in `dir`.
    ///
    /// # Errors
    /// As [`NodeConfig::load`].
    pub fn load(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        Self::load_with(dir, flags, super::variable)
    }

    pub(super) fn load_with(
        dir: &Path,
        flags: &Partial,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let path = dir.join(FILE);
        let text = document::read(dir)?;
        let mut document = Document::new(&path, &text)?;
        let flags = table(flags)?;
        let config = NodeConfig::of_layers(dir, &flags, &env, &mut document)?;
        let environment = from_environment(&env)?;
        let file = document.settings();
        let told = merge(&merge(&flags, &environment), &file);
        let settings = SETTINGS.iter().map(|setting| {
            let source = match () {
                () if setting.find(&flags).is_some() => Source::Flag {
                    name: format!("--{}", setting.flag.unwrap_or(setting.name)),
                },
                () if setting.find(&environment).is_some() => Source::Variable {
                    name: setting.variable(),
                },
                () if setting.find(&file).is_some() => Source::File {
                    file: path.clone(),
                    line: document.line(setting.name),
                },
                () if matches!(setting.name, "name" | "mesh") && trust::stored_name(dir)?.is_some() => {
                    Source::Certificate
                }
                () => Source::Default,
            };
            let value = match setting.name {
                "name" => Some(config.name.as_str().into()),
                "mesh" => Some(config.mesh.as_str().into()),
                _ => setting
                    .find(&told)
                    .map(without_password)
                    .or_else(|| default(setting)),
            };
            Ok(ShownSetting {
                setting,
                value,
                source,
            })
        });
        Ok(Self {
            dir: dir.to_owned(),
            settings: settings.collect::<Result<_, ConfigError>>()?,
        })
    }

    /// As a settings file that says all of them, with what each is; with `source`, also who said it.
    pub fn to_toml(&self, source: bool) -> String {
        let mut out = String::new();
        let mut within = None;
        for shown in &self.settings {
            let (section, name) = shown.setting.parts();
            if section != within {
                if let Some(section) = section {
                    out += &format!("\n[{section}]\n");
                }
                within = section;
            }
            let from = match source {
                true => format!("  # {}", shown.source),
                false => String::new(),
            };
            out += &format!("# {}\n", shown.setting.about);
            out += &match (&shown.value, shown.setting.default) {
                (Some(Value::Table(all)), _) if all.is_empty() => format!("# {name}: none{from}\n"),
                (Some(Value::Table(all)), _) => {
                    let from = from.trim_start();
                    let gap = if from.is_empty() { "" } else { "\n" };
                    let all = Table::from_iter([(name.to_owned(), Value::Table(all.clone()))]);
                    format!("{from}{gap}{all}")
                }
                (Some(value), _) => format!("{name} = {value}{from}\n"),
                (None, Unsaid::Unset(meaning)) => format!("# {name} is not set: {meaning}\n"),
                (None, _) => format!("# {name} is not set\n"),
            };
        }
        out
    }
}

impl Serialize for ShownSetting {
    /// `name`, `value`, `source`, `default`, `about`, `variable`, `flag`, `reload`.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            name: &'a str,
            value: &'a Option<Value>,
            source: &'a Source,
            default: Option<Value>,
            about: &'a str,
            variable: String,
            flag: Option<String>,
            reload: &'a str,
        }
        let setting = self.setting;
        let line = Line {
            name: setting.name,
            value: &self.value,
            source: &self.source,
            default: default(setting),
            about: setting.about,
            variable: setting.variable(),
            flag: setting.flag.map(|flag| format!("--{flag}")),
            reload: match setting.reload {
                super::Reload::Now => "now",
                super::Reload::Restart => "restart",
            },
        };
        line.serialize(to)
    }
}

fn default(setting: &Setting) -> Option<Value> {
    let Unsaid::Is(text) = setting.default else {
        return None;
    };
    let read = toml::de::ValueDeserializer::parse(text).and_then(Value::deserialize);
    read.ok()
}

/// Users and passwords in URLs are nobody's to see.
fn without_password(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.rsplit_once('@') {
            None => value.clone(),
            Some((before, host)) => {
                let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
                let gap = if scheme.is_empty() { "" } else { "://" };
                format!("{scheme}{gap}***@{host}").into()
            }
        },
        Value::Array(list) => Value::Array(list.iter().map(without_password).collect()),
        Value::Table(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), without_password(value)));
            Value::Table(members.collect())
        }
        other => other.clone(),
    }
}
