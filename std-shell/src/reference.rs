//! `docs/reference`, which is made from the code: a test holds what is committed against what the code says, and
//! `REDLINK_WRITE_REFERENCE=1 cargo test -p redlink reference` writes it anew.

mod api;
mod cli;
mod problems;
mod settings;

use std::path::PathBuf;

/// Set: the files are written instead of compared.
const WRITE: &str = "REDLINK_WRITE_REFERENCE";

fn hold(name: &str, wanted: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference")).join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the code says: {WRITE}=1 cargo test -p redlink reference",
        path.display()
    );
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('\n', " ")
}

#[test]
fn the_reference_is_what_the_code_says() {
    hold("problems.md", &problems::text());
    hold("api.md", &api::text());
    hold("cli.md", &cli::text());
    hold("settings.md", &settings::text());
}
