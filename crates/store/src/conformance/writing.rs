//! Units, numbers, fence, poison, durability.

use model::{Disposition, Epoch, MessageId, RowId, SendId, Term};

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::rows::{EventKind, OutcomeResult};
use crate::views::{DeadLetterFilter, MessageFilter};
use crate::{CommitError, Entry, Unit};

pub(super) const CASES: &[Case] = &[
    case!(
        "a receipt has one number per entry, and only numbered entries carry one",
        receipts
    ),
    case!(
        "numbers follow the order of the calls, also of calls nobody waits for",
        call_order
    ),
    case!("a dropped future undoes nothing", dropped_future),
    case!(
        "numbers carry the epoch of their term and grow over terms",
        epochs
    ),
    case!("an older term writes nothing, whatever the entry", fence),
    case!("a released term writes nothing", release),
    case!(
        "a unit that is refused leaves nothing behind and harms no other",
        poison
    ),
    case!(
        "an entry that refers to its unit's own message gets that message's number",
        own_message
    ),
    case!(
        "what was committed is there after the store is opened again, byte for byte",
        durable
    ),
    case!("an empty unit and an empty call are answered", empty),
    case!(
        "many callers at once each get their own numbers, without a gap in what is stored",
        many_callers
    ),
];

async fn receipts(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let message = bench.arrive().await?;
    let sent = bench.send(message, bench.outbounds[0]).await?;
    let dead = bench
        .commit(vec![build::dead_letter(message, bench.outbounds[0], Some(sent))])
        .await?
        .rows[0];
    let [handler, _] = bench.handlers;
    let receipt = bench
        .commit(vec![
            build::message(bench.inbounds[0], b"x"),
            build::routed(message, &[handler]),
            build::handled(message, handler),
            build::send(message, handler, bench.outbounds[0], None),
            build::outcome(message, sent, OutcomeResult::Dead),
            build::disposition(message, Disposition::Error),
            build::dead_letter(message, bench.outbounds[0], Some(sent)),
            build::resolved(dead),
            build::event(message, Some(sent), EventKind::AttemptFailed),
        ])
        .await?;
    let numbered: Vec<bool> = receipt.rows.iter().map(|row| *row != RowId::ZERO).collect();
    same(
        "entries with a number",
        numbered,
        vec![true, true, false, true, false, false, true, false, true],
    )?;
    let mut numbers: Vec<RowId> = receipt
        .rows
        .iter()
        .copied()
        .filter(|row| *row != RowId::ZERO)
        .collect();
    holds("numbers grow within a unit", numbers.is_sorted_by(|a, b| a < b))?;
    numbers.dedup();
    same("distinct numbers", numbers.len(), 5)?;
    holds(
        "the message's receipt attests it",
        receipt.committed(0).is_some_and(|c| c.id().0 == receipt.rows[0]),
    )?;
    holds("an outcome attests nothing", receipt.committed(4).is_none())
}

async fn call_order(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let calls: Vec<_> = (0..300)
        .map(|_| {
            bench.store.submit(
                bench.term,
                vec![Unit::one(build::message(bench.inbounds[0], b"x")); 2],
            )
        })
        .collect();
    let mut last = RowId::ZERO;
    // Awaited from the back: the order of waiting must not matter.
    let mut answers = Vec::new();
    for call in calls.into_iter().rev() {
        answers.push(call.await);
    }
    for answer in answers.into_iter().rev().flatten() {
        let row = answer?.rows[0];
        holds("a later call has a higher number", row > last)?;
        last = row;
    }
    Ok(())
}

async fn dropped_future(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    drop(bench.store.submit(
        bench.term,
        vec![Unit::one(build::message(bench.inbounds[0], b"x"))],
    ));
    let second = bench.arrive().await?;
    let ids = bench.open_ids(10).await?;
    same("messages", ids.len(), 2)?;
    same("the later one", ids[1], second)
}

async fn epochs(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let first = bench.arrive().await?;
    same("epoch of a number", first.0.epoch(), bench.term.epoch)?;
    let old = bench.term;
    let bench = bench.reopen().await?;
    holds("epochs grow", bench.term.epoch > old.epoch)?;
    holds("terms differ", bench.term.id != old.id)?;
    let second = bench.arrive().await?;
    holds("numbers grow over terms", second > first)?;
    let leader = bench.store.leader().await?;
    let leader = leader.map(|leader| {
        (
            Term {
                epoch: leader.epoch,
                id: leader.term,
            },
            leader.node,
            leader.released,
        )
    });
    same(
        "the lease row",
        leader,
        Some((bench.term, "node-a".to_owned(), false)),
    )
}

