//! What is wrong in a settings file, each thing with its place, as a person and as a program reads it.

use super::settings::{SETTINGS, setting_of};
use super::wrong::Key;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Of which setting, if it is one's.
    key: Option<Key>,
    /// Where, in bytes of the text.
    span: Option<Range<usize>>,
    what: String,
    /// What to do.
    help: Option<String>,
    /// What the setting is.
    about: Option<String>,
}

impl Fault {
    /// `what` is wrong at `span`.
    pub(super) fn new(key: Option<Key>, span: Option<Range<usize>>, what: &str) -> Self {
        Self {
            about: key.as_ref().and_then(about),
            key,
            span,
            what: one_line(what),
            help: None,
        }
    }

    /// As serde says it: a value of another form, or a name that there is not.
    pub(super) fn of_form(key: Option<Key>, span: Option<Range<usize>>, message: &str) -> Self {
        let mut fault = Self::new(key, span, message);
        if let Some(rest) = message.strip_prefix("unknown field `")
            && let Some((unknown, rest)) = rest.split_once('`')
        {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            let section = fault.section();
            fault.what = match &section {
                Some(section) => format!("`{section}` has no `{unknown}`"),
                None => format!("there is no setting `{unknown}`"),
            };
            fault.about = None;
            fault.help = Some(advice(unknown, section.as_deref(), &known));
        }
        fault
    }

    /// The name of what the faulty thing is in.
    fn section(&self) -> Option<String> {
        let text = self.key.as_ref()?.to_string();
        text.rsplit_once('.').map(|(section, _)| section.to_owned())
    }

    fn advice(&self) -> Option<&str> {
        self.help.as_deref().or(self.about.as_deref())
    }

    /// Whether it is in this setting.
    pub(super) fn is_in(&self, setting: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_in(setting))
    }
}

/// A library's text may have several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the setting is that a key leads to or into.
fn about(key: &Key) -> Option<String> {
    let setting = SETTINGS.iter().find(|setting| key.is_in(setting.name))?;
    Some(format!("`{}`: {}", setting.name, setting.about))
}

/// What to do about a name that there is not.
fn advice(unknown: &str, section: Option<&str>, known: &[&str]) -> String {
    let distance = |name: &str| strsim::damerau_levenshtein(unknown, name);
    let nearest = known.iter().min_by_key(|name| distance(name));
    // One slip of the finger in three letters is still the same word.
    if let Some(nearest) = nearest.filter(|name| distance(name) <= unknown.len().div_ceil(3)) {
        return format!("did you mean `{nearest}`?");
    }
    if let Some(section) = section
        && setting_of(unknown).is_some()
    {
        return format!(
            "`{unknown}` is a setting of its own: write it above the first section, not in [{section}]"
        );
    }
    let inside = SETTINGS
        .iter()
        .find(|setting| setting.parts() == (setting.parts().0, unknown));
    if let Some(setting) = inside.filter(|setting| setting.parts().0.is_some())
        && let (Some(right), _) = setting.parts()
    {
        return format!("did you mean the `{unknown}` in the section [{right}]?");
    }
    match section {
        Some(_) => format!("there are: {}", known.join(", ")),
        None => "`redlink config show` prints all settings".into(),
    }
}

/// All that is wrong in a settings file. The text that it shows has no passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    path: PathBuf,
    text: String,
    list: Vec<Fault>,
}

/// One thing that is wrong, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultInfo {
    /// The file.
    pub file: String,
    /// Counted from 1; none where the whole file is meant.
    pub line: Option<usize>,
    /// In characters, counted from 1.
    pub column: Option<usize>,
    /// The setting, with its section, if it is one's.
    pub setting: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

impl Faults {
    pub(super) fn new(path: PathBuf, text: &str, mut list: Vec<Fault>) -> Self {
        list.sort_by_key(|fault| fault.span.as_ref().map(|span| span.start));
        list.dedup();
        Self {
            path,
            text: without_passwords(text),
            list,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many; at least one.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// One by one.
    pub fn list(&self) -> impl Iterator<Item = FaultInfo> {
        self.list.iter().map(|fault| {
            let place = fault.span.as_ref().map(|span| position(&self.text, span.start));
            FaultInfo {
                file: self.path.display().to_string(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                setting: fault.key.as_ref().map(ToString::to_string),
                what: fault.what.clone(),
                help: fault.advice().map(str::to_owned),
            }
        })
    }

    /// With the lines of the file and marks under what is meant.
    pub fn report(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let path = self.path.display().to_string();
        let reports = self.list.iter().map(|fault| {
            let title = Level::ERROR.primary_title(fault.what.as_str());
            let mut group = match &fault.span {
                Some(span) => {
                    let mark = AnnotationKind::Primary.span(span.clone());
                    title.element(Snippet::source(&self.text).path(&path).annotation(mark))
                }
                None => title.element(annotate_snippets::Origin::path(&path)),
            };
            if let Some(help) = fault.advice() {
                group = group.element(Level::HELP.message(help));
            }
            renderer.render(&[group])
        });
        reports.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Faults {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(span) = &fault.span {
                let (line, column) = position(&self.text, span.start);
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}", fault.what)?;
            if let Some(help) = &fault.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Line, and column in characters, of a byte; both counted from 1.
pub(super) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    // A continued character begins no new column.
    let column = before[start..].iter().filter(|b| (**b & 0xc0) != 0x80).count() + 1;
    (line, column)
}

/// The same text, each byte at its place, with stars for users and passwords in the URLs of proxies.
fn without_passwords(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let Some(from) = line.find("proxy") else {
            return line.to_owned();
        };
        let Some(to) = line.rfind('@').filter(|to| *to > from) else {
            return line.to_owned();
        };
        let inside = &line[from..to];
        let before = inside.find("://").map(|at| at + 3);
        let before = before.or_else(|| inside.find(['"', '\'']).map(|at| at + 1));
        let start = from + before.or_else(|| inside.find('=').map(|at| at + 1)).unwrap_or(0);
        let stars = "*".repeat(to - start);
        format!("{}{stars}{}", &line[..start], &line[to..])
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_shown_and_nothing_moves() {
        for (text, shown) in [
            ("proxy = \"http://u:p@h:1\"", "proxy = \"http://***@h:1\""),
            (
                "proxy = \"u:p@h:1\"\nname = 'a@b'",
                "proxy = \"***@h:1\"\nname = 'a@b'",
            ),
            (
                "north = [{ url = 'https://a', proxy = 'http://u:p\"w@h' }] # ö",
                "north = [{ url = 'https://a', proxy = 'http://*****@h' }] # ö",
            ),
        ] {
            assert_eq!(without_passwords(text).len(), text.len());
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn places_are_counted_from_1_and_in_characters() {
        let text = "a = 1\nö = 2\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, text.find('=').unwrap()), (1, 3));
        assert_eq!(position(text, text.rfind('=').unwrap()), (2, 3));
        assert_eq!(position(text, 999), (3, 1));
    }
}
