//! Several nodes on one database: who leads, and what happens to messages when that changes. The nodes run on one
//! machine and share the inbound ports, which only the leader may have bound.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bench::sender::Pace;
use serde_json::{Value, json};
use tests::node::{Node, Plan};
use tests::repository::Repository;
use tests::wait::{self, PATIENCE};
use tests::{http, ports};

use super::crash::{Load, sound};
use super::site::stop;

pub(super) const NAMES: [&str; 2] = ["node-a", "node-b"];

/// Load, and the plans of two nodes that share a database.
pub(super) struct Pair {
    pub(super) load: Load,
    pub(super) plans: [Plan; 2],
}

impl Pair {
    pub(super) async fn on(url: &str) -> Result<Pair> {
        Pair::each_on([url, url]).await
    }

    /// Each node reaches the database by its own way.
    pub(super) async fn each_on(urls: [&str; 2]) -> Result<Pair> {
        Pair::of(Load::new().await?, urls)
    }

    pub(super) fn of(mut load: Load, urls: [&str; 2]) -> Result<Pair> {
        load.site.plan = load
            .site
            .plan
            .setting("HOLDFAST_STORE__BACKEND", "postgres")
            .setting("HOLDFAST_CLUSTER__ENABLED", "true")
            .setting("HOLDFAST_CLUSTER__PROFILE", "fast");
        let plan = |index: usize| {
            let plan = load.site.plan.another(NAMES[index]);
            plan.setting("HOLDFAST_STORE__URL", urls[index])
        };
        let plans = [plan(0), plan(1)];
        Ok(Pair { load, plans })
    }

    /// Starts both; the first one leads.
    pub(super) async fn start(&self) -> Result<[Node<'_>; 2]> {
        let first = self.plans[0].start().await?;
        self.leads(0).await?;
        let second = self.plans[1].start().await?;
        Ok([first, second])
    }

    /// Waits until the node leads, by what a load balancer asks.
    pub(super) async fn leads(&self, index: usize) -> Result<()> {
        let plan = &self.plans[index];
        let what = format!("{} to lead", NAMES[index]);
        let leads = wait::until(&what, PATIENCE, || async {
            let status = http::get(plan.api(), "/ready/leader").await?.status;
            ensure!(status == 200, "/ready/leader says {status}");
            Ok(())
        });
        leads.await.with_context(|| self.said())
    }

    /// Waits until the node could take over.
    pub(super) async fn could_lead(&self, index: usize) -> Result<()> {
        let plan = &self.plans[index];
        let what = format!("{} to be a standby", NAMES[index]);
        let could = wait::until(&what, PATIENCE, || async {
            let nodes = http::get(plan.api(), "/cluster/nodes").await?.json()?;
            let node = nodes["nodes"].as_array().and_then(|nodes| {
                nodes
                    .iter()
                    .find(|node| node["id"] == NAMES[index] && node["role"] == "standby")
            });
            let node = node.with_context(|| format!("not a standby: {nodes}"))?;
            ensure!(node["ready"] == true, "{node}");
            Ok(())
        });
        could.await.with_context(|| self.said())
    }

    pub(super) async fn switch_over(&self, asked: usize, to: usize) -> Result<()> {
        let body = json!({ "to": NAMES[to] });
        let answer = http::post(self.plans[asked].api(), "/cluster/switchover", &body).await?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.body);
        Ok(())
    }

    pub(super) fn said(&self) -> String {
        let said = self
            .plans
            .iter()
            .zip(NAMES)
            .map(|(plan, name)| format!("{name} said:\n{}", plan.said()));
        said.collect::<Vec<_>>().join("\n")
    }
}

/// Ports that a process listens on.
fn listens_on(pid: u32) -> Result<Vec<u16>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        if let Ok(target) = std::fs::read_link(entry?.path())
            && let Some(inode) = target.to_str().and_then(|target| target.strip_prefix("socket:["))
        {
            sockets.push(inode.trim_end_matches(']').to_owned());
        }
    }
    let mut ports = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?
        .lines()
        .skip(1)
    {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields[1], fields[3], fields[9]);
        if state == "0A" && sockets.iter().any(|socket| socket == inode) {
            let port = local.rsplit(':').next().context("an address has a port")?;
            ports.push(u16::from_str_radix(port, 16)?);
        }
    }
    ports.sort_unstable();
    Ok(ports)
}

