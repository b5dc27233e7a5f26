use super::*;
use crate::dump::{Acquired, Row};
use crate::record::{Owed, digest};

/// Milliseconds of the hand-made run, by both clocks.
fn at(ms: u64) -> Moment {
    Moment {
        mono: ms * 1000,
        real: 1_000_000_000 + ms * 1000,
    }
}

/// The number of a row: epoch and counter.
fn number(epoch: i64, counter: i64) -> i64 {
    (epoch << 43) | counter
}

fn line(ms: u64, event: Event) -> Line {
    Line { at: at(ms), event }
}

fn id(sequence: u64) -> String {
    format!("R001-L00-{sequence:08}")
}

fn body(sequence: u64) -> String {
    digest(id(sequence).as_bytes())
}

fn arrived(ms: u64, sequence: u64) -> Line {
    line(
        ms,
        Event::Arrived {
            sink: "lane00".to_owned(),
            id: id(sequence),
            body: body(sequence),
            peer: "10.77.0.31:40000".to_owned(),
        },
    )
}

fn bound(ms: u64, first: &[&str], again: &[&str]) -> Line {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    line(
        ms,
        Event::Bound {
            first: names(first),
            again: names(again),
        },
    )
}

fn row(table: &str, id: i64, message: i64, ms: u64, text: &str) -> Row {
    Row {
        table: table.to_owned(),
        id,
        message,
        at: i64::try_from(at(ms).real).unwrap(),
        text: text.to_owned(),
        code: 0,
    }
}

/// One message of the hand-made run: sent and answered, stored with all its stages, delivered.
fn message(history: &mut History, epoch: i64, sequence: u64, ms: u64) {
    let counter = i64::try_from(sequence).unwrap() * 10;
    let message = number(epoch, counter);
    let send = number(epoch, counter + 2);
    history.dump.rows.extend([
        row("message", message, message, ms + 1, &id(sequence)),
        row("routed", number(epoch, counter + 1), message, ms + 2, "1"),
        row("outbound", send, message, ms + 2, "lane00"),
        row(
            "outcome",
            number(epoch, counter + 3),
            message,
            ms + 5,
            &send.to_string(),
        ),
        row("disposition", number(epoch, counter + 4), message, ms + 5, ""),
    ]);
    let sent = Event::Sent {
        lane: 0,
        id: id(sequence),
        acknowledged: Some(at(ms + 2)),
        refused: false,
        owed: vec![Owed {
            sink: "lane00".to_owned(),
            body: body(sequence),
        }],
    };
    history.lines.extend([line(ms, sent), arrived(ms + 4, sequence)]);
}

fn acquired(epoch: i64, node: &str, ms: u64) -> Acquired {
    Acquired {
        epoch,
        node: node.to_owned(),
        at: i64::try_from(at(ms).real).unwrap(),
        ended: None,
    }
}

fn fault(number: u32, kind: &str, from: u64, to: u64) -> Vec<Line> {
    let begins = Event::Fault {
        number,
        kind: kind.to_owned(),
        target: "node-a".to_owned(),
    };
    let evidence = Event::Bitten {
        number,
        evidence: "seen".to_owned(),
    };
    let mended = Event::Mended {
        number,
        note: String::new(),
    };
    vec![
        line(from, begins),
        line(from + 1, evidence),
        line(to, mended),
        line(to, Event::Calm),
    ]
}

/// Six messages, a leader that is killed after the third, and nothing wrong.
fn clean() -> History {
    let mut history = History {
        lines: Vec::new(),
        dump: Dump::default(),
        lease: 1_500_000,
    };
    history.dump.acquired = vec![acquired(1, "node-a", 0), acquired(2, "node-b", 2000)];
    for sequence in 0..3 {
        message(&mut history, 1, sequence, 100 + sequence * 100);
    }
    for sequence in 3..6 {
        message(&mut history, 2, sequence, 2000 + sequence * 100);
    }
    let leads = |node: &str, leads| Event::Leads {
        node: node.to_owned(),
        leads,
    };
    let ended = Event::Ended {
        node: "node-a".to_owned(),
        pid: 1,
        how: "signal: 9".to_owned(),
    };
    history.lines.extend([
        bound(50, &["node-a"], &["node-a"]),
        bound(1000, &[], &[]),
        bound(2100, &["node-b"], &["node-b"]),
        line(10, leads("node-a", true)),
        line(510, ended),
        line(550, leads("node-a", false)),
        line(2050, leads("node-b", true)),
        line(9000, Event::Drained),
    ]);
    history.lines.extend(fault(1, "kill", 500, 1500));
    sorted(history)
}

