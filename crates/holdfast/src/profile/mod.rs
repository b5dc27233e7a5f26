//! The load profiles: nodes of their own, sites written for them, phases of load, and a report with a chart that
//! says how fast it was, where a message's time went, and what it cost.

mod compare;
mod database;
mod outcome;
mod processes;
mod reading;
mod report;
mod run;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bench::profile::{self, Profile};

use crate::cli;
use crate::output::{Advice, Output};
use report::Report;

/// Measure by a profile instead: start nodes, load them in phases, write a report and a chart.
#[derive(clap::Args, Debug)]
#[command(
    next_help_heading = "Profiles (a report in JSON and a chart in SVG; exit code 1 also when slower than the baseline)"
)]
pub(crate) struct Profiling {
    /// Which: smoke, baseline, soak, lanes, spread, sizes, fanout, transform or ordered. Starts its own nodes, unless
    /// --to and --sink name a running one.
    #[arg(long, value_name = "NAME", value_parser = named,
          conflicts_with_all = ["lanes", "rate", "window", "count", "duration", "size", "kind", "hl7_version", "unordered", "fanout"])]
    pub(crate) profile: Option<String>,
    /// Where to write report.json and chart.svg [default: load-NAME].
    #[arg(long, value_name = "DIR", requires = "profile")]
    out: Option<PathBuf>,
    /// Lengthen or shorten every phase.
    #[arg(long, value_name = "FACTOR", requires = "profile", default_value_t = 1.0, value_parser = factor)]
    scale: f64,
    /// Compare with a report that was saved before.
    #[arg(long, value_name = "FILE", requires = "profile", alias = "baseline")]
    compare: Option<PathBuf>,
    /// By how much a figure may be worse than there.
    #[arg(long, value_name = "SHARE", requires = "profile", default_value_t = 0.25, value_parser = factor)]
    tolerance: f64,
    /// Save this report there, to compare others with it.
    #[arg(long, value_name = "FILE", requires = "profile")]
    save: Option<PathBuf>,
    /// Measure on this database, postgres://user@host:port/database or sqlserver://..., of which nothing else is kept: the
    /// nodes write to it. Without it each node has an embedded store of its own.
    #[arg(long, value_name = "URL", requires = "profile", conflicts_with = "to")]
    database_url: Option<String>,
    /// Count what goes over the database's wire as well: round trips, requests, statements, transactions, bytes. The
    /// counter stands between node and server, and costs some of the rate.
    #[arg(long, requires = "database_url")]
    wire: bool,
    /// Keep the nodes' folders (configuration, store, log) below DIR.
    #[arg(long, value_name = "DIR", requires = "profile", conflicts_with = "to")]
    keep: Option<PathBuf>,
}

fn named(name: &str) -> Result<String, String> {
    match profile::named(name) {
        Some(profile) => Ok(profile.name.to_owned()),
        None => Err(format!("profiles are {}", profile::NAMES.join(", "))),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number
        .filter(|number| *number > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number above 0"))
}

/// A node that runs already, and where its partners are.
pub(crate) struct Running {
    /// Its inbounds, `host:port`.
    pub(crate) to: Vec<String>,
    /// Where it delivers.
    pub(crate) sink: Vec<SocketAddr>,
}

/// Runs the profile of `args`, which must name one.
pub(crate) async fn run(args: Profiling, running: Option<Running>, out: &Output) -> anyhow::Result<ExitCode> {
    let profile = args.profile.as_deref().and_then(profile::named);
    let profile = profile.context("a profile is named")?;
    let running = running.map(|running| fitting(running, &profile)).transpose()?;
    let baseline = args.compare.as_deref().map(compare::read).transpose()?;
    let folder = args.out.clone();
    let folder = folder.unwrap_or_else(|| PathBuf::from(format!("load-{}", profile.name)));
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;

    let report = run::run(&profile, &args, running.as_ref(), out).await?;
    let json = serde_json::to_string_pretty(&report)?;
    write(&folder.join("report.json"), &json)?;
    write(&folder.join("chart.svg"), &outcome::chart(&report).svg())?;
    if let Some(save) = &args.save {
        write(save, &json)?;
    }
    let worse = match &baseline {
        None => 0,
        Some(baseline) => {
            let lines = compare::compare(baseline, &serde_json::from_str(&json)?, args.tolerance)?;
            show::comparison(out, &lines);
            lines.iter().filter(|line| line.worse).count()
        }
    };
    if out.is_json() {
        out.json(&report);
    } else {
        show::report(out, &report);
        let folder = folder.display();
        out.line(&format!(
            "{folder}/report.json and {folder}/chart.svg hold all of it"
        ));
    }
    Ok(verdict(&report, worse))
}

/// A profile that varies the site cannot be run on one that stands.
fn fitting(running: Running, profile: &Profile) -> anyhow::Result<Running> {
    let hint =
        "leave out --to and it starts nodes of its own; smoke, baseline and soak can be run on one that runs";
    if profile.steps.len() > 1 {
        let problem = format!("the profile `{}` needs sites of its own", profile.name);
        return Err(Advice::usage(problem, hint).into());
    }
    if running.sink.is_empty() || !running.sink.len().is_multiple_of(running.to.len()) {
        let problem = "the profile needs to know where the node delivers: as many ports, or a multiple, as it receives on";
        return Err(Advice::usage(problem, "name them with --sink").into());
    }
    Ok(running)
}

fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn verdict(report: &Report, worse: usize) -> ExitCode {
    if report.sound && worse == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(cli::FAILED)
    }
}
