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
use tests::node::Node;
use tests::{http, wait};

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
async fn start(pair: &Pair) -> Result<[Node<'_>; 2]> {
    let first = pair.plans[0].spawn()?;
    leads(pair, 0).await?;
    let second = pair.plans[1].spawn()?;
    let begun = Instant::now();
    while let Err(error) = pair.could_lead(1).await {
        ensure!(begun.elapsed() < FAILOVER, "{error:#}");
    }
    Ok([first, second])
}

async fn leads(pair: &Pair, index: usize) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = pair.leads(index).await {
        ensure!(begun.elapsed() < FAILOVER, "{error:#}");
    }
    Ok(())
}

/// Waits until somebody has got one more acknowledgement than now; how long that took since `begun`.
async fn acknowledged_again(pair: &Pair, sender: &Sender, begun: Instant) -> Result<Duration> {
    let goal = sender.progress().acknowledged + 1;
    let again = wait::until("messages to be acknowledged again", FAILOVER, || {
        let progress = sender.progress();
        async move {
            ensure!(progress.acknowledged >= goal, "{progress:?}, goal {goal}");
            Ok(())
        }
    });
    again.await.with_context(|| pair.said())?;
    Ok(begun.elapsed())
}

/// Waits until the leader gives this as the reason why it cannot store.
async fn says(pair: &Pair, words: &str) -> Result<()> {
    let what = format!("the leader to say `{words}`");
    let said = wait::until(&what, FAILOVER, || async {
        let ready = http::get(pair.plans[0].api(), "/ready").await?;
        ensure!(ready.body.contains(words), "/ready says {}", ready.body);
        Ok(())
    });
    said.await.with_context(|| pair.said())
}

/// The number of leaderships so far, by whoever answers.
async fn leaderships(pair: &Pair) -> Result<u64> {
    let nodes = http::get(pair.plans[0].api(), "/cluster/status").await?.json()?;
    nodes["epoch"].as_u64().with_context(|| format!("{nodes}"))
}

/// Everything that was acknowledged arrived, in order, with no more repeats than `troubles` explain; the longest time
/// between two acknowledgements.
async fn judged(pair: &Pair, sender: Sender, troubles: u64) -> Result<String> {
    let goal = sender.progress().acknowledged + 100;
    wait::until("a hundred more", FAILOVER, || {
        let progress = sender.progress();
        async move {
            ensure!(progress.acknowledged >= goal, "{progress:?}");
            Ok(())
        }
    })
    .await
    .with_context(|| pair.said())?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = pair.load.settle(&sent).await.with_context(|| pair.said())?;
    sound(&judged, troubles).with_context(|| pair.said())?;
    Ok(format!(
        "{} acknowledged, {} repeated, longest time without an acknowledgement {:.1} s",
        sent.acknowledged(),
        judged.totals.repeated_unexplained,
        sent.longest_gap_us as f64 / 1e6
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_and_one_that_hands_over_lose_nothing_and_no_node_is_restarted() -> Result<()>
{
    let Some(folder) = installed() else { return Ok(()) };
    let group = blocking(|| Group::new(&folder));
    let pair = group.pair().await?;
    let [first, second] = start(&pair).await?;
    let sender = pair.load.sender(Pace::Closed { window: WINDOW })?;
    pair.load.progress(&sender, 200).await?;

    // Unplanned: the primary's machine is gone, and the listener leads to a replica that does not write yet.
    let begun = Instant::now();
    blocking(|| group.primary.kill());
    group.listener.switch(group.secondary.tds_port());
    says(&pair, "read-only, or a secondary replica").await?;
    let waited = begun.elapsed();
    blocking(|| group.secondary.promote());
    let promoted = begun.elapsed();
    let unplanned = acknowledged_again(&pair, &sender, begun).await?;
    pair.load.progress(&sender, 100).await?;

    // Planned: the primary stops in good order, then the other takes over.
    let group = blocking(|| group.rolled());
    let begun = Instant::now();
    blocking(|| group.primary.stop());
    let stopped = begun.elapsed();
    blocking(|| group.secondary.promote());
    group.listener.switch(group.secondary.tds_port());
    let taken = begun.elapsed();
    let planned = acknowledged_again(&pair, &sender, begun).await?;

    let found = judged(&pair, sender, 2).await?;
    let epochs = leaderships(&pair).await?;
    drained(&first).await?;
    say(&format!(
        "killed: a replica that cannot be written to was seen after {waited:.1?}, promoted after {promoted:.1?}, acknowledged \
         again after {unplanned:.1?}; handed over: stopped after {stopped:.1?}, the other took over after {taken:.1?}, \
         acknowledged again after {planned:.1?}; {found}; {epochs} leaderships"
    ));
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_and_the_leading_node_that_are_lost_at_once_lose_nothing() -> Result<()> {
    let Some(folder) = installed() else { return Ok(()) };
    let group = blocking(|| Group::new(&folder));
    let pair = group.pair().await?;
    let [leader, standby] = start(&pair).await?;
    let sender = pair.load.sender(Pace::Closed { window: WINDOW })?;
    pair.load.progress(&sender, 200).await?;
    let begun = Instant::now();
    leader.kill()?;
    blocking(|| group.primary.kill());
    blocking(|| group.secondary.promote());
    group.listener.switch(group.secondary.tds_port());
    let promoted = begun.elapsed();
    // A lease of that profile lasts for half a minute.
    let again = acknowledged_again(&pair, &sender, begun).await?;
    leads(&pair, 1).await?;
    let found = judged(&pair, sender, 2).await?;
    drained(&standby).await?;
    say(&format!(
        "primary and leader killed: promoted after {promoted:.1?}, the other node acknowledged after {again:.1?}; {found}"
    ));
    stop(standby).await
}
