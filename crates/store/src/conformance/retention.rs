//! Retention: what goes, what stays, and that what stays is as it was.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::{Body, Disposition, MessageId, RowId, SendId, Timestamp};

use super::build::{self, Bench};
use super::{Case, Fault, Fixture, Outcome, case, holds, same};
use crate::rows::{EventKind, OutcomeResult};
use crate::views::DeadLetterFilter;
use crate::{Done, Error, Horizon, RetentionRules, Retired};

pub(super) const CASES: &[Case] = &[
    case!(
        "retention takes what is closed and old, and leaves all else exactly as it was",
        what_stays
    ),
    case!(
        "what was put back or sent again after it ended is not taken",
        what_was_reopened
    ),
    case!("each inbound keeps its messages for its own time", own_time),
    case!("a term that does not lead retires nothing", fenced),
    case!("numbers of what went are not given out again", numbers),
];

/// Everything that is closed may go.
pub(super) fn everything() -> RetentionRules {
    RetentionRules::all(Timestamp(i64::MAX))
}

/// Waits until all segments but the last are sealed.
pub(super) async fn sealed(bench: &Bench) -> Result<usize, Fault> {
    let begun = Instant::now();
    loop {
        let mut segments = bench.store.segments().await?;
        segments.pop();
        if segments.iter().all(|segment| segment.sealed) {
            return Ok(segments.len());
        }
        holds(
            "full segments are sealed",
            begun.elapsed() < Duration::from_secs(60),
        )?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Retires every full segment.
pub(super) async fn retire(bench: &Bench, rules: &RetentionRules) -> Result<Vec<Retired>, Fault> {
    sealed(bench).await?;
    let mut retired = Vec::new();
    for segment in bench.store.segments().await? {
        let foreseen = match segment.sealed {
            true => bench.store.examine_segment(segment.number, rules).await?,
            false => None, // it may be sealed between the two
        };
        let done = bench
            .store
            .retire_segment(bench.term, segment.number, rules)
            .await?;
        if segment.sealed {
            same("full segments are retired", done.is_some(), true)?;
            same(
                "what was foreseen is what was found",
                done.as_ref().map(|retired| retired.findings.clone()),
                foreseen,
            )?;
        } else {
            let now = bench.store.segments().await?;
            let open = now.iter().any(|now| now.number == segment.number && !now.sealed);
            holds("only full segments are retired", done.is_none() || !open)?;
        }
        retired.extend(done);
    }
    Ok(retired)
}

/// All that the pipeline and people see of some messages.
pub(super) async fn picture(bench: &Bench, messages: &[MessageId]) -> Result<Vec<String>, Fault> {
    let (store, rows) = (&bench.store, RowId::MAX);
    let mut picture = Vec::new();
    for open in store.open_messages(MessageId::default(), 1_000).await? {
        picture.push(format!("{open:?}"));
    }
    for inbound in bench.inbounds {
        let open = store
            .open_ingress(inbound, MessageId::default(), MessageId(rows), 1_000)
            .await?;
        picture.push(format!("waiting for the router: {open:?}"));
    }
    for handler in bench.handlers {
        let open = store.open_routed(handler, RowId::ZERO, rows, 1_000).await?;
        picture.push(format!("waiting for a handler: {open:?}"));
    }
    for destination in bench.outbounds {
        let open = store
            .open_sends(destination, SendId(RowId::ZERO), SendId(rows), 1_000)
            .await?;
        picture.push(format!("waiting for a partner: {open:?}"));
        let ids: Vec<SendId> = open.iter().map(|send| send.id).collect();
        for body in store.send_bodies(&ids).await? {
            picture.push(format!("{:?}", body.map(|body| body.bytes().clone())));
        }
    }
    let filter = DeadLetterFilter {
        limit: 1_000,
        ..DeadLetterFilter::default()
    };
    picture.push(format!("{:?}", store.dead_letters(&filter).await?.items));
    picture.push(format!("{:?}", store.census().await?.open));
    for id in messages {
        let detail = store.message(*id).await?;
        let bytes = detail.as_ref().and_then(|detail| detail.body.as_ref());
        picture.push(format!("{detail:?} {:?}", bytes.map(Body::bytes)));
    }
    Ok(picture)
}

/// Counts that belong together after some of what they count is gone.
pub(super) async fn counts_agree(bench: &Bench) -> Outcome {
    let census = bench.store.census().await?;
    let standing: u64 = census.dispositions.iter().map(|(_, count)| count).sum();
    same("each message stands somewhere", standing, census.messages)?;
    let open_sends = census
        .open
        .iter()
        .find(|(stage, _)| *stage == model::Stage::Outbound)
        .map_or(0, |(_, count)| *count);
    holds(
        "no delivery is counted without its send",
        census.delivered + open_sends <= census.sends,
    )?;
    same(
        "sound",
        bench.store.check_integrity().await?,
        Vec::<String>::new(),
    )
}

async fn what_stays(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut closed = Vec::new();
    let mut stuck = Vec::new();
    for round in 0..12 {
        for _ in 0..4 {
            closed.push(bench.whole_life().await?);
        }
        let id = bench.arrive().await?;
        stuck.push(id);
        match round % 6 {
            0 => {} // waits for its router
            1 => drop(bench.route(id, &bench.handlers).await?),
            2 => {
                bench.route(id, &bench.handlers[..1]).await?;
                let send = bench.send(id, bench.outbounds[1]).await?;
                let failed = build::event(id, Some(send), EventKind::AttemptFailed);
                bench.commit(vec![failed]).await?;
            }
            3 => {
                bench.route(id, &bench.handlers[..1]).await?;
                let send = bench.send(id, bench.outbounds[0]).await?;
                bench
                    .commit(vec![
                        build::outcome(id, send, OutcomeResult::Dead),
                        build::dead_letter(id, bench.outbounds[0], Some(send)),
                    ])
                    .await?;
                bench.dispose(id, Disposition::Error).await?;
            }
            4 => {
                // One send ended, the other did not.
                bench.route(id, &bench.handlers[..1]).await?;
                let done = bench.send(id, bench.outbounds[0]).await?;
                bench.send(id, bench.outbounds[1]).await?;
                bench.deliver(id, done).await?;
            }
            _ => {
                // Its dead letter was put back, and it waits again.
                let letter = build::dead_letter(id, bench.handlers[0], None);
                let row = bench.commit(vec![letter]).await?.rows[0];
                bench.dispose(id, Disposition::Error).await?;
                bench
                    .commit(vec![
                        build::resolved(row),
                        build::routed(id, &bench.handlers[..1]),
                        build::disposition(id, Disposition::Routed),
                    ])
                    .await?;
            }
        }
    }
    for _ in 0..8 {
        closed.push(bench.whole_life().await?);
    }
    let before = picture(&bench, &stuck).await?;
    let full = sealed(&bench).await?;
    let first = retire(&bench, &everything()).await?;
    same(
        "what stays is as it was",
        picture(&bench, &stuck).await?,
        before.clone(),
    )?;
    counts_agree(&bench).await?;
    if full > 4 {
        let shrunk = first.iter().filter(|one| one.done != Done::Kept).count();
        holds("segments with little left were made anew or dropped", shrunk > 0)?;
    }
    let again = retire(&bench, &everything()).await?;
    holds(
        "a second time there is nothing left to do",
        again
            .iter()
            .all(|one| one.findings.expired == 0 || one.done == Done::Kept),
    )?;
    let bench = bench.reopen().await?;
    same("after a restart too", picture(&bench, &stuck).await?, before)?;
    counts_agree(&bench).await?;
    // All that was stuck ends; then nothing of it stays in a full segment.
    for destination in bench.outbounds {
        let open = bench
            .store
            .open_sends(destination, SendId(RowId::ZERO), SendId(RowId::MAX), 1_000)
            .await?;
        for send in open {
            bench.deliver(send.message, send.id).await?;
        }
    }
    for id in bench.open_ids(100).await? {
        bench.dispose(id, Disposition::Processed).await?;
    }
    let filter = DeadLetterFilter {
        limit: 1_000,
        ..DeadLetterFilter::default()
    };
    for letter in bench.store.dead_letters(&filter).await?.items {
        bench.commit(vec![build::resolved(letter.row)]).await?;
    }
    let ended = retire(&bench, &everything()).await?;
    holds(
        "every full segment goes",
        ended.iter().all(|one| matches!(one.done, Done::Dropped(_))),
    )?;
    same("nothing is open", bench.open_ids(100).await?, vec![])?;
    counts_agree(&bench).await
}

async fn what_was_reopened(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut back = Vec::new();
    for round in 0..3 {
        let id = bench.whole_life().await?;
        back.push(id);
        for _ in 0..10 {
            bench.whole_life().await?;
        }
        match round {
            0 => bench.dispose(id, Disposition::Received).await?,
            1 => {
                bench
                    .commit(vec![
                        build::routed(id, &bench.handlers[1..]),
                        build::disposition(id, Disposition::Routed),
                    ])
                    .await?;
            }
            // Sent again, and nobody wrote yet that it is open.
            _ => drop(bench.send(id, bench.outbounds[1]).await?),
        }
        for _ in 0..10 {
            bench.whole_life().await?;
        }
    }
    let before = picture(&bench, &back).await?;
    retire(&bench, &everything()).await?;
    same(
        "what was opened again stays",
        picture(&bench, &back).await?,
        before.clone(),
    )?;
    let bench = bench.reopen().await?;
    same("after a restart too", picture(&bench, &back).await?, before)
}

async fn own_time(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [short, long] = bench.inbounds;
    let mut kept = Vec::new();
    for round in 0..60 {
        let inbound = if round % 5 == 0 { long } else { short };
        let id = bench.arrive_at(inbound).await?;
        bench.dispose(id, Disposition::Unrouted).await?;
        if inbound == long {
            kept.push(id);
        }
    }
    let before = picture(&bench, &kept).await?;
    let terms = Horizon {
        default: Timestamp(i64::MAX),
        // They were all received at 1,000,000.
        of: HashMap::from([(long, Timestamp(1_000_000))]),
    };
    let rules = RetentionRules {
        messages: terms.clone(),
        bodies: terms,
    };
    let retired = retire(&bench, &rules).await?;
    same(
        "those of the long one stay",
        picture(&bench, &kept).await?,
        before,
    )?;
    let left = bench.store.census().await?.messages;
    let expired: u64 = retired
        .iter()
        .filter(|one| one.done != Done::Kept)
        .map(|one| one.findings.expired)
        .sum();
    same("the others went", left, 60 - expired)?;
    if retired.len() > 3 {
        holds("some went", expired > 0)?;
    }
    holds(
        "the rest is young",
        retired
            .iter()
            .all(|one| one.findings.dead + one.findings.open == 0),
    )
}

async fn fenced(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    for _ in 0..20 {
        bench.whole_life().await?;
    }
    sealed(&bench).await?;
    let before = bench.store.census().await?.messages;
    let rules = everything();
    let newer = bench.store.acquire("node-b").await?;
    let released = async |term| {
        for segment in bench.store.segments().await? {
            let refused = bench.store.retire_segment(term, segment.number, &rules).await;
            holds("refused", matches!(refused, Err(Error::Refused(_))))?;
        }
        Ok::<(), Fault>(())
    };
    released(bench.term).await?;
    bench.store.release(newer).await?;
    released(newer).await?;
    same("nothing went", bench.store.census().await?.messages, before)
}

async fn numbers(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut last = MessageId::default();
    for _ in 0..25 {
        last = bench.whole_life().await?;
    }
    retire(&bench, &everything()).await?;
    let next = bench.arrive().await?;
    holds("a later number", next > last)?;
    bench.dispose(next, Disposition::Unrouted).await?;
    retire(&bench, &everything()).await?;
    let bench = bench.reopen().await?;
    let newest = bench.arrive().await?;
    holds("and a later one after a restart", newest > next)?;
    same("it is the only one open", bench.open_ids(10).await?, vec![newest])
}
