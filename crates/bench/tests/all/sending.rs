//! A sender and a partner that behaves.

use std::time::Duration;

use bench::reconcile::{Expect, reconcile};
use bench::scenario::Scenario;
use bench::sender::{Fate, Fault, Options, Pace, Sender, Until};
use bench::sink::{self, Behaviour, Sink};

use crate::support::*;

#[tokio::test]
async fn every_message_is_sent_once_acknowledged_and_on_record() {
    for (lanes, window, ports, count) in [(1, 1, 1, 50), (3, 7, 1, 500), (4, 16, 2, 1003), (2, 100, 3, 1)] {
        let sink = Sink::start(sink::Options {
            hash_bodies: true,
            ..sink::Options::local(ports)
        })
        .await
        .unwrap();
        let options = Options {
            hash_bodies: true,
            ..closed(&sink, lanes, window, count)
        };
        let (sent, received) = exchange(sink, options).await;
        let judged = judge(&sent, &received);
        let totals = &judged.totals;
        assert_eq!(
            [
                totals.sent,
                totals.acknowledged,
                totals.expected,
                totals.delivered
            ],
            [count; 4],
            "{lanes} lanes, window {window}, {ports} ports"
        );
        assert!(judged.is_complete() && judged.is_in_order(), "{judged:?}");
        assert_eq!((totals.resent, totals.repeated, totals.altered), (0, 0, 0));
        assert_eq!(sent.latency().len(), count);
    }
}

#[tokio::test]
async fn a_window_is_never_exceeded() {
    let sink = local(Behaviour::slow(Duration::from_millis(1))).await;
    let sender = Sender::start(closed(&sink, 1, 5, 60)).unwrap();
    sink.wait_until(PATIENCE, |counts| {
        let progress = sender.progress();
        let open = progress.sent - progress.acknowledged;
        assert!(open <= 5, "{open} messages are open");
        counts.accepted == 60
    })
    .await
    .expect("all arrive");
    assert_eq!(sender.finish().await.acknowledged(), 60);
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate() {
    let sink = local(Behaviour::default()).await;
    let options = Options {
        lanes: 4,
        pace: Pace::Open { per_second: 1000.0 },
        until: Until::Elapsed(Duration::from_millis(500)),
        ..to(&sink)
    };
    let (sent, received) = exchange(sink, options).await;
    assert_eq!(sent.sent(), 500, "the schedule alone decides how many are sent");
    assert_eq!(judge(&sent, &received).totals.delivered, 500);
    let seconds = sent.elapsed_us as f64 / 1e6;
    assert!(seconds > 0.4, "500 messages at 1000/s took only {seconds} s");
}

#[tokio::test]
async fn a_stalled_partner_cannot_hide_its_stall() {
    // 40 ms for each answer at 100 messages/s: the queue grows by 30 ms with every message.
    let sink = local(Behaviour::slow(Duration::from_millis(40))).await;
    let options = Options {
        pace: Pace::Open { per_second: 100.0 },
        until: Until::Count(20),
        ack_timeout: PATIENCE,
        ..to(&sink)
    };
    let (sent, _) = exchange(sink, options).await;
    assert_eq!(sent.acknowledged(), 20);
    assert!(
        sent.latency().max() > 500_000,
        "the last waited {} us",
        sent.latency().max()
    );
}

#[tokio::test]
async fn a_sender_that_is_stopped_waits_for_its_open_answers() {
    let sink = local(Behaviour::default()).await;
    let sender = Sender::start(Options {
        lanes: 2,
        pace: Pace::Closed { window: 4 },
        ..to(&sink)
    })
    .unwrap();
    sink.wait_until(PATIENCE, |counts| counts.accepted >= 100)
        .await
        .expect("messages flow");
    sender.stop();
    let sent = tokio::time::timeout(PATIENCE, sender.finish())
        .await
        .expect("the sender ends");
    assert_eq!(sent.count(Fate::Unanswered), 0);
    assert_eq!(judge(&sent, &sink.stop().await).totals.delivered, sent.sent());
}

#[tokio::test]
async fn a_lane_without_a_partner_gives_up_and_says_so() {
    let free = local(Behaviour::default()).await;
    let nobody = free.addresses()[0].to_string();
    free.stop().await;
    let options = Options {
        until: Until::Count(3),
        give_up_after: Duration::from_millis(50),
        ..Options::new(nobody.clone(), pool())
    };
    let sent = tokio::time::timeout(PATIENCE, Sender::start(options).unwrap().finish())
        .await
        .expect("it gives up");
    assert_eq!((sent.sent(), sent.acknowledged()), (0, 0));
    let failures: Vec<_> = sent.failures().collect();
    assert!(
        failures.len() == 1 && failures[0].1.contains(&nobody),
        "{failures:?}"
    );
}

#[test]
fn options_that_cannot_run_are_refused() {
    let base = || Options::new("127.0.0.1:1", pool());
    let refused = |options: Options| Sender::start(options).map(|_| ()).expect_err("must be refused");
    assert!(matches!(
        refused(Options { to: vec![], ..base() }),
        Fault::NoReceiver
    ));
    assert!(matches!(refused(Options { lanes: 0, ..base() }), Fault::Lanes(0)));
    assert!(matches!(
        refused(Options {
            lanes: 1001,
            ..base()
        }),
        Fault::Lanes(1001)
    ));
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            refused(Options {
                pace: Pace::Open { per_second },
                ..base()
            }),
            Fault::Rate
        ));
    }
    assert!(matches!(
        refused(Options {
            pace: Pace::Closed { window: 0 },
            ..base()
        }),
        Fault::Window
    ));
    assert!(matches!(
        refused(Options {
            until: Until::Count(u64::MAX),
            ..base()
        }),
        Fault::Count
    ));
}

#[tokio::test]
async fn a_scenario_waits_for_what_it_is_owed_and_reports() {
    let sink = Sink::start(sink::Options::local(1)).await.unwrap();
    let address = sink.addresses()[0];
    sink.stop().await;
    let scenario = Scenario {
        sender: Options {
            lanes: 2,
            until: Until::Count(200),
            give_up_after: PATIENCE,
            ..Options::new(address.to_string(), pool())
        },
        sink: Some(sink::Options {
            bind: vec![address],
            ..sink::Options::local(0)
        }),
        quiet: PATIENCE,
        settle: Duration::from_millis(20),
    };
    let running = scenario.start().await.unwrap();
    let mut looks = 0;
    let evidence = running.finish(&Expect::Ports(1), |_| looks += 1).await;
    let report = evidence.report(&Expect::Ports(1));
    assert_eq!((report.sent, report.acknowledged), (200, 200));
    assert!(
        report
            .reconciliation
            .as_ref()
            .is_some_and(|judged| judged.is_complete())
    );
    assert!(looks > 0);
    assert_eq!(report.acknowledged_by_second.by_second().iter().sum::<u64>(), 200);
    serde_json::to_string(&report).expect("a report is plain JSON");
    assert_eq!(
        reconcile(&evidence.sent, &evidence.ports, &Expect::Ports(1))
            .delivery
            .count,
        200
    );
}
