//! `holdfast drill partition` against two nodes: the leader is cut off from its database, and nobody else.

use std::os::unix::fs::MetadataExt;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use bench::sink::{self, Sink};
use tests::binary;
use tests::repository::set_mode;
use tests::wait::{self, PATIENCE};

use super::cluster::Pair;
use super::site::stop;

/// A user as whom nothing else runs, and so the next one.
const NOBODY_ELSE: u32 = 63_211;

fn drill(
    pair: &Pair,
    sinks: &[u16],
    database: &pgtest::Database<'_>,
    out: &std::path::Path,
) -> std::process::Command {
    let list = |ports: Vec<String>| ports.join(",");
    let inbounds = pair.load.inbounds.iter().map(|port| format!("127.0.0.1:{port}"));
    let sinks = sinks.iter().map(ToString::to_string);
    let nodes = pair
        .plans
        .iter()
        .map(|plan| format!("http://127.0.0.1:{}", plan.api()));
    let mut command = binary::command();
    command
        .args(["--json", "drill", "partition", "--rounds", "1", "--rate", "100"])
        .args(["--to", &list(inbounds.collect())])
        .args(["--sink", &list(sinks.collect())])
        .args(["--api", &list(nodes.collect())])
        .args(["--database", &format!("127.0.0.1:{}", database.server().port())])
        .arg("--out")
        .arg(out);
    command
}

async fn done(mut drill: std::process::Command) -> Result<Output> {
    Ok(tokio::task::spawn_blocking(move || drill.output()).await??)
}

/// Whether a drill has cut anything off.
fn is_cut() -> Result<bool> {
    let tables = std::process::Command::new("nft")
        .args(["list", "tables"])
        .output()?;
    Ok(String::from_utf8_lossy(&tables.stdout).contains("inet holdfast_drill\n"))
}

/// Somebody who has seen enough presses Ctrl-C while the leader is cut off.
async fn interrupted(mut drill: std::process::Command) -> Result<()> {
    let mut drill = drill
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    wait::until("the leader to be cut off", PATIENCE, || async {
        ensure!(is_cut()?, "it is not");
        Ok(())
    })
    .await?;
    let asked = std::process::Command::new("kill")
        .args(["-INT", &drill.id().to_string()])
        .status()?;
    ensure!(asked.success(), "{asked}");
    wait::until("the drill to end", PATIENCE, || {
        let ended = drill.try_wait();
        async { ended?.context("it goes on") }
    })
    .await?;
    ensure!(!is_cut()?, "it left its cut behind");
    let said = drill.wait_with_output()?;
    let complained = String::from_utf8_lossy(&said.stdout);
    ensure!(
        said.status.code() == Some(1) && complained.contains("a partition, if there was one, is removed"),
        "{}: {complained}",
        said.status
    );
    Ok(())
}

fn may_cut() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0);
    // In a namespace of its own: whether the kernel does it at all.
    let works = std::process::Command::new("unshare")
        .args(["-n", "nft", "add", "table", "inet", "holdfast_drill_try"])
        .status();
    root && works.is_ok_and(|status| status.success())
}

/// Where no root runs the tests, or nftables is missing, the drill has to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_measured_and_leaves_nothing_behind_or_says_what_it_lacks() -> Result<()> {
    let database = pgtest::server().database();
    let mut pair = Pair::on(&database.url()).await?;
    let out = pair.load.site.repository.beside("drill");
    let folder = pair.load.site.repository.root();
    set_mode(folder.parent().context("its folder")?, 0o755)?;
    let may = may_cut();
    if may {
        let [first, second] = pair.plans;
        pair.plans = [first.as_user(NOBODY_ELSE), second.as_user(NOBODY_ELSE + 1)];
    }
    // The drill's own sink takes the place of the site's.
    let sinks = pair.load.site.sink.ports();
    let own = std::mem::replace(
        &mut pair.load.site.sink,
        Sink::start(sink::Options::local(1)).await?,
    );
    own.stop().await;
    let [mut first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let done = done(drill(&pair, &sinks, &database, &out)).await?;
    let (said, complained) = (
        String::from_utf8_lossy(&done.stdout).into_owned(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    );
    if !may {
        ensure!(!done.status.success(), "{said}");
        ensure!(
            ["only root", "nft", "cannot be told"]
                .iter()
                .any(|lack| said.contains(lack)),
            "{said} {complained}"
        );
        stop(second).await?;
        return stop(first).await;
    }
    ensure!(done.status.success(), "{said} {complained} {}", pair.said());
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("report.json"))?)?;
    ensure!(
        report["passed"] == true
            && report["rounds"][0]["from"] == "node-a"
            && report["rounds"][0]["to"] == "node-b",
        "{report}"
    );
    // It lost the lease by its deadline, as one that is cut off does; it was not told to go.
    let ended = first.wait_exit(PATIENCE).await?;
    ensure!(ended.code() == Some(75), "it ended with {ended}: {}", pair.said());
    ensure!(!is_cut()?, "it left its cut behind");
    let first = pair.plans[0].start().await?;
    pair.could_lead(0).await?;
    interrupted(drill(&pair, &sinks, &database, &out)).await?;
    // How long it was cut off decides whether it still leads. It goes on, or it has ended as one that was fenced.
    wait::until("somebody to lead", PATIENCE, || async {
        let nodes = first.get("/cluster/nodes").await?;
        ensure!(nodes["lease"]["held"] == true, "{nodes}");
        Ok(())
    })
    .await?;
    drop(second);
    stop(first).await
}
