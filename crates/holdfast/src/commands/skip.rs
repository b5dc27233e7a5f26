//! `holdfast skip`: take one waiting send out of its lane, so that those behind it go on.

use std::process::ExitCode;

use api::client::escape;
use api::wire::{Empty, Message, Send, Skipped};
use model::{MessageId, SendId};

use super::remote::{Actor, Node, explain};
use crate::output::{Advice, BAD, Output, paint};

/// Take one waiting send of a message out of its lane: it becomes a dead letter, and the lane goes on.
///
/// The partner does not get it, unless it is replayed later, out of its order. Ask the partner first.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The message, such as 3-1042.
    #[arg(value_name = "MESSAGE")]
    id: MessageId,
    /// Its send that waits for this outbound.
    #[arg(
        long,
        value_name = "OUTBOUND",
        required_unless_present = "send",
        conflicts_with = "send"
    )]
    to: Option<String>,
    /// This send, such as 3-1050, where several wait.
    #[arg(long, value_name = "SEND")]
    send: Option<SendId>,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    actor: Actor,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    let message = format!("/api/v1/messages/{}", escape(&args.id.to_string()));
    let send = match (&args.to, args.send) {
        (_, Some(send)) => send,
        (to, None) => {
            let known: Message = client.get_json(&message).await.map_err(explain)?;
            waiting(args.id, &known.sends, to.as_deref().unwrap_or_default())?
        }
    };
    let path = format!("{message}/sends/{}/skip", escape(&send.to_string()));
    let skipped: Skipped = client
        .post_json(&path, &args.actor.name(), &Empty {})
        .await
        .map_err(explain)?;
    if out.is_json() {
        out.json(&skipped);
        return Ok(ExitCode::SUCCESS);
    }
    out.line(&format!(
        "send {} of message {} is {}, and its lane goes on",
        skipped.skipped,
        args.id,
        paint(BAD, "a dead letter")
    ));
    out.remark(&format!(
        "send it after all, out of its order: holdfast replay --dead-letters --message {}",
        args.id
    ));
    Ok(ExitCode::SUCCESS)
}

/// The one send that waits for this outbound.
fn waiting(id: MessageId, sends: &[Send], to: &str) -> anyhow::Result<SendId> {
    let waits = |send: &&Send| send.destination == to && send.state == "waiting";
    let found: Vec<SendId> = sends.iter().filter(waits).map(|send| send.id).collect();
    if let [only] = found[..] {
        return Ok(only);
    }
    let several: Vec<String> = found.iter().map(ToString::to_string).collect();
    let text = if several.is_empty() {
        format!("no send of message {id} waits for `{to}`")
    } else {
        format!(
            "{} sends of message {id} wait for `{to}`: {}",
            several.len(),
            several.join(", ")
        )
    };
    let hint = if several.is_empty() {
        "`holdfast messages show` says what became of each of its sends"
    } else {
        "name one with --send"
    };
    Err(Advice::usage(text, hint).into())
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

    fn send(id: &str, destination: &str, state: &str) -> Send {
        Send {
            id: id.parse().unwrap(),
            handler: "relay".to_owned(),
            destination: destination.to_owned(),
            state: state.to_owned(),
            attempts: None,
            transformed: false,
            reply: None,
        }
    }

    #[test]
    fn the_one_send_that_waits_for_the_outbound_is_meant() {
        let sends = [
            send("3-8", "lab", "delivered"),
            send("3-9", "lab", "waiting"),
            send("3-10", "ward", "waiting"),
            send("3-11", "ward", "waiting"),
        ];
        let id = "3-7".parse().unwrap();
        let check = |to: &str| waiting(id, &sends, to).map_err(|error| error.to_string());
        assert_eq!(check("lab"), Ok("3-9".parse().unwrap()));
        for (to, words) in [("ward", "3-10, 3-11"), ("nobody", "no send of message 3-7")] {
            assert!(check(to).is_err_and(|text| text.contains(words)), "{to}");
        }
    }

    #[test]
    fn a_send_is_named_by_its_number_or_its_outbound() {
        for (line, taken) in [
            ("3-7 --to lab", true),
            ("3-7 --send 3-9", true),
            ("3-7", false),
            ("3-7 --to lab --send 3-9", false),
            ("nonsense --to lab", false),
        ] {
            let words = std::iter::once("skip").chain(line.split_whitespace());
            assert_eq!(Line::try_parse_from(words).is_ok(), taken, "{line}");
        }
    }
}
