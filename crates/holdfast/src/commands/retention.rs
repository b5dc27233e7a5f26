//! `holdfast retention`: what a running node may remove, and removing it now.

use std::process::ExitCode;

use api::wire::{Retention, RunRetention};

use super::remote::{Actor, Node, explain};
use crate::output::{Output, thousands};

/// Remove what is past its days on a running node now, or show what would go and why the rest stays.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Change nothing: only show.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    actor: Actor,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    let request = RunRetention {
        dry_run: args.dry_run,
    };
    let done: Retention = client
        .post_json("/api/v1/retention", &args.actor.name(), &request)
        .await
        .map_err(explain)?;
    if out.is_json() {
        out.json(&done);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = done.segments.iter().map(|segment| {
        vec![
            segment.number.to_string(),
            segment.opened_at.to_string(),
            thousands(segment.bytes >> 10),
            segment.state.clone(),
            thousands(segment.messages),
            thousands(segment.expired),
            thousands(segment.bodies_expired),
            thousands(segment.open),
            segment.reason.clone(),
        ]
    });
    out.table(
        &[
            "segment",
            "since",
            "KiB",
            "state",
            "messages",
            "past",
            "bodies past",
            "open",
            "why it stays",
        ],
        rows.collect(),
    );
    let letters = thousands(done.dead_letters);
    if done.dry_run {
        out.line(&format!(
            "{letters} dead letters would be given up; nothing was changed"
        ));
    } else {
        let freed: u64 = done.segments.iter().map(|segment| segment.freed).sum();
        out.line(&format!(
            "{letters} dead letters given up, {} KiB freed",
            thousands(freed >> 10)
        ));
    }
    Ok(ExitCode::SUCCESS)
}
