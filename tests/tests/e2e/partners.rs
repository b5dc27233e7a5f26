//! Partners that misbehave: each message arrives in the end, in order, and answers never get mixed up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::sink::{Behaviour, Misdeed, NakCode, When};
use tests::mllp;

use super::site::{Site, stop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_partner_does_each_message_arrives_in_order() -> Result<()> {
    let misdeeds = [
        ("asks for it again", Misdeed::Nak(NakCode::Ae)),
        ("asks for it again, enhanced", Misdeed::Nak(NakCode::Ce)),
        ("closes instead of answering", Misdeed::Drop),
        ("closes half way through its answer", Misdeed::CutShort),
        ("answers garbage", Misdeed::Garbage),
        ("answers for another message", Misdeed::WrongId),
        ("does not answer", Misdeed::Silence),
        ("hangs", Misdeed::Hang),
        ("answers twice", Misdeed::Twice),
    ];
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    for (case, misdeed) in misdeeds {
        let before = site.sink.received()[0].bodies.len();
        site.sink.behave(0, Behaviour::faulty(misdeed, When::First(2)));
        let accepted = site.sink.counts().accepted;
        for id in ["P1", "P2", "P3"] {
            ensure!(
                line.ask(&mllp::adt(id)).await?.0 == "AA",
                "{case}: a partner's trouble is not the sender's"
            );
        }
        let reached = |counts: &bench::sink::Counts| counts.accepted >= accepted + 3;
        let waited = site.sink.wait_until(Duration::from_secs(20), reached).await;
        waited.map_err(|counts| anyhow::anyhow!("{case}: {counts:?}\n{}", site.plan.said()))?;
        let order = first_seen(&site.sink.received()[0].bodies[before..]);
        ensure!(order == ["P1", "P2", "P3"], "{case}: arrived as {order:?}");
    }
    site.sink.behave(0, Behaviour::default());
    site.still_works().await?;
    stop(node).await
}

/// Control ids in the order of their first arrival.
fn first_seen(bodies: &[bytes::Bytes]) -> Vec<String> {
    let mut seen = Vec::new();
    for body in bodies {
        let text = String::from_utf8_lossy(body);
        let id = text.split('|').nth(9).unwrap_or_default().to_owned();
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_is_a_dead_letter_and_the_lane_goes_on() -> Result<()> {
    for code in [NakCode::Ar, NakCode::Cr] {
        let site = Site::relay().await?;
        let node = site.plan.start().await?;
        site.sink
            .behave(0, Behaviour::faulty(Misdeed::Nak(code), When::First(1)));
        let mut line = site.line().await?;
        ensure!(line.ask(&mllp::adt("DEAD")).await?.0 == "AA");
        ensure!(line.ask(&mllp::adt("ALIVE")).await?.0 == "AA");
        site.ends_as("DEAD", "ERROR")
            .await
            .with_context(|| format!("{code:?}"))?;
        site.ends_as("ALIVE", "PROCESSED")
            .await
            .with_context(|| format!("{code:?}"))?;
        ensure!(
            site.sink.counts().arrived == 2,
            "it must not be tried again: {:?}",
            site.sink.counts()
        );
        stop(node).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_is_away_gets_everything_when_it_is_back() -> Result<()> {
    let feed = r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "both")
outbound("OB_AWAY_ADT", mllp(host = "127.0.0.1", port = {away}), retry = retry(backoff = 0.05, backoff_max = 0.2))
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}))

@router
def both(msg):
    return ["fan_out"]

@handler
def fan_out(msg):
    return [send("OB_AWAY_ADT", msg), send("OB_TEST_ADT", msg)]
"#;
    let away = tests::ports::free();
    let site = Site::new(&feed.replace("{away}", &away.to_string())).await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    for number in 0..20 {
        ensure!(line.ask(&mllp::adt(&format!("AWAY{number}"))).await?.0 == "AA");
    }
    site.delivered(20)
        .await
        .context("the sibling of an absent partner")?;
    site.ends_as("AWAY0", "ROUTED").await?;
    let mut options = bench::sink::Options::local(1);
    options.bind[0].set_port(away);
    let late = bench::sink::Sink::start(options).await?;
    let reached = late
        .wait_until(tests::wait::PATIENCE, |counts| counts.accepted >= 20)
        .await;
    reached.map_err(|counts| anyhow::anyhow!("{counts:?}\n{}", site.plan.said()))?;
    for number in 0..20 {
        site.ends_as(&format!("AWAY{number}"), "PROCESSED").await?;
    }
    stop(node).await
}