fn sorted(mut history: History) -> History {
    history.lines.sort_by_key(|line| line.at.mono);
    history
}

/// A message of another sender to the same sink, due at `ms`, and there at 2470.
fn other_sender(history: &mut History, ms: u64) {
    let (message, send) = (number(2, 700), number(2, 702));
    let id = "R001-L02-00000000".to_owned();
    history.dump.rows.extend([
        row("message", message, message, ms + 1, &id),
        row("outbound", send, message, ms + 2, "lane00"),
        row("outcome", number(2, 703), message, 2471, &send.to_string()),
        row("disposition", number(2, 704), message, 2471, ""),
    ]);
    let body = digest(id.as_bytes());
    let owed = vec![Owed {
        sink: "lane00".to_owned(),
        body: body.clone(),
    }];
    let sent = Event::Sent {
        lane: 2,
        id: id.clone(),
        acknowledged: Some(at(ms + 5)),
        refused: false,
        owed,
    };
    let arrived = Event::Arrived {
        sink: "lane00".to_owned(),
        id,
        body,
        peer: "10.77.0.31:40000".to_owned(),
    };
    history.lines.extend([line(ms, sent), line(2470, arrived)]);
}

type Spoil = fn(&mut History);

fn find(history: &mut History, wanted: impl Fn(&Event) -> bool) -> &mut Event {
    let line = history.lines.iter_mut().find(|line| wanted(&line.event));
    &mut line.expect("the hand-made run has it").event
}

fn is_arrival(event: &Event, sequence: u64) -> bool {
    matches!(event, Event::Arrived { id: of, .. } if *of == id(sequence))
}

#[test]
fn a_clean_run_is_not_accused() {
    let judgement = judge(&clean());
    assert!(judgement.is_clean(), "{:?}", judgement.violations);
    let counts = judgement.counts;
    assert_eq!(
        (counts.acknowledged, counts.stored, counts.owed, counts.delivered),
        (6, 6, 6, 6)
    );
    assert_eq!(
        (counts.changes, counts.faults, counts.repeated, counts.looks),
        (1, 1, 0, 3)
    );
    assert_eq!(counter_example(&clean(), &judgement), None);
}

#[test]
fn what_may_happen_is_not_an_accusation() {
    let cases: [(&str, Spoil); 8] = [
        (
            "the head of a lane once more after a change of leader",
            |history| {
                history.lines.push(arrived(2150, 2));
            },
        ),
        (
            "another sender's message before one that was not answered when it was due",
            |history| {
                other_sender(history, 2401);
                history.lines.retain(|line| !is_arrival(&line.event, 4));
                history.lines.push(arrived(2480, 4));
            },
        ),
        ("a message that was never answered, and is there", |history| {
            let event = find(history, |event| matches!(event, Event::Sent { .. }));
            if let Event::Sent { acknowledged, .. } = event {
                *acknowledged = None;
            }
        }),
        ("a message that was never answered, and is not there", |history| {
            let sent = Event::Sent {
                lane: 0,
                id: id(77),
                acknowledged: None,
                refused: false,
                owed: Vec::new(),
            };
            history.lines.push(line(8000, sent));
        }),
        ("a frozen node whose ports stay bound", |history| {
            history.lines.extend(fault(2, "freeze", 2050, 4000));
            history
                .lines
                .push(bound(3000, &["node-a", "node-b"], &["node-a", "node-b"]));
        }),
        ("ports that changed hands between two readings", |history| {
            history.lines.push(bound(2090, &["node-a"], &["node-b"]));
        }),
        ("an older leader's commit before the next one began", |history| {
            for row in history.dump.rows.iter_mut().filter(|row| row.epoch() == 1) {
                row.at = history.dump.acquired[1].at;
            }
        }),
        (
            "a repeat for each connection that a cut to the partners cost",
            |history| {
                history.lines.extend(fault(2, "link down", 2600, 3000));
                for (index, ms) in (0_u64..).zip([3100, 3200, 3300, 3400]) {
                    let mut again = arrived(ms, 5);
                    if let Event::Arrived { peer, .. } = &mut again.event {
                        *peer = format!("10.77.0.32:{}", 50_000 + index);
                    }
                    history.lines.push(again);
                }
            },
        ),
    ];
    for (case, spoil) in cases {
        let mut history = clean();
        spoil(&mut history);
        let judgement = judge(&sorted(history));
        assert!(judgement.is_clean(), "{case}: {:?}", judgement.violations);
    }
}

