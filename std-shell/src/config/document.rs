//! The settings file with the places of all that it says.
//!
//! A file is checked by taking out what is wrong and looking again, so that one look finds all mistakes and not only the
//! first.

use super::faults::{Fault, Faults};
use super::wrong::{Key, Step, Wrong};
use super::{ConfigError, FILE, Partial};
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeArray, DeTable, DeValue};
use toml::{Spanned, Table};

/// A settings file that was read.
#[derive(Debug)]
pub(super) struct Document<'t> {
    path: PathBuf,
    text: &'t str,
    /// All that it says and that was not found wrong yet.
    table: DeTable<'t>,
    faults: Vec<Fault>,
}

/// The text of a directory's settings file; empty if there is none.
pub(super) fn read(dir: &Path) -> Result<String, ConfigError> {
    let path = dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(ConfigError::Read { path, cause }),
    }
}

impl<'t> Document<'t> {
    /// Reads what is a setting at all.
    ///
    /// # Errors
    /// It is no TOML.
    pub(super) fn new(path: &Path, text: &'t str) -> Result<Self, ConfigError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            path: path.to_owned(),
            text,
            table: table.into_inner(),
            faults: Vec::new(),
        };
        for error in &errors {
            let mut what = error.message().to_owned();
            if what == "duplicate key"
                && let Some(name) = error.span().and_then(|span| text.get(span))
            {
                what = format!("`{name}` is there twice");
            }
            document.faults.push(Fault::new(None, error.span(), &what));
        }
        // What was understood of a broken text would only bring more, and stranger, complaints.
        match document.faults.is_empty() {
            true => Ok(document),
            false => Err(document.take_faults()),
        }
    }

    /// What it says, as far as it is of the right form; the rest is noted and taken out.
    pub(super) fn settings(&mut self) -> Table {
        loop {
            let whole = 0..self.text.len();
            let of = toml::Deserializer::from(Spanned::new(whole, self.table.clone()));
            let error = match Partial::deserialize(of) {
                Ok(_) => break,
                Err(error) => error,
            };
            let span = error.span();
            let key = span.as_ref().and_then(|span| take_out(&mut self.table, span));
            let gone = key.is_some();
            let found = Fault::of_form(key, span, error.message());
            self.faults.push(found);
            if !gone {
                self.table.clear();
            }
        }
        let of = toml::Deserializer::from(Spanned::new(0..0, self.table.clone()));
        Table::deserialize(of).unwrap_or_default()
    }

    /// Notes what is wrong and takes it out. False if it is not here.
    pub(super) fn blame(&mut self, wrong: &Wrong) -> bool {
        let Some((key, span)) = self.resolve(&wrong.key, wrong.names) else {
            return false;
        };
        let cause = wrong.for_want_of;
        let follows = cause.is_some_and(|cause| self.faults.iter().any(|fault| fault.is_in(cause)));
        let steps = match key.steps() {
            // Without its URL the rest of an entry is nothing.
            [rest @ .., Step::Member(last)] if last == "url" && !rest.is_empty() => rest,
            all => all,
        };
        let gone = drop_at(&mut self.table, steps);
        if !follows {
            let what = format!("`{key}`: {}", wrong.what);
            self.faults.push(Fault::new(Some(key), Some(span), &what));
        }
        gone
    }

    /// The place of a key's value, or of its name, and the key that is really there: `north` may be a list of tables with
    /// a `url`, or of the URLs alone.
    fn resolve(&self, key: &Key, name: bool) -> Option<(Key, Range<usize>)> {
        let (first, rest) = key.steps().split_first()?;
        let Step::Member(of) = first else { return None };
        let (found, mut value) = self.table.get_key_value(of.as_str())?;
        let (mut place, mut there) = (found.span(), Key::default().member(of));
        for step in rest {
            match (value.get_ref(), step) {
                (DeValue::Table(table), Step::Member(of)) => {
                    let found = table.get_key_value(of.as_str())?;
                    (place, value) = (found.0.span(), found.1);
                    there = there.member(of);
                }
                (DeValue::Array(list), Step::Entry(at)) => {
                    value = list.get(*at)?;
                    place = value.span();
                    there = there.entry(*at);
                }
                (DeValue::String(_), Step::Member(of)) if of == "url" => {}
                _ => return None,
            }
        }
        Some((there, if name { place } else { value.span() }))
    }

    /// The line of a setting, counted from 1.
    pub(super) fn line(&self, setting: &str) -> Option<usize> {
        let (_, span) = self.resolve(&Key::from(setting), true)?;
        Some(super::faults::position(self.text, span.start).0)
    }

    /// Whether something was found wrong.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Hands over all that was found wrong.
    pub(super) fn take_faults(&mut self) -> ConfigError {
        let faults = std::mem::take(&mut self.faults);
        Box::new(Faults::new(self.path.clone(), self.text, faults)).into()
    }
}

/// Takes out the innermost value that an error's place is at; its key.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Key> {
    let mut found = None;
    for (name, value) in table.iter_mut() {
        let step = || Step::Member(name.get_ref().to_string());
        if let Some(inner) = take_out_of(value.get_mut(), span) {
            return Some(inner.below(step()));
        }
        if covers(&name.span(), span) || covers(&value.span(), span) {
            found = Some(name.get_ref().to_string());
        }
    }
    let found = found?;
    table.remove(found.as_str());
    Some(Key::default().member(&found))
}

fn take_out_of(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<Key> {
    match value {
        DeValue::Table(table) => take_out(table, span),
        DeValue::Array(list) => {
            for (at, entry) in list.iter_mut().enumerate() {
                if let Some(inner) = take_out_of(entry.get_mut(), span) {
                    return Some(inner.below(Step::Entry(at)));
                }
            }
            let at = list.iter().position(|entry| covers(&entry.span(), span))?;
            *list = without(list, at);
            Some(Key::default().entry(at))
        }
        _ => None,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn drop_at(table: &mut DeTable<'_>, steps: &[Step]) -> bool {
    match steps {
        [Step::Member(name)] => table.remove(name.as_str()).is_some(),
        [Step::Member(name), rest @ ..] => match table.get_mut(name.as_str()) {
            Some(value) => drop_in(value.get_mut(), rest),
            None => false,
        },
        _ => false,
    }
}

fn drop_in(value: &mut DeValue<'_>, steps: &[Step]) -> bool {
    match (value, steps) {
        (DeValue::Table(table), steps) => drop_at(table, steps),
        (DeValue::Array(list), [Step::Entry(at)]) if *at < list.len() => {
            *list = without(list, *at);
            true
        }
        (DeValue::Array(list), [Step::Entry(at), rest @ ..]) => match list.get_mut(*at) {
            Some(entry) => drop_in(entry.get_mut(), rest),
            None => false,
        },
        _ => false,
    }
}

fn without<'t>(list: &DeArray<'t>, at: usize) -> DeArray<'t> {
    let mut rest = DeArray::new();
    for (place, entry) in list.iter().enumerate() {
        if place != at {
            rest.push(entry.clone());
        }
    }
    rest
}
