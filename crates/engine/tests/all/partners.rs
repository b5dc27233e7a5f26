//! Partners that refuse.

use bench::sink::{Behaviour, Misdeed, NakCode, When};
use model::Disposition::{Error, Processed};

use crate::site::{Site, adt};

const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}),
         retry = retry(max_attempts = 3, backoff = 0.01, backoff_max = 0.02))

@router
def route_a(msg):
    return ["to_b"]

@handler
def to_b(msg):
    return send("OB_B_ADT", msg)
"#;

async fn outcome(misdeed: Misdeed, when: When) -> (Site, model::MessageId, model::Disposition) {
    let site = Site::start_with(FEED, 1, Behaviour::faulty(misdeed, when)).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let expected = if when == When::Always || misdeed == Misdeed::Nak(NakCode::Ar) {
        Error
    } else {
        Processed
    };
    let ids = site.settled("IB_A_ADT", &[expected]).await;
    (site, ids[0], expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_now_is_tried_again_and_each_attempt_is_on_the_trail() {
    for misdeed in [
        Misdeed::Nak(NakCode::Ae),
        Misdeed::Nak(NakCode::Ce),
        Misdeed::Drop,
        Misdeed::Garbage,
        Misdeed::CutShort,
    ] {
        let (mut site, id, _) = outcome(misdeed, When::First(2)).await;
        let trail = site.trail(id).await;
        assert_eq!(
            trail.iter().filter(|what| *what == "attempt failed").count(),
            2,
            "{misdeed:?}: {trail:?}"
        );
        assert_eq!(site.view(id).await.sends[0].attempts, Some(3), "{misdeed:?}");
        site.halt().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_a_dead_letter_at_once() {
    for code in [NakCode::Ar, NakCode::Cr] {
        let site = Site::start_with(FEED, 1, Behaviour::faulty(Misdeed::Nak(code), When::First(1))).await;
        site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
        site.send("IB_A_ADT", &adt("2", "A01", "P1")).await;
        let ids = site.settled("IB_A_ADT", &[Error, Processed]).await;
        let view = site.view(ids[0]).await;
        assert_eq!((view.sends[0].state, view.sends[0].attempts), ("dead", Some(1)));
        assert!(
            view.sends[0]
                .reply
                .as_deref()
                .is_some_and(|reply| reply.contains("MSA|")),
            "the reply is kept"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_run_out_and_the_lane_goes_on() {
    let (mut site, id, _) = outcome(Misdeed::Nak(NakCode::Ae), When::Always).await;
    let view = site.view(id).await;
    assert_eq!((view.sends[0].state, view.sends[0].attempts), ("dead", Some(3)));
    let dead = site
        .node()
        .dead_letters(&engine::DeadLetterQuery {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(
        dead.items[0].reason.contains("gave up after 3 attempts"),
        "{}",
        dead.items[0].reason
    );
    site.sink.behave(0, Behaviour::default());
    site.send("IB_A_ADT", &adt("2", "A01", "P1")).await;
    site.settled("IB_A_ADT", &[Error, Processed]).await;
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_are_counted_across_a_restart() {
    let patient = FEED.replace(
        "max_attempts = 3, backoff = 0.01, backoff_max = 0.02",
        "max_attempts = 2, backoff = 600, backoff_max = 600",
    );
    let mut site = Site::start_with(
        &patient,
        1,
        Behaviour::faulty(Misdeed::Nak(NakCode::Ae), When::Always),
    )
    .await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    site.state("OB_B_ADT", "waiting").await;
    site.reboot().await;
    let ids = site.settled("IB_A_ADT", &[Error]).await;
    assert_eq!(site.view(ids[0]).await.sends[0].attempts, Some(2));
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_another_message_does_not_count() {
    let quick = FEED.replace("port = {port0})", "port = {port0}, ack_timeout = 0.3)");
    let site = Site::start_with(&quick, 1, Behaviour::faulty(Misdeed::WrongId, When::First(1))).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    let ids = site.settled("IB_A_ADT", &[Processed]).await;
    assert_eq!(
        site.view(ids[0]).await.sends[0].attempts,
        Some(2),
        "the first attempt was not acknowledged"
    );
}
