//! What a standby finds out before a failover, and what keeps it from leading: taken ports, a schema that went on without
//! it, a store that fails it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::sender::Pace;
use serde_json::{Value, json};
use tests::http;
use tests::wait::{self, PATIENCE};

use super::cluster::{NAMES, Pair, accounted};
use super::site::stop;

impl Pair {
    /// Waits until what `asked` says of node `index` is as `wanted` has it.
    async fn shows(
        &self,
        asked: usize,
        index: usize,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let shown = wait::until(what, PATIENCE, || async {
            let nodes = http::get(self.plans[asked].api(), "/cluster/nodes")
                .await?
                .json()?;
            let all = nodes["nodes"].as_array().context("nodes")?;
            let node = all
                .iter()
                .find(|node| node["id"] == NAMES[index])
                .context("it is not listed")?;
            ensure!(wanted(node), "{nodes}");
            Ok(())
        });
        shown.await.with_context(|| self.said())
    }
}

fn says(node: &Value, text: &str) -> bool {
    node["reason"]
        .as_str()
        .is_some_and(|reason| reason.contains(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_a_takeover_would_not_get_shows_before_it_and_does_not_prevent_it() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    // Somebody else has the port of one inbound; the leader's own ports are no conflict.
    let taken = std::net::TcpListener::bind(("127.0.0.1", pair.load.inbounds[2]))?;
    let [first, second] = pair.start().await?;
    pair.shows(0, 1, "the taken port to show", |node| {
        node["ready"] == true
            && says(node, "inbound IB_LANE2_ADT would not receive")
            && says(node, "is taken by another program")
            && !says(node, "IB_LANE1_ADT")
    })
    .await?;
    let metrics = http::get(pair.plans[1].api(), "/metrics").await?.body;
    ensure!(
        metrics.contains("holdfast_cluster_port_taken{name=\"IB_LANE2_ADT\"} 1")
            && !metrics.contains("holdfast_cluster_port_taken{name=\"IB_LANE1_ADT\"}"),
        "{metrics}"
    );
    // Whoever has it was not disturbed by all that trying.
    taken.set_nonblocking(true)?;
    ensure!(
        taken
            .accept()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    );
    drop(taken);
    pair.shows(0, 1, "the port to be free", |node| {
        node["ready"] == true && node["reason"].is_null()
    })
    .await?;
    stop(second).await?;
    stop(first).await
}

/// A step of the schema as a newer release would leave it behind: only programs that know `works_from` work with it.
fn newer_step(database: &pgtest::Database<'_>, version: u32, works_from: u32) {
    database.sql(&format!(
        "ALTER TABLE holdfast.node ADD later{version} text; CREATE TABLE holdfast.later{version} (id bigint);
         INSERT INTO holdfast.migration (version, name, checksum, applied_at, works_from)
         VALUES ({version}, 'later', 'of a newer release', 0, {works_from})"
    ));
}

/// A cluster of two nodes under load is brought to another release: the standby is replaced, made the leader, then the other
/// one is replaced. The releases are the same build, with a step of the schema in between as a newer release would make
/// it; `HOLDFAST_OLDER` names an older build to begin with instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_fails_no_send_and_what_only_grew_is_worked_with() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let older = std::env::var_os("HOLDFAST_OLDER");
    let before = pair.plans.clone().map(|plan| match &older {
        Some(program) => plan.built_as(program),
        None => plan,
    });
    let first = before[0].start().await?;
    pair.leads(0).await?;
    let second = before[1].start().await?;
    pair.could_lead(1).await?;
    let sender = pair.load.sender(Pace::Closed { window: 4 })?;
    pair.load.progress(&sender, 200).await?;
    stop(second).await?;
    if older.is_none() {
        newer_step(&database, 1000, 3);
    }
    let second = pair.plans[1].start().await?;
    pair.could_lead(1).await?;
    pair.load.progress(&sender, 200).await?;
    pair.switch_over(1, 1).await?;
    pair.leads(1).await?;
    pair.load.progress(&sender, 200).await?;
    if older.is_none() {
        // It opened the store of the newer schema, and could lead again.
        pair.could_lead(0).await?;
        stop(first).await?;
    } else {
        drop(first); // a release without this rule has ended by itself
    }
    let first = pair.plans[0].start().await?;
    pair.could_lead(0).await?;
    pair.switch_over(0, 0).await?;
    pair.leads(0).await?;
    accounted(&pair, sender, 0).await?;
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_outgrew_a_release_keeps_it_from_leading() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    newer_step(&database, 1000, 3);
    let nodes = first.get("/cluster/nodes").await?;
    ensure!(
        nodes["schema"] == json!({ "version": 1000, "works_from": 3 }),
        "{nodes}"
    );
    pair.switch_over(0, 1).await?;
    pair.leads(1).await?;
    pair.could_lead(0).await?;

    // A step that this release cannot work with: whoever runs is not promoted any more, and says why.
    newer_step(&database, 1001, 1001);
    pair.shows(1, 0, "the schema to be in the way", |node| {
        node["ready"] == false && says(node, "which takes 1001 or more")
    })
    .await?;
    let refused = http::post(
        pair.plans[1].api(),
        "/cluster/switchover",
        &json!({ "to": "node-a" }),
    )
    .await?;
    ensure!(
        refused.status == 409 && refused.body.contains("which takes 1001 or more"),
        "{}",
        refused.body
    );
    // The same when it starts: it joins, and does not lead even when nobody else does.
    stop(first).await?;
    let first = pair.plans[0].spawn()?;
    pair.shows(1, 0, "the schema to be in the way of a start", |node| {
        node["role"] == "standby" && says(node, "written by a newer version of this program")
    })
    .await?;
    second.kill()?;
    let status = http::get(pair.plans[0].api(), "/cluster/status").await?.json()?;
    ensure!(
        status["could_lead"] == false && status["reason"].as_str().is_some_and(|why| why.contains("1001")),
        "{status}"
    );
    // What was in its way is undone; nothing else was.
    database.sql("DELETE FROM holdfast.migration WHERE version = 1001");
    pair.leads(0).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_begin_to_lead_gives_the_lease_up_and_tries_again() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let pid = second.pid();
    // What a leader reads first is not there for a while.
    database.sql("ALTER TABLE holdfast.desired RENAME TO desired_away");
    first.kill()?;
    pair.shows(1, 1, "the failure to show", |node| {
        node["role"] == "standby" && node["ready"] == false && says(node, "could not begin to lead")
    })
    .await?;
    let nodes = second.get("/cluster/nodes").await?;
    ensure!(
        nodes["lease"]["held"] == false || nodes["leaderships"][0]["ended_at"].is_null(),
        "{nodes}"
    );
    database.sql("ALTER TABLE holdfast.desired_away RENAME TO desired");
    pair.leads(1).await?;
    ensure!(second.pid() == pid, "it is the same process");
    let sender = pair.load.sender(Pace::Closed { window: 4 })?;
    accounted(&pair, sender, 0).await?;
    stop(second).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_can_begin_to_lead_ends_after_some_tries() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let first = pair.plans[0].start().await?;
    pair.leads(0).await?;
    stop(first).await?;
    database.sql("ALTER TABLE holdfast.desired RENAME TO desired_away");
    let mut second = pair.plans[1].spawn()?;
    let ended = second.wait_exit(Duration::from_secs(150)).await?;
    ensure!(
        !ended.success() && pair.plans[1].said().contains("6 times in a row"),
        "it ended with {ended}: {}",
        pair.said()
    );
    Ok(())
}
