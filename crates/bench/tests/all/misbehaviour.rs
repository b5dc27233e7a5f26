//! A sender and a partner that misbehaves.

use std::time::Duration;

use bench::sender::{Fate, Options, Sender};
use bench::sink::{self, Behaviour, Fault, Misdeed, NakCode, Sink, When};

use crate::support::*;

/// Sends 40 messages, one at a time, to a partner with one fault.
async fn forty(what: Misdeed, when: When) -> (bench::sender::Record, Vec<sink::PortRecord>) {
    let sink = local(Behaviour::faulty(what, when)).await;
    let options = closed(&sink, 1, 1, 40);
    exchange(sink, options).await
}

#[tokio::test]
async fn a_lost_answer_makes_the_sender_send_again_until_it_has_one() {
    for what in [
        Misdeed::Drop,
        Misdeed::CutShort,
        Misdeed::Silence,
        Misdeed::Hang,
        Misdeed::Garbage,
        Misdeed::WrongId,
    ] {
        let (sent, received) = forty(what, When::First(2)).await;
        assert_eq!(sent.acknowledged(), 40, "{what:?}");
        assert!(
            (1..=2).contains(&sent.resent()),
            "{what:?}: sent again {} times",
            sent.resent()
        );
        let judged = judge(&sent, &received);
        assert!(
            judged.is_complete() && judged.is_in_order(),
            "{what:?}: {judged:?}"
        );
        assert_eq!(judged.totals.delivered, 40, "{what:?}");
        assert!(judged.totals.failed_attempts >= 1, "{what:?}");
    }
}

#[tokio::test]
async fn a_refused_message_is_refused_once_and_not_sent_again() {
    for code in [NakCode::Ae, NakCode::Ar, NakCode::Ce, NakCode::Cr] {
        let (sent, received) = forty(Misdeed::Nak(code), When::Every(4)).await;
        assert_eq!(
            (sent.acknowledged(), sent.count(Fate::Refused), sent.resent()),
            (30, 10, 0),
            "{code:?}"
        );
        let judged = judge(&sent, &received);
        assert!(judged.is_complete(), "{judged:?}");
        assert_eq!((judged.totals.delivered, judged.totals.failed_attempts), (30, 10));
    }
}

#[tokio::test]
async fn an_answer_given_twice_settles_one_message() {
    let (sent, received) = forty(Misdeed::Twice, When::Always).await;
    assert_eq!(
        (sent.acknowledged(), judge(&sent, &received).totals.delivered),
        (40, 40)
    );
    assert!(
        sent.stray_replies() >= 39,
        "{} stray replies",
        sent.stray_replies()
    );
}

#[tokio::test]
async fn a_pipelined_sender_loses_nothing_to_a_partner_that_keeps_hanging_up() {
    let sink = local(Behaviour::faulty(Misdeed::Drop, When::Every(37))).await;
    let options = closed(&sink, 3, 10, 1000);
    let (sent, received) = exchange(sink, options).await;
    assert_eq!(sent.acknowledged(), 1000);
    assert!(sent.reconnects() > 0 && sent.resent() > 0);
    let judged = judge(&sent, &received);
    assert_eq!(judged.totals.delivered, 1000);
    assert!(
        judged.is_complete() && judged.is_in_order(),
        "{:?}",
        judged.totals
    );
    assert_eq!(judged.totals.repeated_unexplained, 0);
}

#[tokio::test]
async fn chance_is_repeatable_by_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let fault = Fault {
            what: Misdeed::Nak(NakCode::Ae),
            when: When::Chance(0.3),
        };
        let sink = local(Behaviour {
            faults: vec![fault],
            seed: 7,
            ..Behaviour::default()
        })
        .await;
        let options = closed(&sink, 1, 1, 60);
        let (_, received) = exchange(sink, options).await;
        runs.push(
            received[0]
                .arrivals
                .iter()
                .map(|arrival| arrival.answer)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn manners_change_while_messages_flow() {
    let sink = local(Behaviour::faulty(Misdeed::Silence, When::Always)).await;
    let options = Options {
        ack_timeout: Duration::from_millis(30),
        ..closed(&sink, 1, 1, 20)
    };
    let sender = Sender::start(options).unwrap();
    sink.wait_until(PATIENCE, |counts| counts.unanswered >= 3)
        .await
        .expect("attempts go on");
    sink.behave(0, Behaviour::default());
    let sent = tokio::time::timeout(PATIENCE, sender.finish())
        .await
        .expect("the sender ends");
    assert_eq!(sent.acknowledged(), 20);
    assert!(judge(&sent, &sink.stop().await).is_complete());
}

#[tokio::test]
async fn a_partner_that_restarts_on_its_port_is_found_again() {
    let first = local(Behaviour::default()).await;
    let address = first.addresses()[0];
    let sender = Sender::start(closed(&first, 2, 4, 4000)).unwrap();
    first
        .wait_until(PATIENCE, |counts| counts.accepted >= 200)
        .await
        .expect("messages flow");
    let mut received = first.stop().await;
    let again = Sink::start(sink::Options {
        bind: vec![address],
        ..sink::Options::local(0)
    })
    .await
    .unwrap();
    let sent = tokio::time::timeout(PATIENCE, sender.finish())
        .await
        .expect("the sender ends");
    received[0].arrivals.extend(again.stop().await.remove(0).arrivals);
    assert_eq!(sent.acknowledged(), 4000);
    let judged = judge(&sent, &received);
    assert!(
        judged.is_complete() && judged.is_in_order(),
        "{:?}",
        judged.totals
    );
    assert_eq!(judged.totals.repeated_unexplained, 0);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let sink = local(Behaviour::default()).await;
    let address = sink.addresses()[0];
    let taken = Sink::start(sink::Options {
        bind: vec![address],
        ..sink::Options::local(0)
    })
    .await;
    assert!(
        taken
            .expect_err("the port is taken")
            .to_string()
            .contains(&address.to_string())
    );
}

#[tokio::test]
async fn observers_see_each_message_and_bodies_are_kept_to_the_limit() {
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = std::sync::Arc::clone(&seen);
    let observer = sink::Observer::new(move |received| {
        assert!(received.body.starts_with(b"MSH|") && received.control_id.starts_with(b"R"));
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let options = sink::Options {
        observer: Some(observer),
        keep_bodies: 3,
        ..sink::Options::local(1)
    };
    let sink = Sink::start(options).await.unwrap();
    let options = closed(&sink, 1, 2, 10);
    let (_, received) = exchange(sink, options).await;
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 10);
    assert_eq!(received[0].bodies.len(), 3);
}
