//! The judge must find what is wrong: honest evidence is bent one way at a time.

use bench::control_id::{ControlId, RunId};
use bench::reconcile::{Expect, Sent, Totals, reconcile};
use bench::sender::{Fate, Record};
use bench::sink::{Answer, Arrival, PortRecord};

use crate::support::*;

/// Evidence of a faultless run: two lanes of five messages, each to both of two ports.
async fn honest() -> (Record, Vec<PortRecord>) {
    let sink = local(bench::sink::Behaviour::default()).await;
    let options = closed(&sink, 2, 2, 10);
    let (sent, received) = exchange(sink, options).await;
    (
        sent,
        vec![
            received[0].clone(),
            PortRecord {
                port: 1,
                ..received[0].clone()
            },
        ],
    )
}

fn at(ports: &mut [PortRecord], lane: u16, sequence: u32) -> (usize, &mut Vec<Arrival>) {
    let arrivals = &mut ports[0].arrivals;
    let found = arrivals
        .iter()
        .position(|a| (a.id.lane, a.id.sequence) == (lane, sequence));
    (found.expect("it arrived"), arrivals)
}

fn totals(sent: &Record, ports: &[PortRecord]) -> Totals {
    reconcile(sent, ports, &Expect::Exactly(&|_, _| 1)).totals
}

#[tokio::test]
async fn honest_evidence_is_found_complete_and_in_order() {
    let (sent, ports) = honest().await;
    for expect in [Expect::Ports(2), Expect::Exactly(&|_, _| 1)] {
        let judged = reconcile(&sent, &ports, &expect);
        assert!(judged.is_complete() && judged.is_in_order(), "{judged:?}");
        assert_eq!(
            (
                judged.totals.expected,
                judged.totals.delivered,
                judged.totals.repeated
            ),
            (20, 20, 0)
        );
        assert!(
            judged
                .lanes
                .iter()
                .all(|lane| (lane.sent, lane.delivered, lane.missing) == (5, 10, 0))
        );
    }
}

#[tokio::test]
async fn a_delivery_taken_away_is_missing() {
    let (sent, mut ports) = honest().await;
    let (place, arrivals) = at(&mut ports, 1, 3);
    let id = arrivals.remove(place).id;
    for expect in [Expect::Ports(2), Expect::Exactly(&|_, _| 1)] {
        let judged = reconcile(&sent, &ports, &expect);
        assert_eq!((judged.totals.missing, judged.totals.inversions), (1, 0));
        assert_eq!(judged.examples.missing, [id.to_string()]);
        assert!(!judged.is_complete() && judged.is_in_order());
    }
}

#[tokio::test]
async fn a_message_without_an_acknowledgement_owes_nothing_and_may_arrive() {
    let (mut sent, mut ports) = honest().await;
    for sequence in [2, 3] {
        sent.lanes[0].fates[sequence] = Fate::Unanswered;
    }
    let (place, arrivals) = at(&mut ports, 0, 2);
    arrivals.remove(place);
    let totals = totals(&sent, &ports);
    assert_eq!(
        (
            totals.missing,
            totals.unexpected,
            totals.unanswered,
            totals.expected
        ),
        (0, 0, 2, 16)
    );
}

#[tokio::test]
async fn a_refused_message_that_arrives_is_unexpected() {
    let (mut sent, ports) = honest().await;
    sent.lanes[0].fates[2] = Fate::Refused;
    assert_eq!(totals(&sent, &ports).unexpected, 2);
    assert_eq!(reconcile(&sent, &ports, &Expect::Ports(2)).totals.unexpected, 2);
}

#[tokio::test]
async fn a_delivery_that_nobody_sent_is_unexpected() {
    let (sent, mut ports) = honest().await;
    let (place, arrivals) = at(&mut ports, 0, 4);
    let mut ghost = arrivals[place];
    ghost.id.sequence = 99;
    arrivals.push(ghost);
    assert_eq!(totals(&sent, &ports).unexpected, 1);
}

#[tokio::test]
async fn other_runs_and_other_senders_are_not_judged() {
    let (sent, mut ports) = honest().await;
    let (place, arrivals) = at(&mut ports, 0, 4);
    let id = ControlId {
        run: RunId::from_number(1),
        ..arrivals[place].id
    };
    let other = Arrival {
        id,
        ..arrivals[place]
    };
    arrivals.push(other);
    ports[0].foreign.insert("MSG00001".to_owned(), 2);
    let judged = reconcile(&sent, &ports, &Expect::Ports(2));
    assert!(judged.is_complete() && judged.is_in_order());
    assert_eq!(judged.totals.foreign, 2);
}

