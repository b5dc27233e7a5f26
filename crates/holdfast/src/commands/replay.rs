//! `holdfast replay`: put one message, or dead letters, back into a running node.

use std::process::ExitCode;

use api::client::escape;
use api::wire::{From, ReplayDeadLetters, ReplayMessage, Replayed};
use model::{MessageId, Stage};

use super::remote::{Actor, Node, explain};
use crate::output::{BAD, Output, paint, thousands};

/// Replay one message from a stage, or dead letters each from where it died.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The message, such as 3-1042.
    #[arg(
        required_unless_present = "dead_letters",
        conflicts_with = "dead_letters",
        value_name = "MESSAGE"
    )]
    id: Option<MessageId>,
    /// From where: its router (ingress), its handlers (routed), or what was sent (outbound). Without it:
    /// routed with --handler, outbound with --to, otherwise ingress.
    #[arg(long, value_enum, conflicts_with = "dead_letters")]
    from: Option<Place>,
    /// Run this handler; can be repeated. Without it: those that the router named last.
    #[arg(long = "handler", value_name = "NAME", conflicts_with_all = ["dead_letters", "to"])]
    handlers: Vec<String>,
    /// Send to this outbound only; it may be one that did not get the message before.
    #[arg(long, value_name = "OUTBOUND", conflicts_with = "dead_letters")]
    to: Option<String>,
    /// Replay dead letters: all, or those that the filters below leave.
    #[arg(long)]
    dead_letters: bool,
    /// Only those that died at this stage.
    #[arg(long, value_enum, requires = "dead_letters", conflicts_with = "id")]
    stage: Option<Place>,
    /// Only those that died at this inbound, handler or outbound.
    #[arg(long, value_name = "NAME", requires = "dead_letters", conflicts_with = "id")]
    at: Option<String>,
    /// Only those of this message.
    #[arg(
        long,
        value_name = "MESSAGE",
        requires = "dead_letters",
        conflicts_with = "id"
    )]
    message: Option<MessageId>,
    /// Only count them.
    #[arg(long, requires = "dead_letters", conflicts_with = "id")]
    preview: bool,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    actor: Actor,
}

/// A stage.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ingress,
    Routed,
    Outbound,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    let actor = args.actor.name();
    let done: Replayed = match args.id {
        Some(id) => {
            let path = format!("/api/v1/messages/{}/replay", escape(&id.to_string()));
            let request = args.one();
            client.post_json(&path, &actor, &request).await.map_err(explain)?
        }
        None => {
            let request = args.many();
            client
                .post_json("/api/v1/dead-letters/replay", &actor, &request)
                .await
                .map_err(explain)?
        }
    };
    tell(out, args.id, &done);
    Ok(if done.skipped.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(crate::cli::FAILED)
    })
}

impl Args {
    fn one(&self) -> ReplayMessage {
        let from = match self.from {
            Some(Place::Ingress) => From::Ingress,
            Some(Place::Routed) => From::Routed,
            Some(Place::Outbound) => From::Outbound,
            None if !self.handlers.is_empty() => From::Routed,
            None if self.to.is_some() => From::Outbound,
            None => From::Ingress,
        };
        ReplayMessage {
            from,
            handlers: self.handlers.clone(),
            to: self.to.clone(),
        }
    }

    fn many(&self) -> ReplayDeadLetters {
        let stage = self.stage.map(|place| match place {
            Place::Ingress => Stage::Ingress,
            Place::Routed => Stage::Routed,
            Place::Outbound => Stage::Outbound,
        });
        ReplayDeadLetters {
            stage,
            at: self.at.clone(),
            message: self.message,
            preview: self.preview,
        }
    }
}

fn tell(out: &Output, id: Option<MessageId>, done: &Replayed) {
    if out.is_json() {
        out.json(done);
        return;
    }
    let rows = thousands(done.rows);
    match (id, done.preview) {
        (_, true) if done.rows == 1 => out.line("1 dead letter would be replayed"),
        (_, true) => out.line(&format!("{rows} dead letters would be replayed")),
        (Some(id), false) => {
            out.line(&format!("message {id}: {rows} put back"));
            out.remark(&format!("see what becomes of it: holdfast messages show {id}"));
        }
        (None, false) => out.line(&format!("{rows} put back")),
    }
    for skipped in &done.skipped {
        out.line(&format!("{} {skipped}", paint(BAD, "not replayed:")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("replay").chain(line.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn the_stage_follows_from_what_else_is_said() {
        for (line, from) in [
            ("3-7", From::Ingress),
            ("3-7 --handler relay --handler split", From::Routed),
            ("3-7 --to lab", From::Outbound),
            ("3-7 --from routed", From::Routed),
            ("3-7 --from outbound", From::Outbound),
        ] {
            assert_eq!(parse(line).unwrap().one().from, from, "{line}");
        }
    }

    #[test]
    fn one_message_and_many_dead_letters_do_not_mix() {
        for line in [
            "",
            "nonsense",
            "3-7 --dead-letters",
            "3-7 --preview",
            "3-7 --stage routed",
            "--dead-letters --to lab",
            "--dead-letters --from ingress",
            "3-7 --handler relay --to lab",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let many = parse("--dead-letters --stage outbound --at lab --message 3-7 --preview")
            .unwrap()
            .many();
        assert_eq!(
            (many.stage, many.at.as_deref(), many.preview),
            (Some(Stage::Outbound), Some("lab"), true)
        );
        assert!(!parse("--dead-letters").unwrap().many().preview);
    }
}
