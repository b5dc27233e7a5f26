//! What operators do: hold and release, replay, skip. Each takes effect, lasts, and leaves its trace.

use anyhow::{Context, Result, ensure};
use bench::sink::{Behaviour, Misdeed, NakCode, When};
use serde_json::{Value, json};
use tests::wait::{self, PATIENCE};
use tests::{http, mllp};

use super::site::{Site, stop};

impl Site {
    /// Gives a command that must be carried out.
    async fn command(&self, path: &str, body: Value) -> Result<Value> {
        let answer = http::post(self.plan.api(), path, &body).await?;
        ensure!(
            answer.status == 200,
            "{path}: status {}: {}",
            answer.status,
            answer.body
        );
        answer.json()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_outbound_keeps_its_sends_across_a_restart_and_sends_them_once_released() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    site.command("/api/v1/connections/OB_TEST_ADT/hold", json!({}))
        .await?;
    for number in 0..10 {
        ensure!(
            site.line()
                .await?
                .ask(&mllp::adt(&format!("HELD{number}")))
                .await?
                .0
                == "AA"
        );
    }
    node.kill()?;
    let node = site.plan.start().await?;
    site.ends_as("HELD9", "ROUTED").await?;
    ensure!(
        site.sink.counts().arrived == 0,
        "a held connection sent: {:?}",
        site.sink.counts()
    );
    site.command("/api/v1/connections/OB_TEST_ADT/release", json!({}))
        .await?;
    site.delivered(10).await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_inbound_closes_its_port_until_it_is_released() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    site.still_works().await?;
    site.command("/api/v1/connections/IB_TEST_ADT/hold", json!({}))
        .await?;
    wait::until("the port to close", PATIENCE, || async {
        ensure!(site.line().await.is_err(), "it still takes connections");
        Ok(())
    })
    .await?;
    site.command("/api/v1/connections/IB_TEST_ADT/release", json!({}))
        .await?;
    wait::until("the port to open", PATIENCE, || async {
        site.line().await.map(drop)
    })
    .await?;
    site.still_works().await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_counted_first_then_replayed_and_the_message_ends_well() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    site.sink
        .behave(0, Behaviour::faulty(Misdeed::Nak(NakCode::Ar), When::Always));
    for id in ["DEAD1", "DEAD2"] {
        ensure!(site.line().await?.ask(&mllp::adt(id)).await?.0 == "AA");
        site.ends_as(id, "ERROR").await?;
    }
    site.sink.behave(0, Behaviour::default());
    let preview = site
        .command("/api/v1/dead-letters/replay", json!({"preview": true}))
        .await?;
    ensure!(
        preview["rows"] == 2 && site.sink.counts().accepted == 0,
        "a preview only counts: {preview}"
    );
    let done = site
        .command("/api/v1/dead-letters/replay", json!({"preview": false}))
        .await?;
    ensure!(done["rows"] == 2, "{done}");
    site.delivered(2).await?;
    for id in ["DEAD1", "DEAD2"] {
        let detail = site.ends_as(id, "PROCESSED").await?.to_string();
        ensure!(
            detail.contains("e2e"),
            "the trail must say who replayed: {detail}"
        );
    }
    let left = node.get("/api/v1/dead-letters").await?;
    ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_can_be_replayed_from_each_stage() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    ensure!(site.line().await?.ask(&mllp::adt("AGAIN")).await?.0 == "AA");
    site.delivered(1).await?;
    for (from, copies) in [("ingress", 2), ("routed", 3), ("outbound", 4)] {
        let detail = site.ends_as("AGAIN", "PROCESSED").await?;
        let id = detail["id"].as_str().context("an id")?;
        site.command(&format!("/api/v1/messages/{id}/replay"), json!({"from": from}))
            .await?;
        site.delivered(copies)
            .await
            .with_context(|| format!("from {from}"))?;
    }
    site.ends_as("AGAIN", "PROCESSED").await?;
    stop(node).await
}
