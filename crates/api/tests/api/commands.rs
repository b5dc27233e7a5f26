//! Replay, skip, hold and release: what they do, what they refuse, and the trace they leave.

use api::wire::{Census, Empty, Held, Replayed, Skipped};
use serde_json::json;

use super::site::{ACTOR, Site};

async fn replay(site: &Site, id: &str, body: serde_json::Value) -> Replayed {
    let path = format!("/api/v1/messages/{id}/replay");
    site.client
        .post_json(&path, ACTOR, &body)
        .await
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_replayed_from_each_stage_and_says_by_whom() {
    let site = Site::start().await;
    let id = site.send_until("A01", "R1", "PROCESSED").await.id.to_string();
    for (body, sends) in [
        (json!({"from": "ingress"}), 2),
        (json!({"from": "outbound"}), 3),
        (json!({"from": "routed"}), 4),
        (json!({"from": "outbound", "to": "OB_FILES"}), 5),
        (json!({"from": "routed", "handlers": ["plain"]}), 6),
    ] {
        assert_eq!(replay(&site, &id, body.clone()).await.rows, 1, "{body}");
        let message = site
            .until(&format!("{sends} deliveries after {body}"), async || {
                let message = site.message(&id).await;
                let delivered = message
                    .sends
                    .iter()
                    .filter(|send| send.state == "delivered")
                    .count();
                (delivered == sends && message.line.status.is_final()).then_some(message)
            })
            .await;
        assert_eq!(message.line.status.as_str(), "PROCESSED", "{body}");
    }
    let trail = site.message(&id).await.trail;
    let replays: Vec<_> = trail.iter().filter(|entry| entry.what == "replayed").collect();
    assert_eq!(replays.len(), 5);
    assert!(
        replays.iter().all(|entry| entry.by.as_deref() == Some(ACTOR)),
        "{replays:?}"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_makes_no_sense_is_refused_with_the_reason() {
    let site = Site::start().await;
    let unrouted = site.send_until("A99", "N1", "UNROUTED").await.id;
    let done = site.send_until("A01", "N2", "PROCESSED").await.id;
    let open = site.send_stuck("N3").await.line.id;
    for (id, body, status, part) in [
        (unrouted.to_string(), json!({"from": "routed"}), 409, "no handler"),
        (
            unrouted.to_string(),
            json!({"from": "outbound"}),
            409,
            "ever sent",
        ),
        (open.to_string(), json!({"from": "ingress"}), 409, "in flight"),
        (
            done.to_string(),
            json!({"from": "routed", "handlers": ["chnage"]}),
            404,
            "did you mean `change`?",
        ),
        (
            done.to_string(),
            json!({"from": "outbound", "to": "OB_FILE"}),
            404,
            "did you mean `OB_FILES`?",
        ),
        (
            done.to_string(),
            json!({"from": "ingress", "to": "OB_FILES"}),
            400,
            "outbound",
        ),
        (
            done.to_string(),
            json!({"from": "outbound", "handlers": ["plain"]}),
            400,
            "routed",
        ),
        (done.to_string(), json!({"from": "nowhere"}), 400, "nowhere"),
        (done.to_string(), json!({}), 400, "from"),
        (
            done.to_string(),
            json!({"from": "ingress", "too": "OB_FILES"}),
            400,
            "too",
        ),
        ("7-7".to_owned(), json!({"from": "ingress"}), 404, "7-7"),
        ("seven".to_owned(), json!({"from": "ingress"}), 400, "3-1042"),
    ] {
        let answer = site
            .post(&format!("/api/v1/messages/{id}/replay"), &body.to_string())
            .await;
        assert_eq!(answer.status, status, "{id} {body}: {answer:?}");
        assert!(
            answer.json().to_string().contains(part),
            "{id} {body}: {}",
            answer.json()
        );
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_counted_first_and_replayed_then() {
    let site = Site::start().await;
    let stuck = site.send_stuck("L1").await;
    let (id, send) = (stuck.line.id, stuck.sends[0].id);
    let skip = format!("/api/v1/messages/{id}/sends/{send}/skip");
    let skipped: Skipped = site.client.post_json(&skip, ACTOR, &Empty {}).await.unwrap();
    assert_eq!(skipped.skipped, send);
    site.ends_as("L1", "ERROR").await;
    site.send_until("A04", "L2", "ERROR").await;
    for (body, rows) in [
        (json!({"preview": true}), 2),
        (json!({"preview": true, "stage": "routed"}), 1),
        (json!({"preview": true, "at": "OB_DEAD"}), 1),
        (json!({"preview": true, "message": id}), 1),
        (json!({"preview": true, "stage": "ingress"}), 0),
    ] {
        let counted: Replayed = site
            .client
            .post_json("/api/v1/dead-letters/replay", ACTOR, &body)
            .await
            .unwrap();
        assert_eq!((counted.rows, counted.preview), (rows, true), "{body}");
    }
    let body = json!({"preview": false, "stage": "outbound"});
    let done: Replayed = site
        .client
        .post_json("/api/v1/dead-letters/replay", ACTOR, &body)
        .await
        .unwrap();
    assert_eq!((done.rows, done.preview, done.skipped.len()), (1, false, 0));
    site.ends_as("L1", "ROUTED").await;
    let census: Census = site.client.get_json("/api/v1/census").await.unwrap();
    assert_eq!(census.dead_letters, 1, "the one at its handler is left");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_send_that_waits_and_belongs_to_the_message_is_skipped() {
    let site = Site::start().await;
    let stuck = site.send_stuck("S1").await;
    let done = site.send_until("A01", "S2", "PROCESSED").await.id;
    let (waiting, delivered) = (
        stuck.sends[0].id,
        site.message(&done.to_string()).await.sends[0].id,
    );
    for (message, send, status) in [
        (done.to_string(), waiting.to_string(), 404),
        (done.to_string(), delivered.to_string(), 409),
        (done.to_string(), "x".to_owned(), 400),
        ("7-7".to_owned(), waiting.to_string(), 404),
    ] {
        let answer = site
            .post(&format!("/api/v1/messages/{message}/sends/{send}/skip"), "{}")
            .await;
        assert_eq!(answer.status, status, "{message} {send}: {answer:?}");
    }
    assert_eq!(
        site.message(&stuck.line.id.to_string()).await.sends[0].state,
        "waiting"
    );
    // The right pair, and no body at all.
    let path = format!("/api/v1/messages/{}/sends/{waiting}/skip", stuck.line.id);
    assert_eq!(site.post(&path, "").await.status, 200);
    let line = site.ends_as("S1", "ERROR").await;
    let message = site.message(&line.id.to_string()).await;
    assert!(
        message
            .trail
            .iter()
            .any(|entry| entry.by.as_deref() == Some(ACTOR)),
        "{:?}",
        message.trail
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_held_until_it_is_released() {
    let site = Site::start().await;
    for name in ["IB_ADT", "OB_FILES"] {
        let held: Held = site
            .client
            .post_json(&format!("/api/v1/connections/{name}/hold"), ACTOR, &Empty {})
            .await
            .unwrap();
        assert_eq!((held.name.as_str(), held.held), (name, true));
        assert_eq!(site.connection(name).await.state, "held");
    }
    site.until("the listener to close", async || {
        site.connection("IB_ADT").await.address.is_none().then_some(())
    })
    .await;
    for name in ["IB_ADT", "OB_FILES"] {
        let held: Held = site
            .client
            .post_json(&format!("/api/v1/connections/{name}/release"), ACTOR, &Empty {})
            .await
            .unwrap();
        assert!(!held.held);
    }
    site.until("the listener to open", async || {
        site.connection("IB_ADT").await.address
    })
    .await;
    site.send_until("A01", "H1", "PROCESSED").await;
    let answer = site.post("/api/v1/connections/OB_FILE/hold", "{}").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["hint"], "did you mean `OB_FILES`?");
    site.end().await;
}
