//! Health, readiness, metrics, cluster status.

use api::wire::{Cluster, Health};

use super::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_is_healthy_ready_and_leads() {
    let site = Site::start().await;
    let health: Health = site.client.get_json("/health").await.unwrap();
    assert_eq!(
        (health.status.as_str(), health.version.as_str()),
        ("ok", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(site.get("/ready").await.json()["ready"], true);
    let cluster: Cluster = site.client.get_json("/cluster/status").await.unwrap();
    assert!(cluster.lease_held && !cluster.clustered, "{cluster:?}");
    assert_eq!(
        (cluster.node.as_str(), cluster.role.as_str(), cluster.epoch.0),
        ("node-1", "primary", 1)
    );
    assert_eq!(cluster.lease_owner.as_deref(), Some("node-1"));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stopped_lives_but_is_not_ready() {
    let site = Site::start().await;
    site.node.stop().await;
    let ready = site.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["reason"].as_str().unwrap().contains("stopping"),
        "{ready:?}"
    );
    assert_eq!(site.get("/health").await.status, 200);
    site.stop.cancel();
    site.serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_show_what_was_counted_and_how_things_stand() {
    let site = Site::start().await;
    site.send_until("A01", "METRIC1", "PROCESSED").await;
    site.send_stuck("METRIC2").await;
    let answer = site.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "holdfast_ready 1",
        "holdfast_in_flight 1",
        "holdfast_queue_depth{name=\"IB_ADT\",role=\"inbound\"} 0",
        "holdfast_queue_depth{name=\"OB_DEAD\",role=\"outbound\"} 1",
        "holdfast_connection_state{name=\"OB_DEAD\",role=\"outbound\",state=\"waiting\"} 1",
        "holdfast_connection_state{name=\"IB_ADT\",role=\"inbound\",state=\"running\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
    // Recorded by the whole test process, so at least what this test did.
    for start in [
        "holdfast_messages_received_total{name=\"IB_ADT\"}",
        "holdfast_held_body_bytes ",
        "holdfast_delivery_seconds_bucket{",
        "holdfast_store_commit_seconds_bucket{",
        "holdfast_stage_seconds_bucket{stage=\"outcome_commit\",le=\"+Inf\"}",
        "holdfast_store_commit_rows_count{kind=\"disposition\"}",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(start)),
            "{start} is missing in\n{text}"
        );
    }
    assert!(!text.contains("DOE"), "a body has no place here");
    site.end().await;
}
