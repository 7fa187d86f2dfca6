//! The command line: one file per verb. Verbs talk to nodes through [`crate::client`] only; `redlink node` alone
//! runs one in this process.

mod args;
mod backup;
mod bench;
mod ca;
mod collect;
mod config;
mod context;
mod demo;
mod exit;
mod family;
mod flush;
mod generate;
mod groups;
mod letter;
mod list;
mod message;
mod node;
mod output;
mod peer;
mod progress;
mod query;
mod relay;
mod serve;
mod status;
mod submit;
mod token;
mod top;
mod trace;
mod web;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{Done, Exit, Failure};
use std::process::ExitCode;

const OVERVIEW: &str = "\
Redlink joins programs on many machines into one mesh of services, with no broker in the middle. A program hands a \
message for a service to the node nearest to it; the node keeps it on disk until a consumer of that service, anywhere \
in the mesh, has room for it, and brings back the reply.";

const EXAMPLES: &str = "\
Examples:
  redlink demo                                 see it work
  redlink node                                 start a node in this directory
  redlink serve wc -- wc -w                    a worker: payload in, reply out
  redlink call wc README.md                    call it, print the reply
  redlink token create                         let another node join
  redlink node --north https://HOST:7411 --token TOKEN

Commands talk to the node of this directory (./.redlink) unless --node, --context or REDLINK_NODE names another; where \
there is none, to that of the context that `redlink context use` has chosen.";

#[derive(Parser, Debug)]
#[command(name = "redlink", version, about = "A mesh of services without a broker", long_about = OVERVIEW)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::TABLE), arg_required_else_help = true)]
#[command(max_term_width = 110)]
struct Cli {
    /// Colour: always, never, or auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_possible_values = true,
        hide_default_value = true,
        display_order = 900
    )]
    color: clap::ColorChoice,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Demo(demo::Options),
    Node(node::Options),
    #[command(subcommand)]
    Config(config::Verb),
    #[command(subcommand)]
    Token(token::Verb),
    #[command(subcommand)]
    Ca(ca::Verb),
    Send(submit::SendOptions),
    Call(submit::CallOptions),
    Serve(serve::Options),
    Collect(collect::Options),
    #[command(subcommand)]
    Message(message::Verb),
    #[command(subcommand)]
    DeadLetter(letter::Verb),
    #[command(subcommand)]
    Service(list::ServiceVerb),
    #[command(subcommand)]
    Consumer(list::ConsumerVerb),
    #[command(subcommand)]
    Peer(peer::Verb),
    #[command(subcommand)]
    Route(list::RouteVerb),
    Query(query::Options),
    Flush(flush::Options),
    Backup(backup::BackupOptions),
    Restore(backup::RestoreOptions),
    Status(status::Options),
    Top(top::Options),
    #[command(subcommand)]
    Context(context::Verb),
    Web(web::Options),
    Bench(bench::Options),
    Completions(generate::CompletionOptions),
    Man(generate::ManOptions),
    #[command(hide = true)]
    Relay(relay::Options),
    // A plural alone is its list.
    #[command(hide = true)]
    Messages(message::ListOptions),
    #[command(hide = true)]
    DeadLetters(letter::ListOptions),
    #[command(hide = true)]
    Services(list::Options),
    #[command(hide = true)]
    Consumers(list::Options),
    #[command(hide = true)]
    Peers(list::Options),
    #[command(hide = true)]
    Tokens(token::ListOptions),
    #[command(hide = true)]
    Routes(list::Options),
    #[command(hide = true)]
    Contexts(context::ListOptions),
}

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    groups::grouped(Cli::command())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    family::follow_parent();
    // Help and complaints about the line itself are written before it is understood.
    let choice = output::choose_colour(std::env::args());
    let parsed = command()
        .color(choice)
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is the reader's choice (`redlink --help | head -1`).
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    match run(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            output::complain(&failure);
            failure.exit
        }
    }
    .into()
}

