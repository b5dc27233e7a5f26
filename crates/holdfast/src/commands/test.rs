//! `holdfast test`: runs the `@test` functions of a config repository.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::Output;
use crate::problems;

/// Run the `@test` functions of a config repository.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The config repository.
    #[arg(value_name = "DIR", default_value = ".")]
    config: PathBuf,
    /// Which environment.
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ENV", default_value = "dev")]
    env: String,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let project = match engine::project::load(&args.config, &args.env) {
        Ok(project) => project,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    let results = project.program.run_tests(args.filter.as_deref());
    // One document for machines, whether or not there is anything to say in it.
    const NONE: &str = "no test was found: mark a function with @test, or change --filter";
    let error = results.is_empty().then_some(NONE);
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    if out.is_json() {
        let rows: Vec<_> = results
            .iter()
            .map(|result| {
                serde_json::json!({
                    "name": result.name,
                    "location": result.location,
                    "passed": result.failure.is_none(),
                    "failure": result.failure,
                    "took_us": u64::try_from(result.took.as_micros()).unwrap_or(u64::MAX),
                })
            })
            .collect();
        out.json(&serde_json::json!({ "passed": results.len() - failed, "failed": failed, "tests": rows, "error": error }));
    } else {
        for result in &results {
            match &result.failure {
                None => out.line(&format!("ok    {} ({})", result.name, result.location)),
                Some(failure) => {
                    out.line(&format!("FAIL  {} ({})", result.name, result.location));
                    out.text(failure);
                }
            }
        }
        if !results.is_empty() {
            out.line(&format!("{} passed, {failed} failed", results.len() - failed));
        }
    }
    if let (Some(error), false) = (error, out.is_json()) {
        anyhow::bail!(error);
    }
    Ok(if failed == 0 && error.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