/// One entry of every kind, for one message and its send.
fn every_kind(bench: &Bench, message: MessageId, sent: SendId, dead: RowId) -> Vec<Entry> {
    vec![
        build::message(bench.inbounds[0], b"x"),
        build::routed(message, &bench.handlers),
        build::handled(message, bench.handlers[1]),
        build::send(message, bench.handlers[0], bench.outbounds[0], Some(b"y")),
        build::outcome(message, sent, OutcomeResult::Delivered),
        build::disposition(message, Disposition::Processed),
        build::dead_letter(message, bench.outbounds[0], Some(sent)),
        build::resolved(dead),
        build::event(message, Some(sent), EventKind::AttemptFailed),
    ]
}

async fn fence(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let message = bench.arrive().await?;
    let sent = bench.send(message, bench.outbounds[0]).await?;
    let dead = bench
        .commit(vec![build::dead_letter(message, bench.outbounds[0], Some(sent))])
        .await?
        .rows[0];
    let older = bench.term;
    let newer = bench.store.acquire("node-b").await?;
    let rewound = Term {
        epoch: newer.epoch,
        id: older.id,
    };
    let ahead = Term {
        epoch: Epoch(newer.epoch.0 + 1),
        id: newer.id,
    };
    let before = bench.store.census().await?;
    for term in [older, rewound, ahead] {
        for entry in every_kind(&bench, message, sent, dead) {
            let label = format!("{entry:?} under {term:?}");
            let answer = bench.try_commit(term, vec![entry]).await;
            holds(
                &format!("{label}: fenced"),
                matches!(answer, Err(CommitError::Fenced)),
            )?;
        }
    }
    same(
        "the census after fenced writes",
        bench.store.census().await?,
        before,
    )?;
    let detail = bench.store.message(message).await?;
    let trail = detail.map(|detail| {
        (
            detail.routed.len(),
            detail.events.len(),
            detail.dispositions.len(),
        )
    });
    same("rows of the message", trail, Some((0, 0, 0)))?;
    for entry in every_kind(&bench, message, sent, dead) {
        bench.try_commit(newer, vec![entry]).await?;
    }
    holds("a fenced term cannot record what an operator wants", {
        let wish = bench
            .store
            .set_desired(older, bench.inbounds[0], crate::Desired::Held, "alice")
            .await;
        wish.is_err() && bench.store.desired().await?.is_empty()
    })
}

async fn release(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let stranger = Term {
        epoch: bench.term.epoch,
        id: uuid::Uuid::from_u128(7),
    };
    bench.store.release(stranger).await?;
    bench.arrive().await?;
    bench.store.release(bench.term).await?;
    holds(
        "the lease row says so",
        bench.store.leader().await?.is_some_and(|leader| leader.released),
    )?;
    let answer = bench
        .try_commit(bench.term, vec![build::message(bench.inbounds[0], b"x")])
        .await;
    holds(
        "a released term is fenced",
        matches!(answer, Err(CommitError::Fenced)),
    )?;
    let next = bench.store.acquire("node-b").await?;
    bench
        .try_commit(next, vec![build::message(bench.inbounds[0], b"x")])
        .await?;
    Ok(())
}

async fn poison(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let good = || Unit::one(build::message(bench.inbounds[0], b"good"));
    // A row may refer only to rows before it; this one refers to a message of the far future.
    let bad = || Unit {
        entries: vec![
            build::message(bench.inbounds[0], b"bad"),
            build::routed(MessageId(RowId::MAX), &bench.handlers),
        ],
    };
    let orphan = || Unit::one(build::disposition(MessageId(RowId::ZERO), Disposition::Processed));
    let calls = vec![
        bench.store.submit(bench.term, vec![bad(), good(), bad()]),
        bench.store.submit(bench.term, vec![good(), orphan(), good()]),
        bench.store.submit(bench.term, vec![bad()]),
        bench.store.submit(bench.term, vec![good()]),
    ];
    let mut kept = Vec::new();
    let mut verdicts = Vec::new();
    for answer in futures::future::join_all(calls).await.into_iter().flatten() {
        verdicts.push(match answer {
            Ok(receipt) => {
                kept.push(MessageId(receipt.rows[0]));
                'k'
            }
            Err(CommitError::Rejected(_)) => 'r',
            Err(other) => return Err(other.into()),
        });
    }
    same(
        "verdicts",
        verdicts.into_iter().collect::<String>(),
        "rkrkrkrk".to_owned(),
    )?;
    same("what is stored", bench.open_ids(100).await?, kept)?;
    bench.arrive().await.map(drop)
}

