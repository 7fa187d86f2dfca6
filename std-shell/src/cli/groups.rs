//! The list of verbs in `redlink --help`, by what they are for.

use clap::Command;

/// What each group is for, and its verbs.
const GROUPS: &[(&str, &[&str])] = &[
    ("Begin", &["demo", "node", "config", "context"]),
    (
        "Messages",
        &["send", "call", "serve", "collect", "message", "dead-letter"],
    ),
    (
        "Look",
        &[
            "status", "top", "service", "consumer", "peer", "route", "query", "web", "bench",
        ],
    ),
    ("Who may what", &["token", "ca"]),
    ("Keep", &["backup", "restore", "flush"]),
    ("This shell", &["completions", "man", "help"]),
];

/// The same command, whose help has its verbs in groups.
pub(super) fn grouped(command: Command) -> Command {
    let verbs: Vec<(String, String)> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            (verb.get_name().to_owned(), about)
        })
        .chain([("help".to_owned(), "Explain a verb: redlink help VERB".to_owned())])
        .collect();
    let mut list = String::new();
    let mut add = |heading: &str, names: &mut dyn Iterator<Item = &(String, String)>| {
        let lines: String = names
            .map(|(name, about)| format!("  {name:<12} {about}\n"))
            .collect();
        if !lines.is_empty() {
            list += &format!("{heading}:\n{lines}\n");
        }
    };
    for (heading, names) in GROUPS {
        let found = names
            .iter()
            .filter_map(|name| verbs.iter().find(|(verb, _)| verb == name));
        add(heading, &mut found.into_iter());
    }
    let known = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    add("More", &mut verbs.iter().filter(|(name, _)| !known(name)));
    // What is in braces is clap's to fill in.
    let list = list.replace(['{', '}'], "");
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}{{after-help}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::command;

    /// Lines that are wider than this are broken by a terminal of 80 columns, where nobody wants it.
    const WIDTH: usize = 79;

    #[test]
    fn each_verb_is_there_once_and_the_list_fits_a_narrow_terminal() {
        let mut whole = command();
        let help = whole.render_long_help().to_string();
        for verb in whole.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let start = format!("  {} ", verb.get_name());
            let lines: Vec<&str> = help.lines().filter(|line| line.starts_with(&start)).collect();
            assert_eq!(lines.len(), 1, "{start}: {lines:?}");
            assert!(
                lines[0].chars().count() <= WIDTH,
                "its summary is too long: {}",
                lines[0]
            );
        }
    }

    #[test]
    fn examples_fit_a_narrow_terminal() {
        fn walk(verb: &clap::Command) {
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", verb.get_name());
            }
            verb.get_subcommands().for_each(walk);
        }
        walk(&command());
    }
}