#[tokio::test]
async fn a_repeat_at_once_is_a_repeat_and_a_late_one_is_out_of_order() {
    let (sent, honest_ports) = honest().await;
    for (after, late) in [(0, 0), (1, 1), (2, 1)] {
        let mut ports = honest_ports.clone();
        let (_, arrivals) = at(&mut ports, 0, 1);
        let lane: Vec<usize> = (0..arrivals.len())
            .filter(|&i| arrivals[i].id.lane == 0)
            .collect();
        let repeat = arrivals[lane[1]];
        arrivals.insert(lane[1 + after] + 1, repeat);
        let totals = totals(&sent, &ports);
        assert_eq!(
            (totals.repeated, totals.repeated_unexplained, totals.late_repeats),
            (1, 1, late),
            "{after} later"
        );
        assert_eq!((totals.missing, totals.inversions, totals.delivered), (0, 0, 20));
    }
}

#[tokio::test]
async fn swapped_messages_are_an_inversion() {
    let (sent, mut ports) = honest().await;
    let (one, _) = at(&mut ports, 1, 2);
    let (two, arrivals) = at(&mut ports, 1, 3);
    arrivals.swap(one, two);
    let judged = reconcile(&sent, &ports, &Expect::Ports(2));
    assert_eq!(
        (
            judged.totals.inversions,
            judged.lanes[1].inversions,
            judged.ports[0].out_of_order
        ),
        (1, 1, 1)
    );
    assert!(judged.is_complete() && !judged.is_in_order());
}

#[tokio::test]
async fn failed_attempts_are_no_deliveries_and_a_final_rejection_is_not_missing() {
    let (sent, honest_ports) = honest().await;
    for (answer, missing, rejected) in [
        (Answer::NotNow, 1, 0),
        (Answer::None, 1, 0),
        (Answer::Rejected, 0, 1),
    ] {
        let mut ports = honest_ports.clone();
        let (place, arrivals) = at(&mut ports, 0, 0);
        arrivals[place].answer = answer;
        for expect in [Expect::Ports(2), Expect::Exactly(&|_, _| 1)] {
            let totals = reconcile(&sent, &ports, &expect).totals;
            assert_eq!(
                (
                    totals.missing,
                    totals.rejected,
                    totals.failed_attempts,
                    totals.delivered
                ),
                (missing, rejected, 1, 19),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_place_that_is_not_expected_counts_against_the_run() {
    let (sent, ports) = honest().await;
    let only_even_to_the_second =
        |sent: Sent, port: usize| u32::from(port == 0 || sent.sequence.is_multiple_of(2));
    let totals = reconcile(&sent, &ports, &Expect::Exactly(&only_even_to_the_second)).totals;
    assert_eq!((totals.unexpected, totals.missing, totals.expected), (4, 0, 16));
    assert_eq!(reconcile(&sent, &ports, &Expect::Ports(1)).totals.unexpected, 10);
    assert_eq!(reconcile(&sent, &ports, &Expect::Ports(3)).totals.missing, 10);
}

#[tokio::test]
async fn several_messages_made_of_one_are_told_apart_by_part_or_by_count() {
    let (sent, honest_ports) = honest().await;
    for numbered in [false, true] {
        let mut ports = honest_ports.clone();
        let split = |arrival: &Arrival| {
            [1, 2].map(|part| Arrival {
                id: ControlId {
                    part: if numbered { part } else { 0 },
                    ..arrival.id
                },
                ..*arrival
            })
        };
        ports[0].arrivals = honest_ports[0].arrivals.iter().flat_map(split).collect();
        let expect = |_: Sent, port: usize| if port == 0 { 2 } else { 1 };
        let judged = reconcile(&sent, &ports, &Expect::Exactly(&expect));
        assert!(judged.is_complete() && judged.is_in_order(), "{judged:?}");
        assert_eq!(
            (judged.totals.delivered, judged.totals.repeated),
            (30, 0),
            "numbered: {numbered}"
        );
        ports[0].arrivals.pop();
        assert_eq!(
            reconcile(&sent, &ports, &Expect::Exactly(&expect)).totals.missing,
            1
        );
    }
}

#[tokio::test]
async fn other_bytes_than_were_sent_are_found() {
    let sink = bench::sink::Options {
        hash_bodies: true,
        ..bench::sink::Options::local(1)
    };
    let sink = bench::sink::Sink::start(sink).await.unwrap();
    let options = bench::sender::Options {
        hash_bodies: true,
        ..closed(&sink, 1, 1, 5)
    };
    let (sent, mut ports) = exchange(sink, options).await;
    assert_eq!(totals(&sent, &ports).altered, 0);
    ports[0].arrivals[3].hash = ports[0].arrivals[3].hash.map(|hash| hash ^ 1);
    let judged = reconcile(&sent, &ports, &Expect::Ports(1));
    assert_eq!(judged.examples.altered.len(), 1);
    assert!(!judged.is_complete());
}
