//! Retention of nothing while messages pass: what is done goes, what is owed stays, and the disk gets its space back.

use std::path::Path;

use anyhow::{Result, ensure};
use bench::sink::{Behaviour, Misdeed, When};
use tests::wait::{self, PATIENCE};
use tests::{http, mllp};

use super::site::{Site, stop};

const MESSAGES: usize = 120;
const SIZE: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'holdfast' AND relkind = 'r'";

/// About 60 KB that do not get much shorter by compression.
fn bulky(control_id: &str) -> Vec<u8> {
    let mut state = control_id.bytes().fold(7_u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 40) as usize % 64],
        )
    };
    let mut message = mllp::adt(control_id);
    message.extend_from_slice(b"ZZZ|");
    message.extend((0..60_000).map(|_| next() as u8));
    message.push(b'\r');
    message
}

fn bytes_under(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_under(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0, // it went meanwhile
        })
        .sum()
}

async fn what_is_owed_stays_and_what_is_done_goes(site: &Site) -> Result<()> {
    let node = site.plan.start().await?;
    site.sink
        .behave(0, Behaviour::faulty(Misdeed::Hang, When::Always));
    let mut line = site.line().await?;
    for number in 0..MESSAGES {
        let (code, _) = line.ask(&bulky(&format!("RET{number}"))).await?;
        ensure!(code == "AA", "RET{number}: {code}");
    }
    // Nothing is delivered: however old, nothing may go.
    let run = serde_json::json!({"dry_run": false});
    let answer = http::post(site.plan.api(), "/api/v1/retention", &run).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    let census = node.get("/api/v1/census").await?;
    ensure!(census["messages"] == MESSAGES, "{census}");

    site.sink.behave(0, Behaviour::default());
    let all = MESSAGES as u64;
    let reached = site
        .sink
        .wait_until(PATIENCE, |counts| counts.accepted >= all)
        .await;
    reached.map_err(|counts| anyhow::anyhow!("{counts:?}\n{}", site.plan.said()))?;
    wait::until("what is done is gone", PATIENCE, || async {
        http::post(site.plan.api(), "/api/v1/retention", &run).await?;
        let census = node.get("/api/v1/census").await?;
        let left = census["messages"].as_u64().unwrap_or(u64::MAX);
        ensure!(left < all / 2, "{census}");
        Ok(())
    })
    .await?;
    stop(node).await
}

/// With a longer term for all but bodies: every message stays in the list and in the counts, and most bodies are gone.
async fn bodies_go_and_messages_stay(site: &Site) -> Result<()> {
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    for number in 0..MESSAGES {
        let (code, _) = line.ask(&bulky(&format!("RET{number}"))).await?;
        ensure!(code == "AA", "RET{number}: {code}");
    }
    let all = MESSAGES as u64;
    let processed = wait::until("bodies of what is done are gone", PATIENCE, || async {
        let run = serde_json::json!({"dry_run": false});
        http::post(site.plan.api(), "/api/v1/retention", &run).await?;
        let page = node.get("/api/v1/messages?limit=1000").await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        ensure!(items.len() == MESSAGES, "{} are listed", items.len());
        let bare: Vec<_> = items
            .into_iter()
            .filter(|line| line["body_removed"] == true)
            .collect();
        ensure!(bare.len() > MESSAGES / 2, "{} bodies are gone", bare.len());
        Ok(bare)
    })
    .await?;
    let census = node.get("/api/v1/census").await?;
    ensure!(
        census["messages"] == all && census["dispositions"]["PROCESSED"] == all && census["delivered"] == all,
        "{census}"
    );
    for one in &processed {
        ensure!(
            one["size"].as_u64() > Some(60_000) && one["status"] == "PROCESSED",
            "{one}"
        );
    }
    let id = processed[0]["id"].as_str().unwrap_or_default().to_owned();
    let detail = node.get(&format!("/api/v1/messages/{id}")).await?;
    let send = detail["sends"][0]["id"].as_str().unwrap_or_default();
    for path in [format!("{id}/body"), format!("{id}/sends/{send}/body")] {
        let answer = http::get(site.plan.api(), &format!("/api/v1/messages/{path}")).await?;
        ensure!(
            answer.status == 410 && answer.body.contains("retention removed the bodies"),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    let again = serde_json::json!({"from": "ingress"});
    let answer = http::post(site.plan.api(), &format!("/api/v1/messages/{id}/replay"), &again).await?;
    ensure!(
        answer.status == 409 && answer.body.contains("cannot be replayed"),
        "{} {}",
        answer.status,
        answer.body
    );
    stop(node).await?;
    // Nothing of it is open for the next start.
    let node = site.plan.start().await?;
    let census = node.get("/api/v1/census").await?;
    ensure!(
        census["dispositions"]["PROCESSED"] == all && census["open"]["outbound"] == 0,
        "{census}"
    );
    ensure!(site.sink.counts().accepted == all, "{:?}", site.sink.counts());
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_go_messages_stay_and_the_folder_shrinks() -> Result<()> {
    let mut site = Site::relay().await?;
    site.plan = site
        .plan
        .setting("HOLDFAST_STORE__SEGMENT_MB", "1")
        .setting("HOLDFAST_RETENTION__DAYS", "0")
        .setting("HOLDFAST_RETENTION__METADATA_DAYS", "365");
    bodies_go_and_messages_stay(&site).await?;
    let left = bytes_under(site.plan.data_dir());
    ensure!(left < 4 << 20, "{left} bytes are left of more than 7 MB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_go_messages_stay_and_the_database_shrinks() -> Result<()> {
    let database = pgtest::server().database();
    let mut site = Site::relay().await?;
    site.plan = site
        .plan
        .setting("HOLDFAST_STORE__BACKEND", "postgres")
        .setting("HOLDFAST_STORE__URL", &database.url())
        .setting("HOLDFAST_STORE__SEGMENT_MB", "1")
        .setting("HOLDFAST_RETENTION__DAYS", "0")
        .setting("HOLDFAST_RETENTION__METADATA_DAYS", "365");
    bodies_go_and_messages_stay(&site).await?;
    let left: u64 = database.sql(SIZE).parse()?;
    ensure!(left < 5 << 20, "{left} bytes are left of more than 7 MB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_stays_what_is_done_goes_and_the_folder_shrinks() -> Result<()> {
    let mut site = Site::relay().await?;
    site.plan = site
        .plan
        .setting("HOLDFAST_STORE__SEGMENT_MB", "1")
        .setting("HOLDFAST_RETENTION__DAYS", "0");
    what_is_owed_stays_and_what_is_done_goes(&site).await?;
    let left = bytes_under(site.plan.data_dir());
    ensure!(left < 4 << 20, "{left} bytes are left of more than 7 MB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_stays_what_is_done_goes_and_the_database_shrinks() -> Result<()> {
    let database = pgtest::server().database();
    let mut site = Site::relay().await?;
    site.plan = site
        .plan
        .setting("HOLDFAST_STORE__BACKEND", "postgres")
        .setting("HOLDFAST_STORE__URL", &database.url())
        .setting("HOLDFAST_STORE__SEGMENT_MB", "1")
        .setting("HOLDFAST_RETENTION__DAYS", "0");
    what_is_owed_stays_and_what_is_done_goes(&site).await?;
    let left: u64 = database.sql(SIZE).parse()?;
    ensure!(left < 5 << 20, "{left} bytes are left of more than 7 MB");
    Ok(())
}
