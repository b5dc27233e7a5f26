//! The demonstration: a sample config repository, a node of its own process, partners that send and
//! receive in this one, a crash, and the account of every message.

mod feeds;
mod picture;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use bench::sink::{self, Sink};

use crate::child::Node;
use crate::output::{Output, thousands};
use crate::sample;
use feeds::Feeds;
use picture::Picture;
pub(crate) use report::Report;

/// How long the backlog may take to drain once everything was sent.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How long to go on listening for repeats once everything arrived.
const SETTLE: Duration = Duration::from_millis(500);

/// What to show.
pub(crate) struct Plan {
    pub(crate) messages: u64,
    pub(crate) directory: PathBuf,
    pub(crate) crash: bool,
    pub(crate) remove: bool,
}

/// Runs the demonstration and prints its account.
pub(crate) async fn run(plan: &Plan, out: &Output) -> anyhow::Result<Report> {
    let started = Instant::now();
    prepare_folder(&plan.directory)?;
    let sink = Sink::start(sink::Options::local(feeds::PORTS.len()))
        .await
        .context("the sink cannot listen")?;
    let ports = feeds::Ports::choose(&sink.ports())?;
    sample::write(&plan.directory)?;
    let environment = plan.directory.join("environments/dev.toml");
    std::fs::write(&environment, ports.environment()).context("the sample cannot be written")?;
    explain(plan, out);

    let mut node = Node::start(&plan.directory, ports.api).await?;
    let mut feeds = Feeds::start(plan, &ports)?;
    let picture = Picture::new(out);
    let crash_at = plan.messages / 2;
    let mut crash_due = plan.crash;
    let mut finished_at = None;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        feeds.collect().await;
        let view = feeds.view(&sink);
        picture.draw(&view, started.elapsed());
        node.check()?;
        if crash_due && view.acknowledged() >= crash_at {
            crash_due = false;
            picture.say(&format!(
                "kill -9 of the node (process {}) with {} messages acknowledged",
                node.pid(),
                thousands(view.acknowledged())
            ));
            node.kill()?;
            node = Node::start(&plan.directory, ports.api).await?;
            picture.say(&format!(
                "started again as process {}; it recovers from its store",
                node.pid()
            ));
        }
        if feeds.are_sent() {
            let since = *finished_at.get_or_insert_with(Instant::now);
            let complete = feeds.missing(&sink) == 0 && sink.quiet_for() >= SETTLE;
            if complete || since.elapsed() > DRAIN_MAX {
                break;
            }
        }
    }
    picture.finish();
    let census = node.settled_census(DRAIN_MAX).await?;
    let status = node.get("/cluster/status").await?;
    node.terminate().await?;
    let report = Report::of(feeds, sink.stop().await, &census, &status, started.elapsed());
    report.show(out);
    let folder = plan.directory.display().to_string();
    if plan.remove {
        std::fs::remove_dir_all(&plan.directory).with_context(|| format!("{folder} cannot be removed"))?;
    } else if !out.is_json() {
        next_steps(&folder, out);
    }
    Ok(report)
}

/// Replaces what an earlier demonstration left; refuses a folder that holds something else.
fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    const MARK: &str = ".holdfast-demo";
    if folder.exists() {
        let empty = std::fs::read_dir(folder)?.next().is_none();
        anyhow::ensure!(
            empty || folder.join(MARK).exists(),
            "{} holds something that no demonstration wrote: choose another with --directory",
            folder.display()
        );
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be replaced", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    std::fs::write(
        folder.join(MARK),
        "This folder was written by `holdfast demo`, which replaces it.\n",
    )?;
    Ok(())
}

fn explain(plan: &Plan, out: &Output) {
    out.remark("Holdfast demonstration: three feeds on one node with the embedded store.");
    out.remark(&format!(
        "  {} messages over MLLP and as files, generated, no real data; the node is a process of its own.",
        thousands(plan.messages)
    ));
    if plan.crash {
        out.remark("  Half way the node is killed with SIGKILL and started again.");
    }
    out.remark("");
}

fn next_steps(folder: &str, out: &Output) {
    out.line("");
    out.line(&format!(
        "The config repository and the store lie in {folder} (the next demo replaces them)."
    ));
    out.line("Try next:");
    out.line(&format!(
        "  holdfast graph {folder}            # what flows where"
    ));
    out.line(&format!(
        "  holdfast test {folder}             # the feeds' own tests"
    ));
    out.line(&format!(
        "  holdfast dryrun IB_REG_ADT {folder}/messages/adt_a01.hl7 --config {folder}"
    ));
    out.line(&format!(
        "  holdfast serve --config {folder} --env dev --api 127.0.0.1:8765"
    ));
    out.line("  curl -s '127.0.0.1:8765/api/v1/messages?limit=3'   # while it serves");
    out.line("  holdfast init my-site              # a config repository of your own");
}
