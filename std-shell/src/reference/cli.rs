//! The help of every verb.

use crate::cli;
use std::fmt::Write;

pub(super) fn text() -> String {
    let mut text =
        "# Command line\n\nWhat `redlink help VERB` says of each verb. `redlink man` has it as pages, \
                    `redlink completions` completes it in your shell.\n"
            .to_owned();
    let mut command = cli::command();
    command.build();
    verbs(&mut text, &mut command);
    text
}

fn verbs(text: &mut String, command: &mut clap::Command) {
    let shown: Vec<String> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for name in shown {
        let Some(verb) = command.find_subcommand_mut(&name) else {
            continue;
        };
        if verb.has_subcommands() {
            verbs(text, verb);
            continue;
        }
        let title = verb.get_bin_name().unwrap_or(&name).to_owned();
        let help = verb.clone().term_width(100).render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        writeln!(
            text,
            "\n## {title}\n\n```text\n{}\n```",
            help.join("\n").trim_end()
        )
        .unwrap();
    }
}
