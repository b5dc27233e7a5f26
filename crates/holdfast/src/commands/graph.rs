//! `holdfast graph`: draws the wiring of a config repository.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::Output;
use crate::problems;

/// Draw the graph: what flows from where to where.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The config repository.
    #[arg(value_name = "DIR", default_value = ".")]
    config: PathBuf,
    /// Which environment.
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ENV", default_value = "dev")]
    env: String,
    /// As what.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Form {
    /// An indented tree.
    Text,
    /// A Mermaid flowchart, for documents.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
    /// Items and edges.
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let project = match engine::project::load(&args.config, &args.env) {
        Ok(project) => project,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    let picture = engine::picture::of(&project.graph);
    match args.format {
        _ if out.is_json() => out.json(&picture),
        Form::Json => out.json(&picture),
        Form::Text => out.text(&picture.text()),
        Form::Mermaid => out.text(&picture.mermaid()),
        Form::Dot => out.text(&picture.dot()),
    }
    Ok(ExitCode::SUCCESS)
}
