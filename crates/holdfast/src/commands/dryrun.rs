//! `holdfast dryrun`: what the configuration would do with a message, with a before/after difference.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use engine::dryrun::{self, DryRun, DryRunError};
use model::{Clock, SystemClock};
use similar::{ChangeTag, TextDiff};

use crate::output::{Advice, Output};
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
    let dry = dryrun::run(&project, &args.inbound, body.into(), SystemClock.now());
    let dry = dry.map_err(|error| match &error {
        DryRunError::UnknownInbound { known, .. } => {
            let hint = match known.as_slice() {
                [] => "the configuration declares none".to_owned(),
                known => format!("known: {}", known.join(", ")),
            };
            Advice::usage(error.to_string(), hint).into()
        }
        DryRunError::Unreadable(_) => anyhow::Error::new(error),
    })?;
    if out.is_json() {
        out.json(&dry);
    } else {
        show(&dry, out);
    }
    let failed =
        dry.refusal.is_some() || dry.error.is_some() || dry.runs.iter().any(|run| run.error.is_some());
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
    std::fs::read(file).map_err(|error| {
        let problem = format!("{} cannot be read", file.display());
        anyhow::Error::new(error).context(Advice::usage(
            problem,
            "give the path of a file with one message, or -",
        ))
    })
}

fn show(dry: &DryRun, out: &Output) {
    if let Some(refusal) = &dry.refusal {
        out.line(&format!(
            "{}: strict: answered {} and not run:",
            dry.inbound, refusal.code
        ));
        for reason in &refusal.reasons {
            out.line(&format!("  {reason}"));
        }
        return;
    }
    match &dry.error {
        None if dry.handlers.is_empty() => out.line(&format!(
            "{}: router {} names no handler: unrouted",
            dry.inbound, dry.router
        )),
        None => out.line(&format!(
            "{}: router {} -> {}",
            dry.inbound,
            dry.router,
            dry.handlers.join(", ")
        )),
        Some(fault) => out.text(fault),
    }
    for run in &dry.runs {
        match &run.error {
            Some(fault) => out.line(&format!("\nhandler {}: ERROR\n{fault}", run.handler)),
            None if run.sends.is_empty() => out.line(&format!("\nhandler {}: filtered", run.handler)),
            None => {
                for send in &run.sends {
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
