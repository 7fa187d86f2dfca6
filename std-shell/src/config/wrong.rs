//! A value that can't be used: which, why, and who said it.

use super::ConfigError;
use std::fmt;

/// Where in the settings: `north`, its second entry, that one's `import`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key(Vec<Step>);

/// One step into the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To a member of a table.
    Member(String),
    /// To an entry of a list, counted from 0.
    Entry(usize),
}

impl From<&str> for Key {
    /// A setting's name; a point leads into a section.
    fn from(name: &str) -> Self {
        Self(
            name.split('.')
                .map(|part| Step::Member(part.to_owned()))
                .collect(),
        )
    }
}

impl Key {
    /// Its member of this name.
    #[must_use]
    pub fn member(mut self, name: &str) -> Self {
        self.0.push(Step::Member(name.to_owned()));
        self
    }

    /// Its entry at this place.
    #[must_use]
    pub fn entry(mut self, at: usize) -> Self {
        self.0.push(Step::Entry(at));
        self
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This key, seen from where `step` leads to.
    pub(super) fn below(mut self, step: Step) -> Self {
        self.0.insert(0, step);
        self
    }

    /// Whether it is this setting or something in it.
    pub(super) fn is_in(&self, setting: &str) -> bool {
        let mut parts = setting.split('.');
        let mut steps = self.0.iter();
        parts.all(|part| matches!(steps.next(), Some(Step::Member(name)) if name == part))
    }
}

impl fmt::Display for Key {
    /// Without the places in lists: a person finds those by the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter_map(|step| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::Entry(_) => None,
        });
        f.write_str(&names.collect::<Vec<_>>().join("."))
    }
}

/// A value that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub(super) key: Key,
    pub(super) what: String,
    /// The name itself is wrong, not what is said of it.
    pub(super) names: bool,
    /// The flag or the variable that said it; none for the file, or while nobody has asked.
    pub(super) told_by: Option<String>,
    /// The file said it, whoever else says something too.
    pub(super) in_file: bool,
    /// It is wrong only for want of this setting.
    pub(super) for_want_of: Option<&'static str>,
}

impl Wrong {
    pub(super) fn new(key: impl Into<Key>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            names: false,
            told_by: None,
            in_file: false,
            for_want_of: None,
        }
    }

    pub(super) fn told_by(mut self, who: &str) -> Self {
        self.told_by = Some(who.to_owned());
        self
    }

    pub(super) fn for_want_of(mut self, setting: &'static str) -> Self {
        self.for_want_of = Some(setting);
        self
    }

    pub(super) fn a_name(mut self) -> Self {
        self.names = true;
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the setting `{}`", self.key)?;
        if let Some(who) = &self.told_by {
            write!(f, " ({who})")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Wrong {}

/// A setting's value is not possible.
pub(super) fn wrong(key: impl Into<Key>, what: impl Into<String>) -> ConfigError {
    Wrong::new(key, what).into()
}
