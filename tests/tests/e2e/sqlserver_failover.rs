//! A failover of an availability group, played with the stand-in for SQL Server: a primary and a synchronous standby of it
//! (Babelfish is a PostgreSQL, so it has them), and a listener that leads to one of them. `HOLDFAST_TEST_BABELFISH` names the
//! folder that it was installed to, with `bin` in it; the tests make their own servers from it, in folders of their own. Without
//! the variable they say that they were left out.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::sender::{Pace, Sender};
use pgtest::{Relay, Server};
use tests::http;
use tests::node::{Node, Plan};

use super::cluster::Pair;
use super::crash::{Load, drained, sound};
use super::site::stop;

const WHERE: &str = "HOLDFAST_TEST_BABELFISH";
const NAME: &str = "holdfast";
const WINDOW: u32 = 8;
/// A failover and what nodes need after it, on a machine with other work. A stand-in takes a second to read a statement that
/// is new to a connection.
const FAILOVER: Duration = Duration::from_secs(120);

fn installed() -> Option<PathBuf> {
    let found = std::env::var_os(WHERE).filter(|folder| !folder.is_empty());
    if found.is_none() {
        say(&format!(
            "skipped: a failover of the stand-in for SQL Server ({WHERE}=<folder> names one with bin/)"
        ));
    }
    found.map(PathBuf::from)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// The group: whoever is primary has a standby that its commits wait for.
struct Group {
    primary: Server,
    secondary: Server,
    listener: Relay,
    /// Servers so far.
    made: usize,
}

impl Group {
    fn new(folder: &std::path::Path) -> Group {
        let primary = Server::babelfish(folder);
        primary.make_tds_database(NAME);
        let secondary = follower(&primary, "replica1");
        let listener = Relay::to(primary.tds_port());
        Group {
            primary,
            secondary,
            listener,
            made: 1,
        }
    }

    /// Two nodes that know the listener only.
    async fn pair(&self) -> Result<Pair> {
        let (url, password) = Server::tds_url(self.listener.port(), NAME);
        let mut pair = Pair::of(Load::new().await?, [&url, &url])?;
        pair.plans = pair.plans.map(|plan| {
            plan.setting("HOLDFAST_STORE__BACKEND", "sqlserver")
                .setting("HOLDFAST_STORE__PASSWORD", password)
                .setting("HOLDFAST_CLUSTER__PROFILE", "wan")
        });
        Ok(pair)
    }

    /// The secondary becomes the primary; a new one follows it, as the old primary does once it is back.
    fn rolled(self) -> Group {
        let Group {
            secondary: primary,
            listener,
            made,
            primary: old,
        } = self;
        drop(old);
        let secondary = follower(&primary, &format!("replica{}", made + 1));
        Group {
            primary,
            secondary,
            listener,
            made: made + 1,
        }
    }
}

fn follower(of: &Server, name: &str) -> Server {
    let follower = of.standby(name);
    of.wait_for_standby(name, "on");
    follower
}

/// Starts both, of which the first one leads and the other could. A stand-in takes its time with both.
async fn start(pair: &Pair) -> Result<Watched<'_>> {
    let first = pair.plans[0].spawn()?;
    leads(pair, 0).await?;
    let second = pair.plans[1].spawn()?;
    let begun = Instant::now();
    while let Err(error) = pair.could_lead(1).await {
        ensure!(begun.elapsed() < FAILOVER, "{error:#}");
    }
    Ok(Watched {
        pair,
        nodes: vec![(&pair.plans[0], first), (&pair.plans[1], second)],
        restarts: 0,
    })
}

async fn leads(pair: &Pair, index: usize) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = pair.leads(index).await {
        ensure!(begun.elapsed() < FAILOVER, "{error:#}");
    }
    Ok(())
}

/// The nodes, watched as a service manager does: one that ended because it could not renew its lease is started again. On a
/// machine with much other work the stand-in is slow enough for that.
struct Watched<'p> {
    pair: &'p Pair,
    nodes: Vec<(&'p Plan, Node<'p>)>,
    restarts: usize,
}

