//! A node whose database is in trouble, under load: the judge knows the wire only. Each trouble is one line
//! in the log when it begins and one when it is over.

use anyhow::{Result, ensure};
use bench::sender::Pace;
use pgtest::{Relay, Server};
use tests::node::Node;
use tests::{http, wait};

use super::crash::{Load, drained, sound};
use super::site::stop;

const BEGINS: &str = "nothing can be stored: partners get no acknowledgement";
const ENDS: &str = "messages are stored again";
const BLIP: &str = "the answer to a commit did not come; its rows were looked for";
/// Lines at warn or error that a trouble may leave in all, whatever number of partners and lanes met it.
const LINES_MAX: usize = 12;

async fn load_on(url: &str) -> Result<Load> {
    let mut load = Load::new().await?;
    load.site.plan = load
        .site
        .plan
        .setting("HOLDFAST_STORE__BACKEND", "postgres")
        .setting("HOLDFAST_STORE__URL", url)
        .setting("HOLDFAST_STORE__COMMIT_SECONDS", "2");
    Ok(load)
}

fn lines(load: &Load, of: &str) -> usize {
    load.site
        .plan
        .said()
        .lines()
        .filter(|line| line.contains(of))
        .count()
}

/// One line when it began, one when it was over, and not many besides.
fn said_once(load: &Load) -> Result<()> {
    let said = load.site.plan.said();
    ensure!(
        lines(load, BEGINS) == 1 && lines(load, ENDS) == 1,
        "begin and end are one line each:\n{said}"
    );
    let loud = lines(load, " WARN ") + lines(load, "ERROR ");
    ensure!(loud <= LINES_MAX, "{loud} lines at warn or error:\n{said}");
    Ok(())
}

/// Waits until the node said that it cannot store, and says so to who asks whether it is ready.
async fn in_trouble(load: &Load) -> Result<()> {
    wait::until("the node to say what is wrong", wait::PATIENCE, || async {
        ensure!(lines(load, BEGINS) == 1, "{}", load.site.plan.said());
        let ready = http::get(load.site.plan.api(), "/ready").await?;
        ensure!(
            ready.status == 503 && ready.body.contains("nothing can be stored"),
            "/ready says {}: {}",
            ready.status,
            ready.body
        );
        Ok(())
    })
    .await
}

/// The rest of a run: all that was acknowledged arrives, in order, and the node stops in good order.
async fn judged(load: &Load, node: Node<'_>, sender: bench::sender::Sender, troubles: u64) -> Result<()> {
    load.progress(&sender, 200).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    drained(&node).await?;
    sound(&judged, troubles)?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_synchronous_standby_loses_nothing_and_needs_no_restart() -> Result<()> {
    let first = Server::start("");
    let database = first.database();
    let second = tokio::task::block_in_place(|| {
        let second = first.standby("second");
        first.wait_for_standby("second", "on");
        second
    });
    let address = Relay::to(first.port());
    let load = load_on(&address.url(&database)).await?;
    let node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    load.progress(&sender, 200).await?;
    tokio::task::block_in_place(|| first.crash());
    in_trouble(&load).await?;
    tokio::task::block_in_place(|| second.promote());
    address.switch(second.port());
    judged(&load, node, sender, 1).await?;
    said_once(&load)?;
    // It comes back, so that its database can be dropped.
    tokio::task::block_in_place(|| {
        first.start_again();
        first.set("synchronous_standby_names", "");
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_delays_resets_forgets_and_stops_leaves_no_lane_stuck() -> Result<()> {
    let database = pgtest::server().database();
    let network = Relay::to(pgtest::server().port());
    let load = load_on(&network.url(&database)).await?;
    let node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    load.progress(&sender, 100).await?;
    network.delay(std::time::Duration::from_millis(20));
    load.progress(&sender, 100).await?;
    network.delay(std::time::Duration::ZERO);
    for _ in 0..2 {
        network.reset();
        load.progress(&sender, 100).await?;
    }
    network.forget();
    load.progress(&sender, 100).await?;
    ensure!(lines(&load, BLIP) >= 1, "{}", load.site.plan.said());
    ensure!(lines(&load, BEGINS) == 0, "{}", load.site.plan.said());
    network.stall();
    in_trouble(&load).await?;
    network.resume();
    judged(&load, node, sender, 4).await?;
    said_once(&load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_before_its_database_waits_for_it() -> Result<()> {
    let server = Server::start("");
    let database = server.database();
    tokio::task::block_in_place(|| server.crash());
    let load = load_on(&database.url()).await?;
    let mut node = load.site.plan.spawn()?;
    wait::until("the node to say that it waits", wait::PATIENCE, || async {
        ensure!(
            lines(&load, "it waits for its database") == 1,
            "{}",
            load.site.plan.said()
        );
        Ok(())
    })
    .await?;
    // It can be asked, and says so.
    let api = load.site.plan.api();
    for (path, status, words) in [
        ("/health", 200, "ok"),
        ("/ready", 503, "this node waits for its database"),
        ("/ready/leader", 503, "this node waits for its database"),
        (
            "/api/v1/connections",
            503,
            "/api/v1/connections cannot be answered yet",
        ),
        ("/nothing", 503, "this node waits for its database"),
    ] {
        let answer = tests::http::get(api, path).await?;
        ensure!(
            answer.status == status && answer.body.contains(words),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    tokio::task::block_in_place(|| server.start_again());
    node.wait_ready().await?;
    ensure!(
        lines(&load, "it waits for its database") == 1,
        "said more than once"
    );
    let sender = load.sender(Pace::Closed { window: 16 })?;
    judged(&load, node, sender, 0).await
}
