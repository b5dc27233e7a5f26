//! `holdfast init`: writes a config repository to start from.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::output::Output;
use crate::sample;

/// Write a sample config repository: three feeds with tests, and stubs for your editor.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Only write `holdfast.pyi` again (after an upgrade).
    #[arg(long)]
    stubs: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let directory = args.directory.display();
    let mut written = Vec::new();
    std::fs::create_dir_all(&args.directory)
        .with_context(|| format!("cannot make the folder {directory}"))?;
    if args.stubs {
        sample::put_stub(&args.directory, &mut written)
    } else {
        sample::write(&args.directory).map(|files| written = files)
    }
    .with_context(|| format!("cannot write into {directory}: is it yours, and is there room?"))?;
    if out.is_json() {
        out.json(&serde_json::json!({ "written": written }));
        return Ok(ExitCode::SUCCESS);
    }
    for path in &written {
        out.line(&format!("wrote {}", args.directory.join(path).display()));
    }
    if !args.stubs {
        out.line("");
        out.line("Next:");
        out.line(&format!("  holdfast check {directory}"));
        out.line(&format!("  holdfast test {directory}"));
        out.line(&format!("  holdfast graph {directory}"));
        out.line(&format!("  holdfast serve --config {directory} --env dev"));
    }
    Ok(ExitCode::SUCCESS)
}