impl Watched<'_> {
    async fn look(&mut self) -> Result<()> {
        const LEADERSHIP_LOST: i32 = 75;
        for (plan, node) in &mut self.nodes {
            if let Ok(status) = node.wait_exit(Duration::ZERO).await {
                let said = || format!("a node ended with {status}; {}", self.pair.said());
                ensure!(status.code() == Some(LEADERSHIP_LOST), "{}", said());
                *node = plan.spawn()?;
                self.restarts += 1;
            }
        }
        Ok(())
    }

    /// Waits until there are so many more acknowledgements than now; how long that took since `begun`.
    async fn acknowledged(&mut self, sender: &Sender, more: u64, begun: Instant) -> Result<Duration> {
        let (goal, from) = (sender.progress().acknowledged + more, Instant::now());
        loop {
            self.look().await?;
            let progress = sender.progress();
            if progress.acknowledged >= goal {
                return Ok(begun.elapsed());
            }
            let said = || self.pair.said();
            ensure!(from.elapsed() < FAILOVER, "{progress:?}, goal {goal}; {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a node gives this as the reason why it cannot store.
    async fn says(&mut self, words: &str) -> Result<()> {
        let from = Instant::now();
        loop {
            self.look().await?;
            for plan in &self.pair.plans {
                let ready = http::get(plan.api(), "/ready").await;
                if ready.is_ok_and(|answer| answer.body.contains(words)) {
                    return Ok(());
                }
            }
            let said = || self.pair.said();
            ensure!(from.elapsed() < FAILOVER, "nobody says `{words}`: {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The place of the node that leads, and of how many leaderships.
    async fn leader(&self) -> Result<(usize, u64)> {
        for (place, (plan, node)) in self.nodes.iter().enumerate() {
            let leads = http::get(plan.api(), "/ready/leader").await;
            if leads.is_ok_and(|answer| answer.status == 200) {
                let status = node.get("/cluster/status").await?;
                return Ok((
                    place,
                    status["epoch"].as_u64().with_context(|| format!("{status}"))?,
                ));
            }
        }
        anyhow::bail!("nobody leads: {}", self.pair.said())
    }

    /// Everything that was acknowledged arrived, in order, with no more repeats than `troubles` and changes of the leader
    /// explain; what the run was like.
    async fn judged(mut self, sender: Sender, troubles: u64) -> Result<String> {
        self.acknowledged(&sender, 100, Instant::now()).await?;
        sender.stop();
        let sent = sender.finish().await;
        let pair = self.pair;
        let judged = pair.load.settle(&sent).await.with_context(|| pair.said())?;
        let (leader, epochs) = self.leader().await?;
        sound(&judged, troubles + epochs - 1).with_context(|| pair.said())?;
        drained(&self.nodes[leader].1).await?;
        let found = format!(
            "{} acknowledged, {} repeated, longest time without an acknowledgement {:.1} s; {epochs} leaderships, {} nodes \
             started again",
            sent.acknowledged(),
            judged.totals.repeated_unexplained,
            sent.longest_gap_us as f64 / 1e6,
            self.restarts
        );
        let others_first = |(place, _): &(usize, (&Plan, Node<'_>))| *place == leader;
        let mut nodes: Vec<_> = self.nodes.into_iter().enumerate().collect();
        nodes.sort_by_key(others_first);
        for (_, (_, node)) in nodes {
            stop(node).await?;
        }
        Ok(found)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_and_one_that_hands_over_lose_nothing() -> Result<()> {
    let Some(folder) = installed() else { return Ok(()) };
    let group = blocking(|| Group::new(&folder));
    let pair = group.pair().await?;
    let mut nodes = start(&pair).await?;
    let sender = pair.load.sender(Pace::Closed { window: WINDOW })?;
    nodes.acknowledged(&sender, 200, Instant::now()).await?;

    // Unplanned: the primary's machine is gone, and the listener leads to a replica that does not write yet.
    let begun = Instant::now();
    blocking(|| group.primary.kill());
    group.listener.switch(group.secondary.tds_port());
    nodes.says("read-only, or a secondary replica").await?;
    let waited = begun.elapsed();
    blocking(|| group.secondary.promote());
    let promoted = begun.elapsed();
    let unplanned = nodes.acknowledged(&sender, 1, begun).await?;
    nodes.acknowledged(&sender, 100, begun).await?;

    // Planned: the primary stops in good order, then the other takes over.
    let group = blocking(|| group.rolled());
    nodes.acknowledged(&sender, 1, begun).await?;
    let begun = Instant::now();
    blocking(|| group.primary.stop());
    let stopped = begun.elapsed();
    blocking(|| group.secondary.promote());
    group.listener.switch(group.secondary.tds_port());
    let taken = begun.elapsed();
    let planned = nodes.acknowledged(&sender, 1, begun).await?;

    let found = nodes.judged(sender, 2).await?;
    say(&format!(
        "killed: a replica that cannot be written to was seen after {waited:.1?}, promoted after {promoted:.1?}, acknowledged \
         again after {unplanned:.1?}; handed over: stopped after {stopped:.1?}, the other took over after {taken:.1?}, \
         acknowledged again after {planned:.1?}; {found}"
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_and_the_leading_node_that_are_lost_at_once_lose_nothing() -> Result<()> {
    let Some(folder) = installed() else { return Ok(()) };
    let group = blocking(|| Group::new(&folder));
    let pair = group.pair().await?;
    let mut nodes = start(&pair).await?;
    let sender = pair.load.sender(Pace::Closed { window: WINDOW })?;
    nodes.acknowledged(&sender, 200, Instant::now()).await?;
    let begun = Instant::now();
    let (_, leader) = nodes.nodes.remove(0);
    leader.kill()?;
    blocking(|| group.primary.kill());
    blocking(|| group.secondary.promote());
    group.listener.switch(group.secondary.tds_port());
    let promoted = begun.elapsed();
    // A lease of that profile lasts for half a minute.
    let again = nodes.acknowledged(&sender, 1, begun).await?;
    let found = nodes.judged(sender, 2).await?;
    say(&format!(
        "primary and leader killed: promoted after {promoted:.1?}, the other node acknowledged after {again:.1?}; {found}"
    ));
    Ok(())
}
