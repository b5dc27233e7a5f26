//! The everyday: what comes in goes out, ends as it should, and can be looked up.

use anyhow::{Result, ensure};
use tests::mllp;
use tests::mllp::Heard;

use super::site::{Site, stop};

const BRANCHES: &str = r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "by_trigger")
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}))

@router
def by_trigger(msg):
    if msg["MSH-4"] == "NOWHERE":
        return []
    return ["relay"]

@handler
def relay(msg):
    if msg["MSH-4"] == "FILTERED":
        return None
    msg["MSH-5"] = "PARTNER"
    return send("OB_TEST_ADT", msg)
"#;

fn from(facility: &str, control_id: &str) -> Vec<u8> {
    let text = String::from_utf8(mllp::adt(control_id)).expect("the sample is ASCII");
    text.replacen("HOSPITAL", facility, 1).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_byte_for_byte_and_its_trail_tells_so() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let body = mllp::adt("FLOW1");
    ensure!(site.line().await?.ask(&body).await? == ("AA".to_owned(), "FLOW1".to_owned()));
    site.delivered(1).await?;
    ensure!(
        site.sink.received()[0].bodies[0] == body,
        "an unedited message must arrive as it was sent"
    );
    let detail = site.ends_as("FLOW1", "PROCESSED").await?.to_string();
    for word in ["IB_TEST_ADT", "relay", "OB_TEST_ADT"] {
        ensure!(
            detail.contains(word),
            "the message's detail does not mention {word}: {detail}"
        );
    }
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_ends_as_its_functions_decide() -> Result<()> {
    let site = Site::new(BRANCHES).await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    for (facility, disposition) in [
        ("NOWHERE", "UNROUTED"),
        ("FILTERED", "FILTERED"),
        ("HERE", "PROCESSED"),
    ] {
        let (code, _) = line.ask(&from(facility, facility)).await?;
        ensure!(code == "AA", "{facility}: {code}");
        site.ends_as(facility, disposition).await?;
    }
    site.delivered(1).await?;
    let arrived = String::from_utf8_lossy(&site.sink.received()[0].bodies[0]).into_owned();
    ensure!(
        arrived.starts_with("MSH|^~\\&|SENDER|HERE|PARTNER|HOLDFAST|"),
        "the edit is missing: {arrived}"
    );
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_messages_with_one_control_id_are_two_messages() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    for _ in 0..2 {
        ensure!(line.ask(&mllp::adt("TWICE")).await?.0 == "AA");
    }
    site.delivered(2).await?;
    ensure!(
        site.messages("control_id=TWICE").await?.len() == 2,
        "both are listed"
    );
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_in_one_packet_are_answered_one_by_one_in_order() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    let ids: Vec<String> = (0..200).map(|number| format!("PIPE{number}")).collect();
    let packet: Vec<u8> = ids.iter().flat_map(|id| mllp::frame(&mllp::adt(id))).collect();
    line.raw(&packet).await?;
    for id in &ids {
        let heard: Heard = line.hear().await?;
        ensure!(
            heard.acknowledgement()? == ("AA".to_owned(), id.clone()),
            "{id}: {heard:?}"
        );
    }
    site.delivered(200).await?;
    let order: Vec<u8> = site.sink.received()[0].bodies.concat();
    let expected: Vec<u8> = ids.iter().flat_map(|id| mllp::adt(id)).collect();
    ensure!(order == expected, "a FIFO lane delivers in the order of arrival");
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_reaches_the_log() -> Result<()> {
    let site = Site::relay_with(", max_frame_bytes = 4096").await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    line.ask(&mllp::adt("LOG1")).await?;
    line.ask(b"TESTPATIENT is no HL7").await?;
    site.delivered(1).await?;
    let mut line = site.line().await?;
    line.raw(&mllp::frame(&[&mllp::adt("LOG2")[..], &[b'x'; 5000]].concat()))
        .await?;
    line.hear().await?;
    stop(node).await?;
    let said = site.plan.said();
    ensure!(
        !said.contains("TESTPATIENT"),
        "the log holds a piece of a message:\n{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_connections_and_cluster_answer() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    site.line().await?.ask(&mllp::adt("API1")).await?;
    site.delivered(1).await?;
    for path in ["/health", "/ready", "/api/v1/connections", "/cluster/status"] {
        let answer = tests::http::get(site.plan.api(), path).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
    }
    let connections = node.get("/api/v1/connections").await?.to_string();
    ensure!(
        connections.contains("IB_TEST_ADT") && connections.contains("OB_TEST_ADT"),
        "{connections}"
    );
    let metrics = tests::http::get(site.plan.api(), "/metrics").await?;
    ensure!(
        metrics.status == 200 && metrics.body.contains("holdfast_"),
        "{}",
        metrics.body
    );
    ensure!(
        metrics.body.contains("IB_TEST_ADT"),
        "metrics name connections: {}",
        metrics.body
    );
    let missing = tests::http::get(site.plan.api(), "/api/v1/messages/1-999999").await?;
    ensure!(missing.status == 404, "{missing:?}");
    for bad in [
        "/api/v1/messages/nonsense",
        "/api/v1/messages?status=NONSENSE",
        "/api/v1/messages?limit=x",
    ] {
        let answer = tests::http::get(site.plan.api(), bad).await?;
        ensure!(answer.status == 400, "{bad}: {answer:?}");
    }
    stop(node).await
}