fn run(cli: Cli) -> Done {
    match cli.verb {
        // These do many things at once.
        Verb::Node(options) => on_threads(node::run(options)),
        Verb::Serve(options) => on_threads(serve::run(options)),
        Verb::Bench(options) => on_threads(bench::run(options)),
        // The rest waits for one thing at a time, and starts faster without threads.
        Verb::Config(verb) => config::run(verb),
        Verb::Context(verb) => context::run(verb),
        Verb::Contexts(options) => context::run(context::Verb::List(options)),
        Verb::Completions(options) => generate::completions(&options, command()),
        Verb::Man(options) => generate::man(&options, command()),
        Verb::Demo(options) => alone(demo::run(options)),
        Verb::Relay(options) => alone(relay::run(options)),
        Verb::Token(verb) => alone(token::run(verb)),
        Verb::Ca(verb) => alone(ca::run(verb)),
        Verb::Tokens(options) => alone(token::run(token::Verb::List(options))),
        Verb::Send(options) => alone(submit::send(options)),
        Verb::Call(options) => alone(submit::call(options)),
        Verb::Collect(options) => alone(collect::run(options)),
        Verb::Message(verb) => alone(message::run(verb)),
        Verb::Messages(options) => alone(message::run(message::Verb::List(options))),
        Verb::DeadLetter(verb) => alone(letter::run(verb)),
        Verb::DeadLetters(options) => alone(letter::run(letter::Verb::List(options))),
        Verb::Service(list::ServiceVerb::List(options)) | Verb::Services(options) => {
            alone(list::services(options))
        }
        Verb::Consumer(list::ConsumerVerb::List(options)) | Verb::Consumers(options) => {
            alone(list::consumers(options))
        }
        Verb::Peer(verb) => alone(peer::run(verb)),
        Verb::Peers(options) => alone(list::peers(options)),
        Verb::Route(list::RouteVerb::List(options)) | Verb::Routes(options) => alone(list::routes(options)),
        Verb::Top(options) => alone(top::run(options)),
        Verb::Backup(options) => alone(backup::backup(options)),
        Verb::Restore(options) => alone(backup::restore(options)),
        Verb::Flush(options) => alone(flush::run(options)),
        Verb::Query(options) => alone(query::run(options)),
        Verb::Status(options) => alone(status::run(options)),
        Verb::Web(options) => alone(web::run(options)),
    }
}

fn on_threads(work: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)?;
    let done = runtime.block_on(work);
    // A blocking read that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    done
}