async fn own_message(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let own = MessageId(RowId::ZERO);
    let entries = || {
        vec![
            build::message(bench.inbounds[0], b"refused"),
            build::event(own, None, EventKind::Rejected),
            build::dead_letter(own, bench.inbounds[0], None),
            build::disposition(own, Disposition::Error),
        ]
    };
    let answers = bench
        .store
        .submit(
            bench.term,
            vec![Unit { entries: entries() }, Unit { entries: entries() }],
        )
        .await;
    for answer in answers {
        let id = MessageId(answer?.rows[0]);
        let Some(detail) = bench.store.message(id).await? else {
            return holds("the message is there", false);
        };
        same("its disposition", detail.summary.disposition, Disposition::Error)?;
        same(
            "its rows",
            (
                detail.events.len(),
                detail.dead_letters.len(),
                detail.dispositions.len(),
            ),
            (1, 1, 1),
        )?;
    }
    Ok(())
}

async fn durable(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let body: &'static [u8] = b"MSH|^~\\&|\xff\x00\x1c\r\nPID|1\r";
    let receipt = bench
        .commit(vec![build::message(bench.inbounds[1], body)])
        .await?;
    let id = MessageId(receipt.rows[0]);
    bench.route(id, &bench.handlers).await?;
    let [one, two] = [Some(&b"changed"[..]), None];
    let sends = bench
        .commit(vec![
            build::send(id, bench.handlers[0], bench.outbounds[0], one),
            build::send(id, bench.handlers[1], bench.outbounds[1], two),
        ])
        .await?;
    let sends = [SendId(sends.rows[0]), SendId(sends.rows[1])];
    bench
        .commit(vec![build::event(id, Some(sends[0]), EventKind::AttemptFailed)])
        .await?;
    bench
        .commit(vec![build::outcome(id, sends[0], OutcomeResult::Delivered)])
        .await?;
    let bench = bench.reopen().await?;
    let work = bench
        .store
        .messages_for_work(&[MessageId(RowId::MAX), id])
        .await?;
    holds("a message that is not there is none", work[0].is_none())?;
    let found = work[1]
        .as_ref()
        .map(|work| (work.id, work.inbound, work.body.to_vec()));
    same("the message", found, Some((id, bench.inbounds[1], body.to_vec())))?;
    let bodies = bench
        .store
        .send_bodies(&[sends[1], SendId(RowId::MAX), sends[0]])
        .await?;
    let bodies: Vec<Option<Vec<u8>>> = bodies
        .into_iter()
        .map(|body| body.map(|body| body.to_vec()))
        .collect();
    same(
        "bodies of sends",
        bodies,
        vec![Some(body.to_vec()), None, Some(b"changed".to_vec())],
    )?;
    let Some(detail) = bench.store.message(id).await? else {
        return holds("the message is there", false);
    };
    same(
        "sends",
        detail.sends.iter().map(|send| send.id).collect::<Vec<_>>(),
        sends.to_vec(),
    )?;
    let reply = detail.sends[0]
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.3.as_ref())
        .map(|reply| reply.to_vec());
    same("the partner's reply", reply, Some(b"MSA|AA|C1".to_vec()))?;
    same(
        "events",
        detail.events.iter().map(|event| event.kind).collect::<Vec<_>>(),
        vec![EventKind::AttemptFailed],
    )?;
    same("integrity", bench.store.check_integrity().await?, Vec::new())
}

async fn empty(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    same(
        "answers to no unit",
        bench.store.submit(bench.term, Vec::new()).await.len(),
        0,
    )?;
    same(
        "rows of an empty unit",
        bench.commit(Vec::new()).await?.rows.len(),
        0,
    )
}

async fn many_callers(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let calls = (0..40).map(|_| async {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(bench.arrive().await?);
        }
        Ok::<_, super::Fault>(ids)
    });
    let mut ids = Vec::new();
    for answer in futures::future::join_all(calls).await {
        let of_one = answer?;
        holds("one caller's numbers grow", of_one.is_sorted_by(|a, b| a < b))?;
        ids.extend(of_one);
    }
    ids.sort();
    same("what is stored", bench.open_ids(7).await?, ids)?;
    let listed = bench
        .store
        .messages(&MessageFilter {
            limit: 1_000,
            ..MessageFilter::default()
        })
        .await?;
    same("listed", listed.items.len(), 200)?;
    let letters = bench
        .store
        .dead_letters(&DeadLetterFilter {
            limit: 10,
            ..DeadLetterFilter::default()
        })
        .await?;
    same("dead letters", letters.items.len(), 0)
}
