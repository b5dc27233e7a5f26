//! The command line as data: every command, the options they share, and what exit codes mean.

use clap::{Parser, Subcommand, ValueEnum};

use crate::output::Advice;

use crate::commands::{
    check, cluster, completions, connections, demo, drill, dryrun, fencer, generate, graph, init, load,
    messages, receive, replay, retention, send, serve, settings, skip, test,
};

/// Exit code of a command whose work failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a node that lost the lease of its cluster: start it again, and it is a standby.
pub(crate) const FENCED: u8 = 75;
/// Exit code of a command that was called, or configured, in a way it cannot work with.
pub(crate) const USAGE: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything asked for was done
  1  the work failed: a message was refused, something is missing, a test did not pass
  2  the arguments or the configuration cannot be used; nothing was done
  75 a node lost the lease of its cluster: started again, it is a standby";

/// An integration engine for healthcare messages.
#[derive(Parser, Debug)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(after_help = EXIT_CODES)]
    Demo(demo::Args),
    #[command(after_help = EXIT_CODES)]
    Init(init::Args),
    #[command(after_help = EXIT_CODES)]
    Check(check::Args),
    #[command(after_help = EXIT_CODES)]
    Graph(graph::Args),
    #[command(after_help = EXIT_CODES)]
    Dryrun(dryrun::Args),
    #[command(after_help = EXIT_CODES)]
    Test(test::Args),
    #[command(after_help = EXIT_CODES)]
    Serve(serve::Args),
    #[command(after_help = EXIT_CODES)]
    Settings(settings::Args),
    #[command(after_help = EXIT_CODES)]
    Connections(connections::Args),
    #[command(after_help = EXIT_CODES)]
    Cluster(cluster::Args),
    #[command(after_help = EXIT_CODES)]
    Drill(drill::Args),
    #[command(hide = true, after_help = EXIT_CODES)]
    Fencer(fencer::Args),
    #[command(after_help = EXIT_CODES)]
    Messages(messages::Args),
    #[command(after_help = EXIT_CODES)]
    Replay(replay::Args),
    #[command(after_help = EXIT_CODES)]
    Skip(skip::Args),
    #[command(after_help = EXIT_CODES)]
    Retention(retention::Args),
    #[command(after_help = EXIT_CODES)]
    Send(send::Args),
    #[command(after_help = EXIT_CODES)]
    Receive(receive::Args),
    #[command(after_help = EXIT_CODES)]
    Generate(generate::Args),
    #[command(after_help = EXIT_CODES)]
    Load(Box<load::Args>),
    #[command(after_help = EXIT_CODES)]
    Completions(completions::Args),
}

/// The parser's words about arguments that it refuses, as an error like any other.
pub(crate) fn refusal(rendered: &str) -> anyhow::Error {
    const HINT: &str = "see what the command takes: add --help";
    let paragraphs: Vec<&str> = rendered.split("\n\n").map(str::trim).collect();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(problem) = paragraphs.first().and_then(|text| text.strip_prefix("error: ")) else {
        // Without any command it shows its help.
        return Advice::usage("no command is given", HINT).into();
    };
    let tip = paragraphs.iter().find_map(|text| text.strip_prefix("tip: "));
    Advice::usage(words(problem), tip.map_or_else(|| HINT.to_owned(), words)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_contradicts_nothing() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_its_exit_codes() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Exit codes"),
                "`{}` needs after_help = EXIT_CODES",
                command.get_name()
            );
        }
    }

    #[test]
    fn a_refusal_says_in_one_line_what_is_wrong_and_what_to_do() {
        for (line, problem) in [
            (
                "send a.hl7 --to bogus",
                "invalid value 'bogus' for '--to <HOST:PORT>'",
            ),
            ("sned", "unrecognized subcommand 'sned'"),
            ("send", "the following required arguments were not provided: --to"),
            ("", "no command is given"),
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("holdfast").chain(line.split_whitespace()));
            let error = refusal(&parsed.unwrap_err().render().to_string());
            let text = error.to_string();
            assert!(
                text.starts_with(problem) && !text.contains('\n'),
                "{line}: {text}"
            );
            assert!(Advice::is_usage(&error));
        }
    }

    #[test]
    fn arguments_are_taken_or_refused() {
        for (line, taken) in [
            ("send a.hl7 --to localhost:2575", true),
            (
                "send - --to localhost:2575 --repeat 3 --timeout 500ms --batch whole --json",
                true,
            ),
            ("send a.hl7", false),
            ("send a.hl7 --to localhost:2575 --timeout soon", false),
            (
                "receive --port 2575 --nak AE:10% --nak AR:first:3 --drop every:7 --delay 50ms",
                true,
            ),
            ("receive --port 99999", false),
            ("receive --nak AA", false),
            ("receive --nak AE:150%", false),
            (
                "load --to a:1,b:2 --lanes 10 --rate 500 --duration 30s --sink 7001,7002 --fanout 2",
                true,
            ),
            (
                "load --to a:1 --window 8 --count 100 --size 2048 --kind mixed",
                true,
            ),
            ("load --to a:1 --rate 5 --window 8", false),
            ("load --to a:1 --count 5 --duration 1s", false),
            ("load --to a:1 --fanout 2", false),
            ("load --lanes 2", false),
            ("load --to bogus", false),
            ("load --to a:1,bogus", false),
            ("send a.hl7 --to bogus", false),
            ("send a.hl7 --to :2575", false),
            ("send a.hl7 --to a:0", false),
            ("send a.hl7 --to a:99999", false),
            ("send a.hl7 --to [::1]:2575", true),
            (
                "generate --kind ADT^A01 --count 10 --seed 7 --size 2048 --hl7-version 2.3 --out -",
                true,
            ),
            ("generate --count many", false),
            ("", false),
            ("sned", false),
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("holdfast").chain(line.split_whitespace()));
            assert_eq!(
                parsed.is_ok(),
                taken,
                "holdfast {line}: {:?}",
                parsed.err().map(|e| e.to_string())
            );
        }
    }
}
