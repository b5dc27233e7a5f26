//! One fault after another against two nodes under load, from a seed: each is seen to bite, and in the end everything is
//! accounted for. `HOLDFAST_FAULTS=100 HOLDFAST_FAULT_SEED=7` for a long run of another kind.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::sender::Pace;
use serde_json::Value;
use tests::http;
use tests::node::Node;
use tests::wait::{self, PATIENCE};

use super::cluster::{NAMES, Pair, accounted};
use super::site::stop;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9` of the leader.
    Kill,
    /// The leader is stopped in its tracks.
    Freeze,
    /// The leader is asked to end.
    End,
    /// Another one is asked to lead.
    Switch,
    /// The leader's way to the database goes silent.
    Cut,
    /// The leader's connections to the database break, and can be made again.
    Reset,
    /// `kill -9` of the standby.
    Standby,
}

const FAULTS: [Fault; 7] = [
    Fault::Kill,
    Fault::Freeze,
    Fault::End,
    Fault::Switch,
    Fault::Cut,
    Fault::Reset,
    Fault::Standby,
];

fn number(key: &str, otherwise: u64) -> u64 {
    let given = std::env::var(key).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(otherwise)
}

async fn epoch(pair: &Pair, node: usize) -> Result<u64> {
    let nodes: Value = http::get(pair.plans[node].api(), "/cluster/nodes")
        .await?
        .json()?;
    nodes["lease"]["epoch"]
        .as_u64()
        .with_context(|| format!("no epoch: {nodes}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_in_any_order_lose_nothing_and_keep_order() -> Result<()> {
    let (count, mut dice) = (number("HOLDFAST_FAULTS", 5), number("HOLDFAST_FAULT_SEED", 3));
    let server = pgtest::server();
    let database = server.database();
    let ways = [pgtest::Relay::to(server.port()), pgtest::Relay::to(server.port())];
    let urls = [ways[0].url(&database), ways[1].url(&database)];
    let pair = Pair::each_on([&urls[0], &urls[1]]).await?;
    let [first, second] = pair.start().await?;
    let mut nodes: [Option<Node<'_>>; 2] = [Some(first), Some(second)];
    let mut leader = 0;
    // At a rate that no backlog grows at: a long run is about changes, not about catching up.
    let sender = pair.load.sender(Pace::Open { per_second: 300.0 })?;
    let mut unplanned = 0;
    let mut done = Vec::new();
    for _ in 0..count {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let fault = FAULTS[usize::try_from((dice >> 33) % FAULTS.len() as u64)?];
        let other = 1 - leader;
        pair.could_lead(other).await?;
        pair.load.progress(&sender, 50 + (dice >> 40) % 300).await?;
        done.push(fault);
        let told = || format!("after {done:?}");
        let before = epoch(&pair, leader).await?;
        let mut node = nodes[leader].take().context("the leader runs")?;
        let mut changed = true;
        match fault {
            Fault::Kill => {
                node.kill()?;
                unplanned += 1;
            }
            Fault::Freeze => {
                node.signal("STOP")?;
                let ended = node.wait_exit(PATIENCE).await.with_context(told)?;
                ensure!(ended.signal() == Some(9), "{ended} {}", told());
                unplanned += 1;
            }
            Fault::End => {
                let ended = node.stop(Duration::from_secs(20)).await.with_context(told)?;
                ensure!(ended.success(), "{ended} {}", told());
            }
            Fault::Cut => {
                ways[leader].stall();
                let ended = node.wait_exit(PATIENCE).await.with_context(told)?;
                ensure!(ended.code() == Some(75), "{ended} {} {}", told(), pair.said());
                ways[leader].resume();
                unplanned += 1;
            }
            Fault::Switch => {
                pair.switch_over(other, other).await.with_context(told)?;
                nodes[leader] = Some(node);
            }
            Fault::Reset => {
                ways[leader].reset();
                nodes[leader] = Some(node);
                changed = false;
            }
            Fault::Standby => {
                nodes[leader] = Some(node);
                nodes[other].take().context("the standby runs")?.kill()?;
                nodes[other] = Some(pair.plans[other].start().await.with_context(told)?);
                changed = false;
            }
        }
        if changed {
            pair.leads(other).await.with_context(told)?;
            ensure!(
                epoch(&pair, other).await? == before + 1,
                "the fault did not bite, {}",
                told()
            );
            if nodes[leader].is_none() {
                nodes[leader] = Some(pair.plans[leader].start().await.with_context(told)?);
            }
            leader = other;
        } else {
            pair.load.progress(&sender, 100).await.with_context(told)?;
            pair.leads(leader).await.with_context(told)?;
            ensure!(
                epoch(&pair, leader).await? == before,
                "the leader changed without need, {}",
                told()
            );
        }
    }
    accounted(&pair, sender, unplanned)
        .await
        .with_context(|| format!("after {done:?}"))?;
    let census = wait::until("nothing to be open", PATIENCE, || async {
        let census = http::get(pair.plans[leader].api(), "/api/v1/census")
            .await?
            .json()?;
        let open = census["open"]
            .as_object()
            .context("the census counts what is open")?;
        ensure!(open.values().all(|count| count == 0), "{census}");
        Ok(())
    });
    census
        .await
        .with_context(|| format!("{} led last; after {done:?}", NAMES[leader]))?;
    let standby = nodes[1 - leader].take().context("the standby runs")?;
    stop(standby).await?;
    stop(nodes[leader].take().context("the leader runs")?).await
}
