//! Nodes on a server that speaks SQL Server's protocol: killed under load, and led in turn. `HOLDFAST_TEST_SQLSERVER_NODES`
//! names a database for these tests alone, as `store.url` does; `HOLDFAST_TEST_SQLSERVER_PASSWORD` is its user's password. The
//! tests share it, one after the other; those of two nodes need an empty one each, since a lease remembers its configuration. Without
//! the variable they say that they were left out.

use std::io::Write;

use anyhow::Result;
use bench::sender::Pace;
use tokio::sync::{Mutex, MutexGuard};

use super::cluster::{Pair, accounted};
use super::crash::{Load, drained, sound};
use super::site::stop;

const WHERE: &str = "HOLDFAST_TEST_SQLSERVER_NODES";
const PASSWORD: &str = "HOLDFAST_TEST_SQLSERVER_PASSWORD";
const CRASHES: u64 = 3;

static ALONE: Mutex<()> = Mutex::const_new(());

/// The database, for one test at a time.
struct Database {
    url: String,
    password: String,
    _alone: MutexGuard<'static, ()>,
}

async fn database() -> Option<Database> {
    let Some(url) = std::env::var(WHERE).ok().filter(|url| !url.is_empty()) else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: nodes on SQL Server ({WHERE}=sqlserver://user@host:1433/database names an empty database)"
        );
        return None;
    };
    Some(Database {
        url,
        password: std::env::var(PASSWORD).unwrap_or_default(),
        _alone: ALONE.lock().await,
    })
}

impl Database {
    async fn load(&self) -> Result<Load> {
        let mut load = Load::new().await?;
        load.site.plan = load
            .site
            .plan
            .setting("HOLDFAST_STORE__BACKEND", "sqlserver")
            .setting("HOLDFAST_STORE__URL", &self.url)
            .setting("HOLDFAST_STORE__PASSWORD", &self.password);
        Ok(load)
    }

    /// Two nodes, whose leases last longer than on PostgreSQL: a stand-in takes its time.
    async fn pair(&self) -> Result<Pair> {
        let mut pair = Pair::of(self.load().await?, [&self.url, &self.url])?;
        pair.plans = pair.plans.map(|plan| {
            plan.setting("HOLDFAST_STORE__BACKEND", "sqlserver")
                .setting("HOLDFAST_CLUSTER__PROFILE", "wan")
        });
        Ok(pair)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_node_on_sql_server_loses_nothing_and_keeps_order() -> Result<()> {
    let Some(database) = database().await else {
        return Ok(());
    };
    let load = database.load().await?;
    let mut node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    for kill in 0..CRASHES {
        load.progress(&sender, 50 + (kill * 7919) % 300).await?;
        node.kill()?;
        node = load.site.plan.start().await?;
    }
    load.progress(&sender, 100).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    drained(&node).await?;
    sound(&judged, CRASHES)?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_leader_on_sql_server_loses_nothing_and_the_other_takes_over() -> Result<()> {
    let Some(database) = database().await else {
        return Ok(());
    };
    let pair = database.pair().await?;
    let [mut leader, mut standby] = pair.start().await?;
    let sender = pair.load.sender(Pace::Closed { window: 8 })?;
    let kills = 2;
    for kill in 0..kills {
        let (leading, other) = (kill % 2, (kill + 1) % 2);
        pair.could_lead(other).await?;
        pair.load.progress(&sender, 100).await?;
        leader.kill()?;
        // A lease of that profile lasts for half a minute.
        if pair.leads(other).await.is_err() {
            pair.leads(other).await?;
        }
        leader = standby;
        standby = pair.plans[leading].start().await?;
    }
    accounted(&pair, sender, kills as u64).await?;
    drained(&leader).await?;
    stop(standby).await?;
    stop(leader).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_on_sql_server_goes_there_and_back_and_repeats_nothing() -> Result<()> {
    let Some(database) = database().await else {
        return Ok(());
    };
    let pair = database.pair().await?;
    let [first, second] = pair.start().await?;
    let sender = pair.load.sender(Pace::Closed { window: 4 })?;
    for turn in 0..2 {
        let to = (turn + 1) % 2;
        pair.could_lead(to).await?;
        pair.load.progress(&sender, 100).await?;
        pair.switch_over(turn, to).await?;
        pair.leads(to).await?;
    }
    accounted(&pair, sender, 0).await?;
    stop(second).await?;
    stop(first).await
}
