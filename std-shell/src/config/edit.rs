//! Changes of the settings file that keep what its user wrote: comments, order, form.

use super::{ConfigError, FILE, North, OwnWay, PeerPolicy, value};
use crate::trust;
use redlink_core::Name;
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// What is to be changed.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// From here on these are the norths.
    Norths(&'a [North]),
    /// From here on this is what counts for a south; none means what counts for all others.
    South(&'a Name, Option<&'a PeerPolicy>),
}

impl Change<'_> {
    /// Changes the file of a directory, or makes it. It is replaced as a whole, or stays as it was.
    ///
    /// # Errors
    /// It can't be read or written, or is no settings file.
    pub fn write(&self, dir: &Path) -> Result<(), ConfigError> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(ConfigError::Read { path, cause }),
        };
        let failed = |what: String| ConfigError::Write {
            path: path.clone(),
            what,
        };
        let text = self.edit(&text).map_err(failed)?;
        // Whatever comes out must be what the next start understands.
        toml::from_str::<super::Partial>(&text).map_err(|e| failed(e.to_string()))?;
        trust::write_private(dir, FILE, text.as_bytes()).map_err(|e| failed(e.to_string()))
    }

    /// The text with the change.
    pub(super) fn edit(&self, text: &str) -> Result<String, String> {
        let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
        match self {
            Self::Norths(norths) => set_norths(&mut document, norths),
            Self::South(name, policy) => set_south(&mut document, name, *policy),
        }
        Ok(document.to_string())
    }
}

fn set_norths(document: &mut DocumentMut, norths: &[North]) {
    match document.get_mut("north") {
        Some(Item::ArrayOfTables(tables)) => {
            // One without a URL is a mistake that the user must see.
            tables.retain(|table| {
                !table.contains_key("url") || stays(norths, table.get("url").and_then(Item::as_str))
            });
            for north in norths {
                let known = |table: &&mut Table| is(north, table.get("url").and_then(Item::as_str));
                let found = tables.iter_mut().find(known).map(|table| describe(table, north));
                if found.is_none() {
                    tables.push(table(north));
                }
            }
            if tables.is_empty() {
                document.remove("north");
            }
        }
        Some(Item::Value(Value::Array(array))) => {
            array.retain(|entry| stays(norths, url_of(entry)));
            for north in norths {
                let at = array.iter().position(|entry| is(north, url_of(entry)));
                let Some(at) = at else {
                    push(array, north);
                    continue;
                };
                match array.get_mut(at) {
                    Some(Value::InlineTable(table)) => describe(table, north),
                    Some(plain) if !is_plain(north) => {
                        let decor = plain.decor().clone();
                        *plain = inline(north);
                        *plain.decor_mut() = decor;
                    }
                    _ => {}
                }
            }
        }
        _ if norths.iter().all(is_plain) => {
            if !norths.is_empty() {
                let array: Array = norths.iter().map(|north| north.url.to_string()).collect();
                document.insert("north", array.into());
            }
        }
        _ => {
            let mut tables = ArrayOfTables::new();
            norths.iter().for_each(|north| tables.push(table(north)));
            document.insert("north", Item::ArrayOfTables(tables));
        }
    }
}

fn set_south(document: &mut DocumentMut, name: &Name, policy: Option<&PeerPolicy>) {
    let Some(policy) = policy else {
        if let Some(souths) = document.get_mut("south").and_then(Item::as_table_like_mut) {
            souths.remove(name.as_str());
            if souths.is_empty() {
                document.remove("south");
            }
        }
        return;
    };
    let souths = document.entry("south").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let Some(souths) = souths.as_table_like_mut() else {
        return;
    };
    let south = souths
        .entry(name.as_str())
        .or_insert_with(|| Item::Table(Table::new()));
    if let Some(south) = south.as_table_like_mut() {
        // All of it: what is said for all others may be something else.
        south.insert("accept_from_south", policy.accept_from_south.into());
        south.insert(
            "import",
            Item::Value(policy.import.iter().collect::<Array>().into()),
        );
        south.insert(
            "export",
            Item::Value(policy.export.iter().collect::<Array>().into()),
        );
    }
}

fn is_plain(north: &North) -> bool {
    north.name.is_none() && north.policy == PeerPolicy::default() && north.own == OwnWay::default()
}

/// However it is written.
fn is(north: &North, url: Option<&str>) -> bool {
    url.is_some_and(|url| value("north", url).is_ok_and(|url: super::NorthUrl| url == north.url))
}

fn stays(norths: &[North], url: Option<&str>) -> bool {
    norths.iter().any(|north| is(north, url))
}

fn url_of(entry: &Value) -> Option<&str> {
    match entry {
        Value::InlineTable(table) => table.get("url").and_then(Value::as_str),
        other => other.as_str(),
    }
}

/// Keeps the user's form: one a line stays one a line.
fn push(array: &mut Array, north: &North) {
    let mut entry = match is_plain(north) {
        true => Value::from(north.url.to_string()),
        false => inline(north),
    };
    if let Some(last) = array.iter().last() {
        *entry.decor_mut() = last.decor().clone();
        array.push_formatted(entry);
    } else {
        array.push(entry);
    }
}

fn table(north: &North) -> Table {
    let mut table = Table::new();
    table.insert("url", north.url.to_string().into());
    describe(&mut table, north);
    table
}

fn inline(north: &North) -> Value {
    let mut table = InlineTable::new();
    table.insert("url", north.url.to_string().into());
    describe(&mut table, north);
    Value::InlineTable(table)
}

/// Says what is not the default, and leaves alone what is as it should be already.
fn describe(table: &mut dyn TableLike, north: &North) {
    let mut set = |key: &str, wanted: Option<Value>| match wanted {
        None => drop(table.remove(key)),
        Some(wanted) => {
            let found = table.get(key).and_then(Item::as_value);
            let same = found.is_some_and(|found| says_the_same(found, &wanted));
            if !same {
                table.insert(key, Item::Value(wanted));
            }
        }
    };
    let list = |rules: &super::Rules| {
        let array: Array = rules.iter().collect();
        (!array.is_empty()).then_some(Value::Array(array))
    };
    let policy = &north.policy;
    set("name", north.name.as_ref().map(|name| name.as_str().into()));
    set("redistribute", (!policy.redistribute).then(|| false.into()));
    set("import", list(&policy.import));
    set("export", list(&policy.export));
    set(
        "proxy",
        north.own.proxy.as_ref().map(|proxy| proxy.as_str().into()),
    );
    set("link", north.own.link.as_deref().map(Into::into));
}

/// However they are written.
fn says_the_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| says_the_same(a, b))
        }
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Boolean(a), Value::Boolean(b)) => a.value() == b.value(),
        _ => false,
    }
}
