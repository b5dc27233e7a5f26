//! `holdfast dryrun`: what the configuration would do with a message, with a before/after difference.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use engine::dryrun::{self, DryRun};
use model::{Clock, SystemClock};
use similar::{ChangeTag, TextDiff};

use crate::output::Output;
use crate::problems;

/// Show what the configuration would do with a message. Nothing is stored, nothing is sent.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The inbound that would receive it.
    #[arg(value_name = "INBOUND")]
    inbound: String,
    /// File with one message; `-` reads the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The config repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    config: PathBuf,
    /// Which environment.
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ENV", default_value = "dev")]
    env: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let project = match engine::project::load(&args.config, &args.env) {
        Ok(project) => project,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    let body = read(&args.file)?;
    let dry = dryrun::run(&project, &args.inbound, body.into(), SystemClock.now())?;
    if out.is_json() {
        out.json(&dry);
    } else {
        show(&dry, out);
    }
    let failed = dry.handlers.is_err() || dry.runs.iter().any(|run| run.sends.is_err());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin()
            .read_to_end(&mut body)
            .context("the standard input cannot be read")?;
        return Ok(body);
    }
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn show(dry: &DryRun, out: &Output) {
    match &dry.handlers {
        Ok(handlers) if handlers.is_empty() => out.line(&format!(
            "{}: router {} names no handler: unrouted",
            dry.inbound, dry.router
        )),
        Ok(handlers) => out.line(&format!(
            "{}: router {} -> {}",
            dry.inbound,
            dry.router,
            handlers.join(", ")
        )),
        Err(fault) => out.text(fault),
    }
    for run in &dry.runs {
        match &run.sends {
            Err(fault) => out.line(&format!("\nhandler {}: ERROR\n{fault}", run.handler)),
            Ok(sends) if sends.is_empty() => out.line(&format!("\nhandler {}: filtered", run.handler)),
            Ok(sends) => {
                for send in sends {
                    let note = if send.changed { "" } else { " (unchanged)" };
                    out.line(&format!(
                        "\nhandler {} -> {}{note}",
                        run.handler, send.destination
                    ));
                    difference(&send.before, &send.after, out);
                }
            }
        }
    }
    for line in &dry.log {
        out.line(&format!("log: {line}"));
    }
}

fn difference(before: &str, after: &str, out: &Output) {
    let diff = TextDiff::from_lines(before, after);
    for change in diff.iter_all_changes() {
        let text = change.value().trim_end_matches('\n');
        match change.tag() {
            ChangeTag::Equal => out.line(&format!("  {text}")),
            ChangeTag::Delete => out.removed(&format!("- {text}")),
            ChangeTag::Insert => out.added(&format!("+ {text}")),
        }
    }
}
