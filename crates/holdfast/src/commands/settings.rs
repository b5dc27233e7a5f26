//! `holdfast settings`: every setting, its value and where it came from.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::settings::{self, Overrides};

use crate::output::{Advice, Output};
use crate::problems;

/// Print every setting, its value and where it came from.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The config repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    config: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    if !args.config.is_dir() {
        let problem = format!("there is no folder {}", args.config.display());
        return Err(Advice::usage(problem, "give the root of a config repository with --config").into());
    }
    let origins = match settings::load(&args.config, &Overrides::new()) {
        Ok((_, origins)) => origins,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    if out.is_json() {
        out.json(&origins);
    } else {
        let rows = origins
            .into_iter()
            .map(|origin| vec![origin.key, origin.value, origin.from])
            .collect();
        out.table(&["setting", "value", "from"], rows);
    }
    Ok(ExitCode::SUCCESS)
}
