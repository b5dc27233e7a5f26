//! The leader removes what is done and past its days, and nothing else.

use std::time::Duration;

use bench::sink::{Behaviour, Misdeed, NakCode, When};
use engine::{CommandError, DeadLetterQuery, MessageQuery, Replay};
use model::Disposition;

use crate::site::{Site, adt};

const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
inbound("IB_KEEP_ADT", mllp(port = 0), router = "route_a", retention_days = 30)
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}))
outbound("OB_C_ADT", mllp(host = "127.0.0.1", port = {port1}))

@router
def route_a(msg):
    return ["to_c"] if msg["PID-3.1"] == "HELD" else ["to_b"]

@handler
def to_b(msg):
    return send("OB_B_ADT", msg)

@handler
def to_c(msg):
    return send("OB_C_ADT", msg)
"#;

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let done = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, done).await.is_ok(),
        "waited in vain: {what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_goes_and_what_is_held_or_kept_stays() {
    let mut site = Site::start(FEED, 2).await;
    site.halt().await;
    site.forgetful = true;
    site.boot().await;
    site.node().set_held("OB_C_ADT", true, "anna").await.unwrap();
    site.send("IB_A_ADT", &adt("HELD-1", "A01", "HELD")).await;
    site.send("IB_KEEP_ADT", &adt("KEPT-1", "A01", "P1")).await;
    for number in 0..60 {
        site.send("IB_A_ADT", &adt(&format!("M{number}"), "A01", "P1"))
            .await;
    }
    until("most are gone", async || site.messages().await.len() < 20).await;
    let left = site.messages().await;
    let has = |id: &str| left.iter().any(|line| line.control_id.as_deref() == Some(id));
    assert!(has("HELD-1") && has("KEPT-1"), "{left:?}");
    assert_eq!(site.arrived(0, 61).await.len(), 61);
    // What waited through it all is delivered as if nothing had been.
    site.node().set_held("OB_C_ADT", false, "anna").await.unwrap();
    assert_eq!(site.arrived(1, 1).await, ["HELD-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_first_and_what_is_left_says_so() {
    let mut site = Site::start(FEED, 2).await;
    site.halt().await;
    (site.forgetful, site.metadata_days) = (true, 365);
    site.boot().await;
    site.node().set_held("OB_C_ADT", true, "anna").await.unwrap();
    site.send("IB_KEEP_ADT", &adt("KEPT-1", "A01", "P1")).await;
    site.send("IB_A_ADT", &adt("HELD-1", "A01", "HELD")).await;
    for number in 0..60 {
        site.send(
            "IB_A_ADT",
            &adt(&format!("M{number}"), "A01", &format!("P{number}")),
        )
        .await;
    }
    until("bodies are gone", async || {
        let bare = site.messages().await;
        bare.iter().filter(|line| line.body_removed).count() > 40
    })
    .await;
    let lines = site.messages().await;
    assert_eq!(lines.len(), 62, "no message goes");
    let line = |id: &str| {
        let found = lines.iter().find(|line| line.control_id.as_deref() == Some(id));
        found.unwrap()
    };
    assert!(!line("HELD-1").body_removed && !line("KEPT-1").body_removed);
    let gone = line("M7");
    assert!(gone.body_removed && gone.size > 50 && gone.status == Disposition::Processed);
    let view = site.view(gone.id).await;
    assert!(view.body.is_none() && view.sends[0].body.is_none() && view.sends[0].reply.is_none());
    assert_eq!(view.sends[0].state, "delivered");
    assert!(view.trail.iter().any(|entry| entry.what == "delivered"));
    for from in [
        Replay::FromIngress,
        Replay::FromRouted(vec![]),
        Replay::FromOutbound(None),
        Replay::FromOutbound(Some("OB_C_ADT".to_owned())),
    ] {
        let refused = site.node().replay(gone.id, &from, "anna").await;
        assert!(
            matches!(&refused, Err(CommandError::Refused(text)) if text.contains("removed the bodies")),
            "{refused:?}"
        );
    }
    let by_key = async |value: &str| {
        let query = MessageQuery {
            key: engine::Key::new("mrn", value),
            limit: 10,
            ..MessageQuery::default()
        };
        site.node().messages(&query).await.unwrap().items.len()
    };
    assert_eq!((by_key("P7").await, by_key("HELD").await), (0, 1));
    // Nothing of it is work for whoever leads next.
    site.reboot().await;
    site.arrived(0, 61).await;
    site.node().set_held("OB_C_ADT", false, "anna").await.unwrap();
    assert_eq!(site.arrived(1, 1).await, ["HELD-1"]);
    assert_eq!(site.arrived(0, 61).await.len(), 61);
    let rest = site.node().retention(true, "anna").await.unwrap();
    assert!(
        rest.segments
            .iter()
            .any(|segment| segment.reason == "too young, without bodies"),
        "{rest:?}"
    );
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_given_up_on_record_before_its_message_goes() {
    let refusing = Behaviour::faulty(Misdeed::Nak(NakCode::Ar), When::First(1));
    let mut site = Site::start_with(FEED, 2, refusing).await;
    site.send("IB_KEEP_ADT", &adt("DEAD-1", "A01", "P1")).await;
    let id = site.settled("IB_KEEP_ADT", &[model::Disposition::Error]).await[0];
    let foreseen = site.node().retention(true, "anna").await.unwrap();
    assert_eq!(foreseen.dead_letters, 0, "it is young");
    site.halt().await;
    site.forgetful = true;
    site.boot().await;
    until("it is given up", async || {
        let query = DeadLetterQuery {
            stage: None,
            at: None,
            message: None,
            after: None,
            limit: 10,
        };
        site.node().dead_letters(&query).await.unwrap().items.is_empty()
    })
    .await;
    let view = site.view(id).await;
    let given_up = view.trail.iter().find(|entry| entry.what == "purged").unwrap();
    assert_eq!(given_up.by.as_deref(), Some("retention"));
}
