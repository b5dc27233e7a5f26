//! `kill -9` under load, and stopping in good order. The judge is `bench`: it knows the wire only.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::payload::Pool;
use bench::reconcile::{Expect, Reconciliation, reconcile};
use bench::sender::{self, Pace, Record, Sender};
use bench::sink;
use tests::node::Node;
use tests::wait::{self, PATIENCE};

use super::site::{Site, stop};

pub(super) const LANES: u16 = 4;

/// Kills in one run of the test; `HOLDFAST_KILLS=50` for the long one.
fn kills() -> u64 {
    std::env::var("HOLDFAST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5)
}

/// Lanes in, each to a partner of its own; `options` are further ones of the inbounds' `mllp`, `more` of the outbounds.
fn lanes(count: u16, options: &str, more: &str) -> String {
    let mut feed = String::new();
    for lane in 0..count {
        let out = if lane == 0 {
            "{out}".to_owned()
        } else {
            format!("{{out{lane}}}")
        };
        feed += &format!(
            "inbound(\"IB_LANE{lane}_ADT\", mllp(port = {{in{lane}}}{options}), router = \"r{lane}\")\n\
             outbound(\"OB_LANE{lane}_ADT\", mllp(host = \"127.0.0.1\", port = {out}), \
             retry = retry(backoff = 0.05, backoff_max = 0.2){more})\n\
             @router(\"r{lane}\")\ndef route{lane}(msg):\n    return [\"h{lane}\"]\n\
             @handler(\"h{lane}\")\ndef handle{lane}(msg):\n    msg[\"MSH-5\"] = \"LANE{lane}\"\n    \
             return send(\"OB_LANE{lane}_ADT\", msg)\n\n"
        );
    }
    feed
}

pub(super) struct Load {
    pub(super) site: Site,
    /// Where the sender finds the inbounds.
    pub(super) inbounds: Vec<u16>,
}

impl Load {
    pub(super) async fn new() -> Result<Load> {
        Load::of(LANES, "").await
    }

    /// So many lanes; `options` are further ones of the inbounds' `mllp`.
    pub(super) async fn of(count: u16, options: &str) -> Result<Load> {
        Load::with(count, options, "").await
    }

    /// The same, and `more` of the outbounds' options.
    async fn with(count: u16, options: &str, more: &str) -> Result<Load> {
        let inbounds: Vec<u16> = (0..count).map(|_| tests::ports::free()).collect();
        let mut feed = lanes(count, options, more);
        for (lane, port) in inbounds.iter().enumerate() {
            feed = feed.replace(&format!("{{in{lane}}}"), &port.to_string());
        }
        let site = Site::with_sink(&feed, sink::Options::local(count.into())).await?;
        Ok(Load { site, inbounds })
    }

    pub(super) fn sender(&self, pace: Pace) -> Result<Sender> {
        let mut options = sender::Options::new("", Pool::of([tests::mllp::adt("X").into()])?);
        options.to = self
            .inbounds
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        options.lanes = u16::try_from(self.inbounds.len())?;
        options.pace = pace;
        options.ack_timeout = Duration::from_secs(10);
        Ok(Sender::start(options)?)
    }

    /// Waits until all that was acknowledged has arrived, each lane at its own partner.
    pub(super) async fn settle(&self, sent: &Record) -> Result<Reconciliation> {
        let own_port =
            |message: bench::reconcile::Sent, port: usize| u32::from(usize::from(message.lane) == port);
        let judged = wait::until("everything acknowledged to arrive", 2 * PATIENCE, || async {
            let judged = reconcile(sent, &self.site.sink.received(), &Expect::Exactly(&own_port));
            ensure!(judged.totals.missing == 0, "{:?}", judged.totals);
            Ok(judged)
        });
        judged
            .await
            .with_context(|| format!("the node said:\n{}", self.site.plan.said()))
    }

    /// Waits until the sender has `more` acknowledgements than now.
    pub(super) async fn progress(&self, sender: &Sender, more: u64) -> Result<()> {
        let goal = sender.progress().acknowledged + more;
        let reached = wait::until("acknowledgements under load", PATIENCE, || {
            let progress = sender.progress();
            async move {
                ensure!(progress.acknowledged >= goal, "{progress:?}, goal {goal}");
                Ok(())
            }
        });
        reached
            .await
            .with_context(|| format!("the node said:\n{}", self.site.plan.said()))
    }
}

/// Nothing in flight: each message has its one end and each send its outcome (I6), by the whole store's count.
pub(super) async fn drained(node: &Node<'_>) -> Result<()> {
    wait::until("every message to have its end", PATIENCE, || async {
        let census = node.get("/api/v1/census").await?;
        let open = census["open"]
            .as_object()
            .context("the census counts what is open")?;
        ensure!(open.values().all(|count| count == 0), "still open: {open:?}");
        let ends = census["dispositions"]
            .as_object()
            .context("the census counts dispositions")?;
        ensure!(
            ends.get("PROCESSED") == Some(&census["messages"]),
            "not all ended well: {census}"
        );
        ensure!(
            census["sends"] == census["delivered"],
            "not every send was delivered: {census}"
        );
        Ok(())
    })
    .await
}

/// Nothing missing, nothing out of order, and at most one repeat a lane for each crash.
pub(super) fn sound(judged: &Reconciliation, crashes: u64) -> Result<()> {
    let totals = &judged.totals;
    ensure!(
        judged.is_complete(),
        "missing or unexpected: {totals:?} {:?}",
        judged.examples
    );
    ensure!(
        judged.is_in_order(),
        "out of order: {totals:?} {:?}",
        judged.examples
    );
    let allowed = crashes * u64::from(LANES);
    ensure!(
        totals.repeated_unexplained <= allowed,
        "{} repeats, {allowed} allowed: {totals:?}",
        totals.repeated_unexplained
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_keeps_order_and_repeats_at_most_one_a_lane() -> Result<()> {
    let kills = kills();
    let judged = killed(&Load::new().await?, kills).await?;
    sound(&judged, kills)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_repeats_no_more_than_an_outbound_may_have_unrecorded() -> Result<()> {
    const UNRECORDED: u64 = 4;
    let load = Load::with(LANES, "", &format!(", unrecorded = {UNRECORDED}")).await?;
    let judged = killed(&load, 3).await?;
    let totals = &judged.totals;
    ensure!(judged.is_complete(), "{totals:?} {:?}", judged.examples);
    ensure!(
        totals.inversions == 0,
        "first deliveries keep their order: {totals:?}"
    );
    let allowed = 3 * UNRECORDED * u64::from(LANES);
    ensure!(
        totals.repeated_unexplained <= allowed,
        "{} repeats, {allowed} allowed: {totals:?}",
        totals.repeated_unexplained
    );
    Ok(())
}

/// Kills a node under load so many times, and judges when all has arrived.
async fn killed(load: &Load, kills: u64) -> Result<Reconciliation> {
    let mut node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    for kill in 0..kills {
        // Moments spread by progress, not by the clock: early, amid, late in a stretch of work.
        load.progress(&sender, 50 + (kill * 7919) % 700).await?;
        node.kill()?;
        node = load.site.plan.start().await?;
    }
    load.progress(&sender, 200).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    drained(&node).await?;
    stop(node).await?;
    Ok(judged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_in_good_order_loses_and_repeats_nothing() -> Result<()> {
    let load = Load::new().await?;
    let mut node = load.site.plan.start().await?;
    let sender = load.sender(Pace::Closed { window: 16 })?;
    for _ in 0..3 {
        load.progress(&sender, 300).await?;
        stop(node).await?;
        node = load.site.plan.start().await?;
    }
    load.progress(&sender, 300).await?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = load.settle(&sent).await?;
    ensure!(
        judged.is_complete() && judged.is_in_order(),
        "{:?} {:?}",
        judged.totals,
        judged.examples
    );
    ensure!(
        judged.totals.repeated_unexplained == 0,
        "a planned stop repeats nothing: {:?}",
        judged.totals
    );
    drained(&node).await?;
    stop(node).await
}
