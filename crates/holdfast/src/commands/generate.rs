//! `holdfast generate`: made-up messages for tests.

use std::process::ExitCode;

use crate::output::Output;

/// Generate.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[arg(long)]
    kind: Option<String>,
}

/// Runs the command.
pub(crate) fn run(_args: &Args, _out: &Output) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
