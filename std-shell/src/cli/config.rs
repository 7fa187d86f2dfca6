//! `redlink config`: are the settings right, and which are in force.

use super::exit::{Done, Exit, Failure};
use super::node::SettingFlags;
use super::output::{self, Stream, Tone, paint};
use crate::config::{ConfigError, DIRECTORY, FILE, FaultInfo, Faults, NodeConfig, Shown};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Settings of a node: check the file, show what is in force
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Check(CheckOptions),
    Show(Box<ShowOptions>),
}

/// Say whether a settings file is right, and point at each mistake
///
/// The environment and a node that runs are left alone. Exit code 2 if there is a mistake.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink config check                           ./.redlink/redlink.toml
  redlink config check /etc/redlink/redlink.toml
  redlink config check --json | jq .mistakes")]
pub(super) struct CheckOptions {
    /// The file, or the directory of a node [default: the node of this directory]
    #[arg(value_name = "FILE|DIR")]
    file: Option<PathBuf>,

    /// Print JSON: file, ok, and mistakes with file, line, column, setting, what and help
    #[arg(long)]
    json: bool,
}

/// Show each setting as `redlink node` would take it now
///
/// What is printed is a settings file itself. Passwords are left out. Give it the flags that the node is started with to see
/// what they change.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink config show                   all settings, and what each is
  redlink config show --origin          and who says so
  redlink config show --json | jq -r '.[] | [.name, .variable] | @tsv'

Each setting has an environment variable, REDLINK_ and its name, with __ after a section: REDLINK_CAPACITY__PEERS.")]
pub(super) struct ShowOptions {
    /// Where the node's .redlink directory is
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Add who says each
    #[arg(long)]
    origin: bool,

    /// Print JSON: a list with name, value, source, default, about, variable, flag and reload (now or restart)
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: SettingFlags,
}

/// Runs the verb.
pub(super) fn run(verb: Verb) -> Done {
    match verb {
        Verb::Check(options) => check(&options),
        Verb::Show(options) => show(*options),
    }
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    ok: bool,
    mistakes: Vec<FaultInfo>,
}

fn check(options: &CheckOptions) -> Done {
    let file = file_of(options.file.as_deref());
    let checked = NodeConfig::check(&file);
    let faults = match &checked {
        Err(ConfigError::File(faults)) => Some(faults),
        _ => None,
    };
    if options.json && (checked.is_ok() || faults.is_some()) {
        output::json(&Checked {
            file,
            ok: checked.is_ok(),
            mistakes: faults.iter().flat_map(|faults| faults.list()).collect(),
        })?;
        return Ok(if checked.is_ok() { Exit::Done } else { Exit::Usage });
    }
    match checked {
        Ok(()) => {
            let ok = paint(Stream::Out, Tone::Good, "OK");
            output::line(&format!("{}: {ok}", file.display()))?;
            Ok(Exit::Done)
        }
        Err(ConfigError::File(faults)) => Err(report(&faults)),
        Err(ConfigError::Read { path, cause }) if cause.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is no settings file {}", path.display());
            Err(Failure::usage(what)
                .hint("name the file, or the directory in which `redlink node` was started"))
        }
        Err(other) => Err(Failure::usage(other.to_string())),
    }
}

fn show(options: ShowOptions) -> Done {
    let dir = options.dir.join(DIRECTORY);
    let flags = options.flags.into();
    let shown = match Shown::load(&dir, &flags) {
        Ok(shown) => shown,
        Err(ConfigError::File(faults)) => return Err(report(&faults)),
        Err(other) => return Err(Failure::usage(other.to_string())),
    };
    match options.json {
        true => output::json(&shown.settings)?,
        false => output::write(shown.to_toml(options.origin).as_bytes())?,
    }
    Ok(Exit::Done)
}

/// The file that is meant: of a node's directory or its parent, or itself.
fn file_of(named: Option<&Path>) -> PathBuf {
    let dir = match named {
        Some(file) if !file.is_dir() => return file.to_owned(),
        Some(dir) => dir,
        None => return Path::new(DIRECTORY).join(FILE),
    };
    let inside = dir.join(FILE);
    match inside.is_file() {
        true => inside,
        false => dir.join(DIRECTORY).join(FILE),
    }
}

/// Shows what is wrong in a settings file; the failure that is left to say.
pub(super) fn report(faults: &Faults) -> Failure {
    output::note(&faults.report(output::coloured(Stream::Err)));
    let file = faults.path().display();
    Failure::usage(match faults.count() {
        1 => format!("the settings file {file} has a mistake"),
        n => format!("the settings file {file} has {n} mistakes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTINGS;

    #[test]
    fn the_flags_are_those_of_the_table_of_settings() {
        let command = SettingFlags::augment_args(clap::Command::new("x"));
        let mut flags: Vec<&str> = command.get_arguments().filter_map(|a| a.get_long()).collect();
        let mut table: Vec<&str> = SETTINGS.iter().filter_map(|setting| setting.flag).collect();
        flags.sort_unstable();
        table.sort_unstable();
        assert_eq!(flags, table);
    }
}
