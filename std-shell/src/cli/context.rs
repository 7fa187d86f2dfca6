//! `redlink context`: nodes that the user works with, by name.

use super::args::{self, Target};
use super::exit::{Done, Exit, Failure};
use super::output::{self, Cell, Tone};
use crate::client::{Contexts, Place, Saved};
use clap::{Args, Subcommand};
use redlink_core::Name;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Saved nodes: name them, choose one, list them
///
/// A saved context is a node's URL with the means to be let in there, or the directory of a node of this machine. Commands use
/// the node of --node, else of --context, else of REDLINK_NODE, else of REDLINK_CONTEXT, else the one of this directory
/// (./.redlink), else the context that `redlink context use` has chosen.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Add(Box<AddOptions>),
    List(ListOptions),
    Use(UseOptions),
    Show(ShowOptions),
    Remove(RemoveOptions),
}

/// Save a node under a name
///
/// It is the node that --node, --ca and --token-file name, or REDLINK_NODE, REDLINK_CA, REDLINK_TOKEN_FILE and REDLINK_TOKEN,
/// or the one of this directory. Of a directory the path is saved; of a URL the certificates are copied, and the token too
/// unless it is in a file, whose path is saved then. The files are for you alone to read. The first one that is added is used
/// from then on.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink context add home                       the node of this directory
  redlink context add prod --node https://hub --ca ca.pem --token-file ~/token
  REDLINK_TOKEN=... redlink context add prod --node https://hub --ca ca.pem")]
pub(super) struct AddOptions {
    /// Its name
    #[arg(value_parser = args::name)]
    name: String,

    /// Use it from now on where nothing else says which node
    #[arg(long = "use")]
    use_it: bool,

    /// Take the place of one of that name
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    target: Target,
}

/// List the saved contexts; a star marks the one in use
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink context list
  redlink contexts --json")]
pub(super) struct ListOptions {
    /// Print JSON: a list with name, current, url or directory, token (none, saved, file), token_file and ca
    #[arg(long)]
    json: bool,
}

/// Choose the context that counts where nothing else says which node
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink context use prod
  redlink context use --none")]
pub(super) struct UseOptions {
    /// Its name
    #[arg(value_parser = args::name, required_unless_present = "none")]
    name: Option<String>,

    /// Use none
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

/// Show a saved context; its token is not shown
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink context show
  redlink context show prod --json")]
pub(super) struct ShowOptions {
    /// Its name [default: the one in use]
    #[arg(value_parser = args::name)]
    name: Option<String>,

    /// Print JSON, as one line of `redlink context list --json`
    #[arg(long)]
    json: bool,
}

/// Remove a saved context; the node itself notices nothing
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink context remove prod")]
pub(super) struct RemoveOptions {
    /// Its name
    #[arg(value_parser = args::name)]
    name: String,
}

/// Runs the verb.
pub(super) fn run(verb: Verb) -> Done {
    let contexts = Contexts::of_user().ok_or_else(|| {
        Failure::usage("there is no place for saved contexts: neither HOME nor REDLINK_CONFIG_HOME is set")
            .hint("set REDLINK_CONFIG_HOME to a directory of yours")
    })?;
    match verb {
        Verb::Add(options) => add(&contexts, &options),
        Verb::List(options) => list(&contexts, &options),
        Verb::Use(options) => choose(&contexts, &options),
        Verb::Show(options) => show(&contexts, &options),
        Verb::Remove(options) => {
            contexts.remove(&name(&options.name)?)?;
            Ok(Exit::Done)
        }
    }
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|e| Failure::usage(format!("`{text}`: {e}")))
}