fn alone(work: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

fn no_runtime(error: std::io::Error) -> Failure {
    Failure::failed(format!("can't start: {error}"))
        .hint("check the limits on open files and threads (ulimit -a)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_summary_and_the_visible_ones_an_example() {
        fn walk(command: &clap::Command) {
            for verb in command.get_subcommands() {
                assert!(verb.get_about().is_some(), "{}", verb.get_name());
                let leaf = !verb.has_subcommands() && !verb.is_hide_set();
                if leaf {
                    let help = verb
                        .get_after_help()
                        .map(|help| help.to_string())
                        .unwrap_or_default();
                    assert!(help.contains("redlink "), "{} has no example", verb.get_name());
                }
                walk(verb);
            }
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_lines_of_the_readme_parse() {
        for line in [
            "redlink demo",
            "redlink demo --exit",
            "redlink node",
            "redlink config check",
            "redlink config check /etc/redlink/redlink.toml --json",
            "redlink config show --origin --json",
            "redlink context add home",
            "redlink context add prod --node https://hub:7411 --ca ca.pem --token-file t --use --replace",
            "redlink context list --json",
            "redlink contexts",
            "redlink context use prod",
            "redlink context use --none",
            "redlink context show",
            "redlink context remove prod",
            "redlink status --context prod",
            "redlink completions bash",
            "redlink man",
            "redlink man dir",
            "redlink --color never status",
            "redlink status --color=always",
            "redlink config show somewhere --listen 0.0.0.0:7411",
            "redlink node --north https://localhost:7411 --token redlink-join-1.x",
            "redlink token create --ttl 10m",
            "redlink ca show --json",
            "redlink ca revoke south",
            "redlink token create --program shop --produce jobs.* --produce mail --consume wc --ttl 90d",
            "redlink token create --program ops --administer --json",
            "redlink token create --program prom --watch",
            "redlink token list",
            "redlink tokens --json",
            "redlink token revoke 0123456789abcdef fedcba9876543210",
            "redlink send wc README.md --priority 5 --ett none --send-only",
            "redlink send wc -",
            "redlink call wc --wait 30s --content-type text/plain",
            "redlink serve wc -- wc -w",
            "redlink serve wc --concurrency 4 --name w1 -- sh -c true",
            "redlink collect 0000000000000abc-17",
            "redlink collect --producer shop --json --wait 0s",
            "redlink collect --producer shop --follow",
            "redlink send wc README.md --producer shop",
            "redlink bench --batch 64",
            "redlink message list",
            "redlink messages --json",
            "redlink message show 0000000000000abc-17",
            "redlink message trace 0000000000000abc-17 --json",
            "redlink message trace 0000000000000abc-17 --here",
            "redlink message cancel 0000000000000abc-17",
            "redlink dead-letter list --service wc --max 5 --after 17",
            "redlink dead-letters --json",
            "redlink dead-letter show 0000000000000abc-17 --payload",
            "redlink dead-letter requeue 0000000000000abc-17 0000000000000abc-18",
            "redlink dead-letter requeue 0000000000000abc-17 --payload fixed.json --content-type application/json --to wc2 --ett 1h",
            "redlink dead-letter requeue --all --service wc --to wc2",
            "redlink dead-letter delete 0000000000000abc-17",
            "redlink dead-letter delete --all",
            "redlink service list",
            "redlink services",
            "redlink consumers",
            "redlink peer list --node https://h:7411",
            "redlink peers",
            "redlink route list --json",
            "redlink routes",
            "redlink peer add https://hub:7411",
            "redlink peer add https://hub --name hub --redistribute false --import jobs.* --import !* --export a.? --wait 0s",
            "redlink peer set south-1 --accept-from-south false --export jobs.*",
            "redlink peer remove hub",
            "redlink peer remove https://[::1]:5",
            "redlink status --json",
            "redlink query SELECT",
            "redlink flush --service wc --dry-run",
            "redlink flush --all --json",
            "redlink backup a.tar --json",
            "redlink backup -",
            "redlink restore a.tar",
            "redlink restore - --dir d --name other --json",
            "redlink top",
            "redlink top --once --interval 200ms",
            "redlink web",
            "redlink web --ttl 30m --json",
            "redlink bench --in-flight 64 --payload 1KiB --duration 3s",
            "redlink bench --links 2 --in-flight 256",
            "redlink relay 127.0.0.1:1 127.0.0.1:2",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "redlink frobnicate",
            "redlink context use",
            "redlink context use a --none",
            "redlink context add a/b",
            "redlink status --context a --node b",
            "redlink status --context a/b",
            "redlink completions csh",
            "redlink send",
            "redlink send a/b",
            "redlink send wc --priority 256",
            "redlink send wc --ett 30",
            "redlink serve wc",
            "redlink serve wc --concurrency 0 -- true",
            "redlink collect 17",
            "redlink collect",
            "redlink collect --follow",
            "redlink collect 0000000000000abc-17 --producer shop",
            "redlink collect --producer a/b",
            "redlink bench --batch 0",
            "redlink bench --batch 1025",
            "redlink ca revoke",
            "redlink ca revoke a/b",
            "redlink status --node http://h",
            "redlink bench --messages 5 --duration 3s",
            "redlink bench --links 8",
            "redlink node --token x",
            "redlink peer add hub",
            "redlink top --interval 1ms",
            "redlink top --json",
            "redlink web --ttl 30",
            "redlink peer add http://hub",
            "redlink peer add https://hub --import a/b",
            "redlink peer add https://hub --redistribute maybe",
            "redlink peer set hub --accept-from-south false --redistribute true",
            "redlink peer remove a/b",
            "redlink peer remove",
            "redlink node --node x",
            "redlink demo --json",
            "redlink token create --produce wc",
            "redlink token create --administer",
            "redlink token create --program a/b --produce wc",
            "redlink token create --program a --produce a/b",
            "redlink token create --program a --consume -x",
            "redlink token revoke",
            "redlink token revoke redlink-program-1.x",
            "redlink message list --max 0",
            "redlink query",
            "redlink flush",
            "redlink backup",
            "redlink restore a.tar --name a/b",
            "redlink restore a.tar --node x",
            "redlink flush --all --service wc",
            "redlink dead-letter requeue",
            "redlink dead-letter requeue --service wc",
            "redlink dead-letter requeue --all 0000000000000abc-17",
            "redlink dead-letter requeue --all --payload x",
            "redlink dead-letter delete",
            "redlink dead-letter show 0000000000000abc-17 --payload --json",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr(), "{line}");
        }
        let bare = parse("redlink").unwrap_err();
        assert_eq!(bare.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    }
}