#[test]
fn each_kind_of_violation_is_found_and_told() {
    let cases: [(&str, Kind, Spoil); 22] = [
        ("an acknowledged message is not stored", Kind::Lost, |history| {
            let gone = number(1, 10);
            history.dump.rows.retain(|row| row.message != gone);
            history.lines.retain(|line| !is_arrival(&line.event, 1));
        }),
        (
            "an acknowledged message never arrived",
            Kind::Undelivered,
            |history| {
                history.lines.retain(|line| !is_arrival(&line.event, 5));
            },
        ),
        ("a message was refused", Kind::Undelivered, |history| {
            if let Event::Sent { refused, .. } = find(history, |event| matches!(event, Event::Sent { .. })) {
                *refused = true;
            }
        }),
        ("a message became a dead letter", Kind::Undelivered, |history| {
            let message = number(1, 10);
            history
                .dump
                .rows
                .push(row("dead_letter", number(1, 19), message, 300, "rejected"));
        }),
        ("other bytes", Kind::Altered, |history| {
            if let Event::Arrived { body, .. } = find(history, |event| is_arrival(event, 1)) {
                *body = digest(b"other");
            }
        }),
        (
            "a message that nobody sent is stored",
            Kind::Uncalled,
            |history| {
                let message = number(2, 990);
                history
                    .dump
                    .rows
                    .push(row("message", message, message, 3000, "GHOST"));
                history
                    .dump
                    .rows
                    .push(row("disposition", message + 1, message, 3000, ""));
            },
        ),
        (
            "a message arrived where it is not owed",
            Kind::Uncalled,
            |history| {
                if let Event::Sent {
                    owed, acknowledged, ..
                } = find(history, |event| matches!(event, Event::Sent { .. }))
                {
                    owed.clear();
                    *acknowledged = None;
                }
            },
        ),
        ("two deliveries changed places", Kind::Disorder, |history| {
            history.lines.retain(|line| !is_arrival(&line.event, 4));
            history.lines.push(arrived(2600, 4));
        }),
        (
            "another sender's message overtook one that was acknowledged before it was due",
            Kind::Disorder,
            |history| {
                other_sender(history, 2460);
                history.lines.retain(|line| !is_arrival(&line.event, 4));
                history.lines.push(arrived(2480, 4));
            },
        ),
        ("a repeat after something newer", Kind::Disorder, |history| {
            history.lines.push(arrived(2550, 2));
        }),
        ("more repeats than anything explains", Kind::Repeats, |history| {
            (0..3).for_each(|more| history.lines.push(arrived(3000 + more, 5)));
        }),
        ("two nodes with ports bound", Kind::TwoLeaders, |history| {
            history
                .lines
                .push(bound(2090, &["node-a", "node-b"], &["node-a", "node-b"]));
        }),
        (
            "two nodes with ports bound, one just taking them",
            Kind::TwoLeaders,
            |history| {
                history
                    .lines
                    .push(bound(2090, &["node-b"], &["node-a", "node-b"]))
            },
        ),
        (
            "two nodes with ports bound, one just letting go",
            Kind::TwoLeaders,
            |history| {
                history
                    .lines
                    .push(bound(2090, &["node-a", "node-b"], &["node-a"]));
            },
        ),
        (
            "a frozen node that holds its ports long after it thawed",
            Kind::TwoLeaders,
            |history| {
                history.lines.extend(fault(2, "freeze", 2050, 2500));
                history
                    .lines
                    .push(bound(3000, &["node-a", "node-b"], &["node-a", "node-b"]));
            },
        ),
        (
            "an older leadership commits after the next has begun",
            Kind::Stale,
            |history| {
                let message = number(1, 20);
                history
                    .dump
                    .rows
                    .push(row("event", number(1, 29), message, 2400, "late"));
            },
        ),
        ("two leaderships of one epoch", Kind::Stale, |history| {
            history.dump.acquired.push(acquired(2, "node-c", 4000));
        }),
        ("a message without a disposition", Kind::Unfinished, |history| {
            let message = number(1, 10);
            history
                .dump
                .rows
                .retain(|row| row.table != "disposition" || row.message != message);
        }),
        ("a message with two dispositions", Kind::Unfinished, |history| {
            let message = number(1, 10);
            history
                .dump
                .rows
                .push(row("disposition", number(1, 18), message, 300, ""));
        }),
        ("a send with two outcomes", Kind::Unfinished, |history| {
            let send = number(1, 12).to_string();
            history
                .dump
                .rows
                .push(row("outcome", number(1, 18), number(1, 10), 300, &send));
        }),
        (
            "nobody led after everything was mended",
            Kind::Leaderless,
            |history| {
                history
                    .lines
                    .retain(|line| !matches!(&line.event, Event::Leads { node, .. } if node == "node-b"));
            },
        ),
        ("a fault that left no trace", Kind::Toothless, |history| {
            history
                .lines
                .retain(|line| !matches!(line.event, Event::Bitten { .. }));
        }),
    ];
    for (case, kind, spoil) in cases {
        let mut history = clean();
        spoil(&mut history);
        let history = sorted(history);
        let judgement = judge(&history);
        let kinds: Vec<Kind> = judgement
            .violations
            .iter()
            .map(|violation| violation.kind)
            .collect();
        assert!(kinds.contains(&kind), "{case}: {:?}", judgement.violations);
        // One thing was spoilt: a swap shows at both of its ends, and one that is not there cannot arrive either.
        assert!(
            kinds.iter().all(|found| *found == kind),
            "{case}: {:?}",
            judgement.violations
        );
        let story = counter_example(&history, &judgement).expect("there is a violation to tell");
        assert!(story.starts_with(&format!("{kind}: ")), "{case}: {story}");
    }
}

