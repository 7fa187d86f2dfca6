//! `redlink completions` and `redlink man`: made from the same description of the command line that `--help` is.

use super::exit::{Done, Exit, Failure};
use super::output;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink completions bash > ~/.local/share/bash-completion/completions/redlink
  redlink completions zsh > ~/.zfunc/_redlink      with ~/.zfunc in fpath
  redlink completions fish > ~/.config/fish/completions/redlink.fish
  redlink completions powershell | Out-String | Invoke-Expression
  eval (redlink completions elvish | slurp)")]
pub(super) struct CompletionOptions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write manual pages, one for each verb, or print the first
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink man | man -l -
  redlink man /usr/local/share/man/man1; man redlink-serve")]
pub(super) struct ManOptions {
    /// Where to write them; made if it is not there. Without it, redlink.1 goes to standard output
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `redlink completions`.
pub(super) fn completions(options: &CompletionOptions, mut command: Command) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, "redlink", &mut text);
    output::write(&text)?;
    Ok(Exit::Done)
}

/// Runs `redlink man`.
pub(super) fn man(options: &ManOptions, command: Command) -> Done {
    let Some(dir) = &options.dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(command);
        page.render(&mut text)
            .map_err(|e| Failure::failed(format!("can't make the page: {e}")))?;
        output::write(&text)?;
        return Ok(Exit::Done);
    };
    let failed = |e: std::io::Error| Failure::usage(format!("can't write into {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    Ok(Exit::Done)
}
