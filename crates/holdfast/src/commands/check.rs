//! `holdfast check`: finds every problem of a config repository without running it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use engine::settings::{self, Overrides};
use model::problem::Severity;

use crate::output::Output;
use crate::problems;

/// Check a config repository: all problems at once, each with its place and what to do.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The config repository.
    #[arg(value_name = "DIR", default_value = ".")]
    config: PathBuf,
    /// Which environment to check for.
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ENV", default_value = "dev")]
    env: String,
    /// Warnings fail the check too.
    #[arg(long)]
    deny_warnings: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut found = settings::load(&args.config, &Overrides::new())
        .err()
        .unwrap_or_default();
    let project = engine::project::load(&args.config, &args.env);
    match &project {
        Ok(project) => found.extend(project.warnings.iter().cloned()),
        Err(problems) => found.extend(problems.iter().cloned()),
    }
    let failed = found
        .iter()
        .any(|problem| problem.severity == Severity::Error || args.deny_warnings);
    if out.is_json() {
        let fingerprint = project.as_ref().ok().map(|project| &project.fingerprint);
        let posture = project.as_ref().ok().map(|project| project.posture);
        out.json(&serde_json::json!({ "ok": !failed, "problems": found, "fingerprint": fingerprint, "posture": posture }));
    } else if !found.is_empty() {
        problems::show(out, &found);
    }
    if failed {
        return Ok(ExitCode::from(problems::REFUSED));
    }
    if let (Ok(project), false) = (project, out.is_json()) {
        let graph = &project.graph;
        out.line(&format!(
            "ok: {} inbound, {} outbound, {} routers, {} handlers for `{}` ({}) in {} ms; fingerprint {}",
            graph.inbounds.len(),
            graph.outbounds.len(),
            graph.routers.len(),
            graph.handlers.len(),
            project.environment,
            project.posture,
            started.elapsed().as_millis(),
            &project.fingerprint[..project.fingerprint.len().min(12)],
        ));
    }
    Ok(ExitCode::SUCCESS)
}
