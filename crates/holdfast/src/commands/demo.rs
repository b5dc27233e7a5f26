//! `holdfast demo`: the whole product in one minute, on this machine, with a crash in the middle.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::demo;
use crate::output::Output;

/// Show the whole product in a minute: a node, partners, 10,000 messages, `kill -9` half way, and a
/// reconciliation of every message.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// How many messages to send.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    messages: u64,
    /// Where the sample config repository and the store are written; replaced at each run.
    #[arg(long, value_name = "DIR", default_value = ".holdfast/demo")]
    directory: PathBuf,
    /// Do not crash the node.
    #[arg(long)]
    no_crash: bool,
    /// Remove the directory at the end.
    #[arg(long)]
    remove: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let plan = demo::Plan {
        messages: args.messages,
        directory: args.directory,
        crash: !args.no_crash,
        remove: args.remove,
    };
    let report = demo::run(&plan, out).await?;
    Ok(if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