#[test]
fn a_run_without_records_is_no_proof() {
    let history = History {
        lines: Vec::new(),
        dump: Dump::default(),
        lease: 1_500_000,
    };
    let judgement = judge(&history);
    assert_eq!(
        judgement.count(Kind::BrokenRecord),
        3,
        "{:?}",
        judgement.violations
    );
    let mut given_up = clean();
    given_up.lines.push(line(
        100,
        Event::LaneFailed {
            lane: 0,
            why: "out of reach".to_owned(),
        },
    ));
    assert_eq!(judge(&sorted(given_up)).count(Kind::BrokenRecord), 1);
}

#[test]
fn when_the_databases_clock_jumped_the_order_of_commits_is_left_open_and_said_so() {
    let mut history = clean();
    history.lines.extend(fault(2, "database clock", 2600, 3000));
    history
        .dump
        .rows
        .push(row("event", number(1, 29), number(1, 20), 2400, "late"));
    let judgement = judge(&sorted(history));
    assert!(judgement.is_clean(), "{:?}", judgement.violations);
    assert!(
        judgement
            .unchecked
            .iter()
            .any(|why| why.starts_with("stale commits"))
    );
}

#[test]
fn a_counter_example_holds_the_life_of_the_message_and_what_happened_around_it() {
    let mut history = clean();
    let message = number(1, 20);
    let rows = &mut history.dump.rows;
    rows.retain(|row| row.table != "disposition" || row.message != message);
    let history = sorted(history);
    let judgement = judge(&history);
    let story = counter_example(&history, &judgement).expect("a message has no end");
    for wanted in [
        "unfinished: R001-L00-00000002 (row 8796093022228) has 0 dispositions",
        "sender 0       R001-L00-00000002 is due",
        "hears AA",
        "commits a message R001-L00-00000002: epoch 1 number 20",
        "gets R001-L00-00000002 from 10.77.0.31:40000",
        "fault 1 begins: kill of node-a",
        "process 1 has ended: signal: 9",
    ] {
        assert!(story.contains(wanted), "`{wanted}` is missing in:\n{story}");
    }
    // What happened to others, or long after, is no part of it.
    assert!(
        !story.contains("R001-L00-00000001") && !story.contains("node-b"),
        "{story}"
    );
}