/// Everything that was acknowledged arrived, in order, with no more repeats than `changes` of leader explain.
pub(super) async fn accounted(pair: &Pair, sender: bench::sender::Sender, changes: u64) -> Result<()> {
    pair.load.progress(&sender, 200).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = pair.load.settle(&sent).await.with_context(|| pair.said())?;
    sound(&judged, changes).with_context(|| pair.said())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_leads_and_the_other_binds_nothing_and_says_who_leads() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    ensure!(
        listens_on(second.pid())? == [pair.plans[1].api()],
        "{:?}",
        listens_on(second.pid())?
    );
    ensure!(
        listens_on(first.pid())?.len() == 5,
        "the API and four inbounds: {:?}",
        listens_on(first.pid())?
    );
    for (index, plan) in pair.plans.iter().enumerate() {
        let nodes = http::get(plan.api(), "/cluster/nodes").await?.json()?;
        ensure!(
            nodes["lease"]["owner"] == "node-a" && nodes["lease"]["held"] == true,
            "{nodes}"
        );
        let leading: Vec<&Value> = nodes["nodes"]
            .as_array()
            .context("nodes")?
            .iter()
            .filter(|node| node["leads"] == true)
            .collect();
        ensure!(leading.len() == 1 && leading[0]["id"] == "node-a", "{nodes}");
        let status = http::get(plan.api(), "/cluster/status").await?.json()?;
        let role = ["primary", "standby"][index];
        ensure!(
            status["role"] == role && status["clustered"] == true && status["epoch"] == 1,
            "{status}"
        );
        ensure!(status["lease_margin_ms"].is_number() == (index == 0), "{status}");
        ensure!(status["leaderships"][0]["node"] == "node-a", "{status}");
    }
    ensure!(http::get(pair.plans[1].api(), "/ready/leader").await?.status == 503);
    let refused = http::get(pair.plans[1].api(), "/api/v1/stages").await?;
    ensure!(
        refused.status == 503 && refused.body.contains("`node-a` leads"),
        "{}",
        refused.body
    );
    let metrics = http::get(pair.plans[1].api(), "/metrics").await?.body;
    ensure!(
        metrics.contains("holdfast_cluster_role{role=\"standby\"} 1"),
        "{metrics}"
    );
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_leader_loses_nothing_and_the_other_takes_over() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [mut leader, mut standby] = pair.start().await?;
    let sender = pair.load.sender(Pace::Closed { window: 16 })?;
    let kills = 3;
    for kill in 0..kills {
        let (leading, other) = (kill % 2, (kill + 1) % 2);
        pair.could_lead(other).await?;
        pair.load
            .progress(&sender, 100 + (kill as u64 * 7919) % 500)
            .await?;
        leader.kill()?;
        pair.leads(other).await?;
        leader = standby;
        standby = pair.plans[leading].start().await?;
    }
    accounted(&pair, sender, kills as u64).await?;
    stop(standby).await?;
    stop(leader).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_switchover_goes_there_and_back_and_repeats_nothing() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    let sender = pair.load.sender(Pace::Closed { window: 4 })?;
    for turn in 0..4 {
        let to = (turn + 1) % 2;
        pair.could_lead(to).await?;
        pair.load.progress(&sender, 200).await?;
        // Whichever is asked: the leader finds the wish in the database.
        pair.switch_over(turn / 2, to).await?;
        pair.leads(to).await?;
    }
    accounted(&pair, sender, 0).await?;
    let nodes = first.get("/cluster/nodes").await?;
    let past = nodes["leaderships"].as_array().context("leaderships")?;
    ensure!(past.len() == 5, "{nodes}");
    ensure!(
        past[1]["reason"] == "handed over" && past[0]["gap_ms"].is_number(),
        "{nodes}"
    );
    let refused = http::post(
        pair.plans[0].api(),
        "/cluster/switchover",
        &json!({ "to": "node-c" }),
    )
    .await?;
    ensure!(
        refused.status == 409 && refused.body.contains("no node `node-c`"),
        "{}",
        refused.body
    );
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_in_its_tracks_is_ended_and_replaced() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [mut first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let sender = pair.load.sender(Pace::Closed { window: 16 })?;
    pair.load.progress(&sender, 300).await?;
    first.signal("STOP")?;
    // Its sockets would go on taking connections; somebody else has to end it.
    let ended = first.wait_exit(PATIENCE).await?;
    ensure!(
        std::os::unix::process::ExitStatusExt::signal(&ended) == Some(9),
        "it ended with {ended}"
    );
    pair.leads(1).await?;
    accounted(&pair, sender, 1).await?;
    stop(second).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_from_the_database_ends_and_the_other_takes_over() -> Result<()> {
    let server = pgtest::server();
    let database = server.database();
    let relay = pgtest::Relay::to(server.port());
    let (by_relay, direct) = (relay.url(&database), database.url());
    let pair = Pair::each_on([&by_relay, &direct]).await?;
    let [mut first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let sender = pair.load.sender(Pace::Closed { window: 16 })?;
    pair.load.progress(&sender, 300).await?;
    relay.stall();
    let cut = Instant::now();
    let ended = first.wait_exit(PATIENCE).await?;
    ensure!(ended.code() == Some(75), "it ended with {ended}; {}", pair.said());
    // The fence (800 ms) and the stop budget (400 ms), and a busy machine.
    ensure!(
        cut.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        cut.elapsed()
    );
    pair.leads(1).await?;
    accounted(&pair, sender, 1).await?;
    relay.resume();
    stop(second).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_configuration_takes_over_only_when_that_is_approved() -> Result<()> {
    let database = pgtest::server().database();
    let mut pair = Pair::on(&database.url()).await?;
    let other = Repository::new(&format!(
        "inbound(\"IB_OTHER_ADT\", mllp(port = {}), router = \"none\")\n\n@router\ndef none(msg):\n    return []\n",
        ports::free()
    ))?;
    let [plan, second] = pair.plans;
    pair.plans = [plan, second.configured_by(&other)];
    let first = pair.plans[0].start().await?;
    pair.leads(0).await?;
    let second = pair.plans[1].spawn()?;
    let differs = wait::until("the difference to show", PATIENCE, || async {
        let nodes = first.get("/cluster/nodes").await?;
        let node = nodes["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|node| node["id"] == "node-b"));
        let node = node.context("node-b is not listed")?;
        ensure!(node["config_agrees"] == false && node["ready"] == false, "{node}");
        ensure!(
            node["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("differs")),
            "{node}"
        );
        Ok(())
    });
    differs.await.with_context(|| pair.said())?;
    let refused = http::post(pair.plans[0].api(), "/cluster/switchover", &json!({})).await?;
    ensure!(refused.status == 409, "{} {}", refused.status, refused.body);
    let approved = http::post(
        pair.plans[0].api(),
        "/cluster/approve",
        &json!({ "node": "node-b" }),
    )
    .await?;
    ensure!(approved.status == 200, "{}", approved.body);
    pair.could_lead(1).await?;
    first.kill()?;
    pair.leads(1).await?;
    stop(second).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_split_a_cluster_is_refused() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let first = pair.plans[0].start().await?;
    pair.leads(0).await?;
    let twin = pair
        .load
        .site
        .plan
        .another("node-a")
        .setting("HOLDFAST_STORE__URL", &database.url());
    let (_, said) = twin.refused().await?;
    ensure!(
        said.contains("another process goes by this node's id `node-a`"),
        "{said}"
    );
    let alone = pair
        .load
        .site
        .plan
        .another("node-c")
        .setting("HOLDFAST_STORE__URL", &database.url())
        .setting("HOLDFAST_CLUSTER__ENABLED", "false");
    let (_, said) = alone.refused().await?;
    ensure!(said.contains("a node of a cluster leads this store"), "{said}");
    let embedded = pair
        .load
        .site
        .plan
        .another("node-d")
        .setting("HOLDFAST_STORE__BACKEND", "sqlite");
    let (status, said) = embedded.refused().await?;
    ensure!(
        status.code() == Some(2) && said.contains("cluster.enabled"),
        "{status} {said}"
    );
    if http::get(pair.plans[0].api(), "/ready/leader").await?.status != 200 {
        bail!("the leader was disturbed: {}", pair.said());
    }
    stop(first).await
}
