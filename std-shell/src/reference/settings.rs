//! The settings of a node.

use super::cell;
use crate::config::{Reload, SETTINGS, Unsaid};
use std::fmt::Write;

pub(super) fn text() -> String {
    let mut text = "# Settings\n\n\
        They stand in `.redlink/redlink.toml`. A flag of `redlink node` counts more than the environment, that more than \
        the file, that more than the default. A name with a point is a member of a section: `capacity.messages` is \
        `messages` under `[capacity]`. `redlink config check` points at every mistake in the file, `redlink config show \
        --origin` says what counts and who said it. SIGHUP makes a node read the file again; of a setting that needs a \
        restart its log says so.\n\n\
        | setting | environment | flag | default | a change counts | |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            Unsaid::Is(value) => format!("`{value}`"),
            Unsaid::Found(how) => how.to_owned(),
            Unsaid::Unset(means) => format!("none: {means}"),
        };
        let counts = match setting.reload {
            Reload::Now => "at SIGHUP",
            Reload::Restart => "after a restart",
        };
        writeln!(
            text,
            "| `{}` | `{}` | {} | {} | {counts} | {} |",
            setting.name,
            setting.variable(),
            setting.flag.map(|flag| format!("`--{flag}`")).unwrap_or_default(),
            cell(&default),
            cell(setting.about),
        )
        .unwrap();
    }
    text
}
