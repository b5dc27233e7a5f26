//! What operators do: hold, release, replay, skip.

use std::time::Duration;

use bench::sink::{Behaviour, Misdeed, NakCode, When};
use engine::{CommandError, DeadLetterQuery, Replay};
use model::Disposition::{Error, Processed, Routed};

use crate::site::{Site, adt};

const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}))
outbound("OB_C_ADT", mllp(host = "127.0.0.1", port = {port1}))

@router
def route_a(msg):
    return ["to_b"]

@handler
def to_b(msg):
    msg["MSH-5"] = "B"
    return send("OB_B_ADT", msg)

@handler
def to_c(msg):
    return send("OB_C_ADT", msg)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_held_outbound_keeps_its_messages_also_over_a_restart() {
    let mut site = Site::start(FEED, 2).await;
    site.node().set_held("OB_B_ADT", true, "anna").await.unwrap();
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let ids = site.settled_routed("IB_A_ADT").await;
    let waiting = site.view(ids).await.waiting;
    assert_eq!(waiting, ["OB_B_ADT is held by an operator"]);
    site.reboot().await;
    site.state("OB_B_ADT", "held").await;
    assert!(site.bodies(0).is_empty());
    site.node().set_held("OB_B_ADT", false, "anna").await.unwrap();
    site.settled("IB_A_ADT", &[Processed]).await;
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_inbound_closes_its_listener_and_opens_it_again() {
    let mut site = Site::start(FEED, 2).await;
    let address = site.address("IB_A_ADT");
    site.node().set_held("IB_A_ADT", true, "anna").await.unwrap();
    let mut refused = false;
    for _ in 0..200 {
        refused = tokio::net::TcpStream::connect(address).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused, "the listener was still open");
    site.node().set_held("IB_A_ADT", false, "anna").await.unwrap();
    site.state("IB_A_ADT", "running").await;
    for _ in 0..500 {
        if site
            .node()
            .connections()
            .iter()
            .any(|view| view.name == "IB_A_ADT" && view.address.is_some())
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_replayed_from_any_stage_and_the_trail_says_by_whom() {
    let mut site = Site::start(FEED, 2).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let id = site.settled("IB_A_ADT", &[Processed]).await[0];
    let node = site.node();
    for (count, from) in [
        Replay::FromIngress,
        Replay::FromRouted(vec![]),
        Replay::FromOutbound(None),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(node.replay(id, from, "anna").await.unwrap().rows, 1);
        site.arrived(0, count + 2).await;
        site.settled("IB_A_ADT", &[Processed]).await;
    }
    node.replay(id, &Replay::FromRouted(vec!["to_c".into()]), "anna")
        .await
        .unwrap();
    assert_eq!(site.arrived(1, 1).await, ["1"]);
    node.replay(id, &Replay::FromOutbound(Some("OB_B_ADT".into())), "anna")
        .await
        .unwrap();
    site.arrived(0, 5).await;
    site.settled("IB_A_ADT", &[Processed]).await;
    let replays = site.view(id).await.trail;
    let actors: Vec<_> = replays
        .iter()
        .filter(|entry| entry.what == "replayed")
        .map(|entry| entry.by.clone())
        .collect();
    assert_eq!(actors, vec![Some("anna".to_owned()); 5]);
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_survive_a_restart_in_the_middle() {
    let mut site = Site::start(FEED, 2).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let id = site.settled("IB_A_ADT", &[Processed]).await[0];
    site.node().set_held("OB_B_ADT", true, "anna").await.unwrap();
    site.node()
        .replay(id, &Replay::FromIngress, "anna")
        .await
        .unwrap();
    site.settled("IB_A_ADT", &[Routed]).await;
    site.reboot().await;
    site.node().set_held("OB_B_ADT", false, "anna").await.unwrap();
    site.settled("IB_A_ADT", &[Processed]).await;
    assert_eq!(site.arrived(0, 2).await, ["1", "1"]);
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_commands_say_what_is_wrong() {
    let mut site = Site::start(FEED, 2).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let id = site.settled("IB_A_ADT", &[Processed]).await[0];
    let node = site.node();
    let unknown = "9-9".parse().unwrap();
    assert!(matches!(
        node.replay(unknown, &Replay::FromIngress, "a").await,
        Err(CommandError::NotFound(_))
    ));
    let to = Replay::FromOutbound(Some("OB_NOWHERE".into()));
    assert!(matches!(
        node.replay(id, &to, "a").await,
        Err(CommandError::NotFound(_))
    ));
    assert!(matches!(
        node.set_held("OB_NOWHERE", true, "a").await,
        Err(CommandError::NotFound(_))
    ));
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_counted_first_and_then_replayed_in_bulk() {
    let mut site = Site::start_with(
        FEED,
        2,
        Behaviour::faulty(Misdeed::Nak(NakCode::Ar), When::Always),
    )
    .await;
    for id in ["1", "2", "3"] {
        site.send("IB_A_ADT", &adt(id, "A01", "P1")).await;
    }
    site.settled("IB_A_ADT", &[Error, Error, Error]).await;
    site.sink.behave(0, Behaviour::default());
    let query = DeadLetterQuery {
        at: Some("OB_B_ADT".into()),
        limit: 2,
        ..DeadLetterQuery::default()
    };
    let preview = site
        .node()
        .replay_dead_letters(&query, true, "anna")
        .await
        .unwrap();
    assert_eq!((preview.rows, preview.preview), (3, true));
    assert_eq!(site.sink.counts().accepted, 0, "a preview sends nothing");
    let done = site
        .node()
        .replay_dead_letters(&query, false, "anna")
        .await
        .unwrap();
    assert_eq!((done.rows, done.skipped.len()), (3, 0));
    site.settled("IB_A_ADT", &[Processed, Processed, Processed]).await;
    assert_eq!(
        site.node()
            .replay_dead_letters(&query, true, "anna")
            .await
            .unwrap()
            .rows,
        0,
        "each is replayed once"
    );
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_head_is_skipped_and_can_be_replayed_later() {
    let stuck = FEED.replace(
        "port = {port0}))",
        "port = {port0}), retry = retry(backoff = 600, backoff_max = 600))",
    );
    let mut site = Site::start_with(
        &stuck,
        2,
        Behaviour::faulty(Misdeed::Nak(NakCode::Ae), When::First(1)),
    )
    .await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    site.send("IB_A_ADT", &adt("2", "A01", "P1")).await;
    site.state("OB_B_ADT", "waiting").await;
    let views = site.node().connections();
    let waiting = views.iter().find(|view| view.name == "OB_B_ADT").unwrap();
    let why = waiting.reason.as_deref().unwrap_or_default();
    assert!(why.contains("answered MSA|AE|"), "{why}");
    let id = site.messages().await[0].id;
    let view = site.view(id).await;
    let attempt = view
        .trail
        .iter()
        .find(|entry| entry.what == "attempt failed")
        .unwrap();
    assert!(attempt.detail.contains("answered MSA|AE|"), "{attempt:?}");
    let send = view.sends[0].id;
    site.node().skip(send, id, "anna").await.unwrap();
    site.settled("IB_A_ADT", &[Error, Processed]).await;
    site.node()
        .replay_dead_letters(
            &DeadLetterQuery {
                limit: 10,
                ..Default::default()
            },
            false,
            "anna",
        )
        .await
        .unwrap();
    site.settled("IB_A_ADT", &[Processed, Processed]).await;
    site.halt().await;
}

impl Site {
    async fn settled_routed(&self, inbound: &str) -> model::MessageId {
        let id = self.settled(inbound, &[Routed]).await[0];
        for _ in 0..500 {
            if !self.view(id).await.sends.is_empty() {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the message was not transformed");
    }
}
