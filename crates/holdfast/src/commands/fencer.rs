//! `holdfast fencer`: started by a node of a cluster beside itself; ends that node when its time to lead has passed and
//! it is still there. Not for people.

use std::process::ExitCode;

use anyhow::Context;

use crate::output::Output;

/// End a node that outlives its lease (a node starts this itself).
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The node's process number.
    #[arg(long)]
    pid: i32,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let ended = cluster::fencer::watch_over(args.pid, std::io::stdin())
        .with_context(|| format!("the fencer of process {} failed", args.pid))?;
    if ended {
        let text = format!("process {} outlived its lease and was ended", args.pid);
        out.error(&anyhow::anyhow!(text));
    }
    Ok(ExitCode::SUCCESS)
}
