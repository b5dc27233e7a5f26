//! A node on PostgreSQL: killed under load, and with its database killed under load. The judge knows the wire
//! only.

use anyhow::Result;
use bench::sender::Pace;

use super::crash::{Load, drained, sound};
use super::site::stop;

/// Crashes in one run of each test.
const CRASHES: u64 = 3;

async fn load_on(database: &pgtest::Database<'_>) -> Result<Load> {
    let mut load = Load::new().await?;
    load.site.plan = load
        .site
        .plan
        .setting("HOLDFAST_STORE__BACKEND", "postgres")
        .setting("HOLDFAST_STORE__URL", &database.url());
    Ok(load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_node_on_postgresql_loses_nothing_and_keeps_order() -> Result<()> {
    let database = pgtest::server().database();
    let load = load_on(&database).await?;
    let mut node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    for kill in 0..CRASHES {
        load.progress(&sender, 50 + (kill * 7919) % 700).await?;
        node.kill()?;
        node = load.site.plan.start().await?;
    }
    load.progress(&sender, 200).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    drained(&node).await?;
    sound(&judged, CRASHES)?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_under_load_stops_nothing_for_good() -> Result<()> {
    let server = pgtest::Server::start("");
    let database = server.database();
    let load = load_on(&database).await?;
    let node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    for crash in 0..CRASHES {
        load.progress(&sender, 50 + (crash * 7919) % 300).await?;
        tokio::task::block_in_place(|| {
            server.crash();
            server.start_again();
        });
    }
    load.progress(&sender, 200).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    drained(&node).await?;
    sound(&judged, CRASHES)?;
    stop(node).await
}