fn add(contexts: &Contexts, options: &AddOptions) -> Done {
    let called = name(&options.name)?;
    if !options.replace && contexts.list()?.iter().any(|(there, _)| *there == called) {
        let what = format!("there is a context `{called}` already");
        return Err(Failure::usage(what).hint("choose another name, or add --replace"));
    }
    // By the same rules as every other verb; it also says whether all is there that is needed.
    let (context, found) = options.target.find()?;
    let by_url = matches!(found.place, Some(Place::Url(_))) || context.home.is_none();
    let (saved, ca) = match (&context.home, by_url) {
        (Some(home), false) => {
            let directory = absolute(home)?;
            let saved = Saved {
                directory: Some(directory),
                url: None,
                token: None,
                token_file: None,
            };
            (saved, None)
        }
        _ => {
            let ca = std::fs::read(&context.ca)
                .map_err(|e| Failure::usage(format!("can't read {}: {e}", context.ca.display())))?;
            // A file that holds none is found out here and not at the next command.
            crate::client::Client::new(&context)?;
            let token_file = options.target.token_file.as_deref().map(absolute).transpose()?;
            let token = match token_file {
                Some(_) => None,
                None => context.token.clone(),
            };
            let saved = Saved {
                directory: None,
                url: Some(context.url.clone()),
                token,
                token_file,
            };
            (saved, Some(ca))
        }
    };
    let first = contexts.current()?.is_none() && contexts.list()?.is_empty();
    contexts.save(&called, &saved, ca.as_deref())?;
    let used = first || options.use_it;
    if used {
        contexts.use_by_default(Some(&called))?;
    }
    output::note(&match used {
        true => format!(
            "saved, and used where nothing else says which node; `redlink status --context {called}` tries it"
        ),
        false => format!(
            "saved; `redlink status --context {called}` tries it, `redlink context use {called}` chooses it"
        ),
    });
    Ok(Exit::Done)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::usage(format!("can't use {}: {e}", path.display())))
}

/// What is shown of a saved context.
#[derive(Serialize)]
struct Shown {
    name: String,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    token: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
}

impl Shown {
    fn new(name: &Name, saved: Saved, current: Option<&Name>) -> Self {
        Self {
            name: name.to_string(),
            current: current == Some(name),
            token: match (&saved.directory, &saved.token, &saved.token_file) {
                (Some(_), ..) => "directory",
                (_, Some(_), _) => "saved",
                (.., Some(_)) => "file",
                _ => "none",
            },
            directory: saved.directory,
            url: saved.url,
            token_file: saved.token_file,
        }
    }

    fn place(&self) -> String {
        let directory = self
            .directory
            .as_ref()
            .map(|directory| directory.display().to_string());
        directory.or_else(|| self.url.clone()).unwrap_or_default()
    }
}

fn list(contexts: &Contexts, options: &ListOptions) -> Done {
    let current = contexts.current()?;
    let all = contexts.list()?.into_iter();
    let all: Vec<Shown> = all
        .map(|(name, saved)| Shown::new(&name, saved, current.as_ref()))
        .collect();
    if options.json {
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        output::note("no context is saved; `redlink context add NAME` saves one");
        return Ok(Exit::Done);
    }
    let rows = all.iter().map(|shown| {
        let tone = if shown.current { Tone::Good } else { Tone::Plain };
        vec![
            Cell::text(if shown.current { "*" } else { "" }).tone(tone),
            Cell::text(&shown.name).tone(tone),
            Cell::text(shown.place()),
            Cell::text(shown.token),
        ]
    });
    output::table(&["", "NAME", "NODE", "TOKEN"], &rows.collect::<Vec<_>>())?;
    Ok(Exit::Done)
}

fn choose(contexts: &Contexts, options: &UseOptions) -> Done {
    let chosen = options.name.as_deref().map(name).transpose()?;
    contexts.use_by_default(chosen.as_ref())?;
    Ok(Exit::Done)
}

fn show(contexts: &Contexts, options: &ShowOptions) -> Done {
    let current = contexts.current()?;
    let of = match &options.name {
        Some(text) => Some(name(text)?),
        None => current.clone(),
    };
    let Some(of) = of else {
        return Err(Failure::usage("no context is in use").hint("`redlink context use NAME` chooses one"));
    };
    let shown = Shown::new(&of, contexts.get(&of)?, current.as_ref());
    if options.json {
        output::json(&shown)?;
        return Ok(Exit::Done);
    }
    let token = match shown.token {
        "directory" => "admin token of that directory".to_owned(),
        "file" => shown
            .token_file
            .as_ref()
            .map(|file| format!("in {}", file.display()))
            .unwrap_or_default(),
        "saved" => "saved here".to_owned(),
        _ => "none".to_owned(),
    };
    for (label, value) in [
        ("name", shown.name.clone()),
        ("node", shown.place()),
        ("token", token),
        ("in use", if shown.current { "yes" } else { "no" }.to_owned()),
    ] {
        output::line(&format!("{label:<11}{value}"))?;
    }
    Ok(Exit::Done)
}
