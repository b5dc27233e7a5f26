//! Bodies that go before the messages that they belong to: what goes, what stays, and who is told.

use std::collections::HashMap;

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Timestamp};

use super::build::{self, Bench};
use super::listings::listed;
use super::retention::{counts_agree, everything, picture, retire, sealed};
use super::{Case, Fault, Fixture, Outcome, case, holds, same};
use crate::rows::OutcomeResult;
use crate::views::{DeadLetterFilter, MessageDetail, MessageFilter};
use crate::{Done, Entry, Horizon, Key, Keys, RetentionRules};

pub(super) const CASES: &[Case] = &[
    case!(
        "bodies go with what names a patient beside them, the rest of their messages stays as it was",
        bodies_go
    ),
    case!("each inbound keeps its bodies for its own time", own_time),
    case!(
        "a segment waits for the youngest of its messages rather than being made anew again and again",
        at_once
    ),
    case!("a term that does not lead removes no body", fenced),
];

/// All bodies of what is closed may go, and no message.
fn bodies_only() -> RetentionRules {
    RetentionRules {
        messages: Horizon::all(Timestamp(i64::MIN)),
        bodies: Horizon::all(Timestamp(i64::MAX)),
    }
}

/// A message with a search key arrives; some are long enough to be packed.
async fn arrive(bench: &Bench, inbound: NameId, number: usize) -> Result<MessageId, Fault> {
    let Entry::Message(mut message) = build::message(inbound, b"") else {
        return Err(Fault("a message is built".to_owned()));
    };
    let text = format!("PID|1||M{number}||Sample^Ann\r");
    message.body = Body::from(text.repeat(1 + number % 4 * 20).into_bytes());
    message.keys = Keys::default();
    message.keys.add("mrn", &format!("M{number}"));
    let row = bench.commit(vec![Entry::Message(message)]).await?.rows[0];
    Ok(MessageId(row))
}

/// A send with bytes and a partition of its own.
async fn send(bench: &Bench, message: MessageId, number: usize) -> Result<SendId, Fault> {
    let body = format!("PID|1||M{number}||Changed^Ann\r").repeat(1 + number % 3 * 30);
    let mut entry = build::send(message, bench.handlers[0], bench.outbounds[0], None);
    if let Entry::Send(new) = &mut entry {
        new.partition = Some(format!("M{number}").into());
        new.body = (!number.is_multiple_of(5)).then(|| Body::from(body.into_bytes()));
    }
    Ok(SendId(bench.commit(vec![entry]).await?.rows[0]))
}

/// A whole life, with a send that is mostly changed and a partner that answers.
async fn life(bench: &Bench, inbound: NameId, number: usize) -> Result<MessageId, Fault> {
    let id = arrive(bench, inbound, number).await?;
    bench.route(id, &bench.handlers[..1]).await?;
    let sent = send(bench, id, number).await?;
    bench.deliver(id, sent).await?;
    bench.dispose(id, Disposition::Processed).await?;
    Ok(id)
}

/// Something that does not end by itself: waiting for its router, for a partner (once more, or at all), a dead letter.
async fn stuck(bench: &Bench, number: usize) -> Result<MessageId, Fault> {
    let id = arrive(bench, bench.inbounds[0], 1_000 + number).await?;
    match number % 4 {
        0 => {}
        1 => drop(send(bench, id, 1).await?),
        2 => {
            let sent = send(bench, id, 1).await?;
            bench.deliver(id, sent).await?;
            bench.dispose(id, Disposition::Processed).await?;
            send(bench, id, 2).await?;
        }
        _ => dies(bench, id).await?,
    }
    Ok(id)
}

/// A send of it is refused for good.
async fn dies(bench: &Bench, id: MessageId) -> Outcome {
    let sent = send(bench, id, 1).await?;
    let dead = vec![
        build::outcome(id, sent, OutcomeResult::Dead),
        build::dead_letter(id, bench.outbounds[0], Some(sent)),
    ];
    bench.commit(dead).await?;
    bench.dispose(id, Disposition::Error).await
}

/// A message as it is told without its bodies.
async fn outline(bench: &Bench, id: MessageId) -> Result<(String, MessageDetail), Fault> {
    let detail = bench.store.message(id).await?;
    let detail = detail.ok_or_else(|| Fault(format!("message {id} is there")))?;
    let mut told = detail.clone();
    told.body = None;
    told.summary.body_removed = false;
    for send in &mut told.sends {
        send.body = None;
        if let Some(outcome) = &mut send.outcome {
            outcome.3 = None;
        }
    }
    Ok((format!("{told:?}"), detail))
}

/// The lines of all messages, as they are told with their bodies.
async fn lines(bench: &Bench) -> Result<Vec<String>, Fault> {
    let filter = MessageFilter {
        limit: 1_000,
        ..MessageFilter::default()
    };
    let mut lines = bench.store.messages(&filter).await?.items;
    lines.iter_mut().for_each(|line| line.body_removed = false);
    Ok(lines.iter().map(|line| format!("{line:?}")).collect())
}

/// Whether a message's bodies are gone, wherever they are asked for; half gone is a fault.
async fn is_bare(bench: &Bench, id: MessageId, number: usize) -> Result<bool, Fault> {
    let (_, detail) = outline(bench, id).await?;
    let bare = detail.body.is_none();
    same("its line tells", detail.summary.body_removed, bare)?;
    let works = bench.store.messages_for_work(&[id]).await?;
    same("for a router", works[0].is_none(), bare)?;
    let by_key = MessageFilter {
        key: Key::new("mrn", &format!("M{number}")),
        limit: 10,
        ..MessageFilter::default()
    };
    let found = listed(bench, by_key).await?;
    same("found by its key", found, if bare { vec![] } else { vec![id] })?;
    for send in &detail.sends {
        let carried = bench.store.send_bodies(&[send.id]).await?.remove(0);
        let told = detail.body_of(send);
        same(
            "what the send carries",
            carried.as_ref().map(Body::bytes),
            told.map(Body::bytes),
        )?;
        holds(
            "an unchanged send goes bare with its message",
            send.changed || told.is_none() == bare,
        )?;
    }
    Ok(bare)
}

async fn bodies_go(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let (mut done, mut waiting) = (Vec::new(), Vec::new());
    // Two that were done, and are not any more once others have filled the segments behind them.
    for number in 0..2 {
        waiting.push(life(&bench, bench.inbounds[0], 500 + number).await?);
    }
    for number in 0..32 {
        done.push(life(&bench, bench.inbounds[number % 2], number).await?);
        if number == 13 {
            send(&bench, waiting[0], 1).await?; // again, and nobody wrote yet that it is open
            dies(&bench, waiting[1]).await?;
        }
        if number % 4 == 3 {
            waiting.push(stuck(&bench, number / 4).await?);
        }
    }
    let full = sealed(&bench).await?;
    let (still, told, census) = (
        picture(&bench, &waiting).await?,
        lines(&bench).await?,
        bench.store.census().await?,
    );
    let mut outlines = Vec::new();
    for id in &done {
        outlines.push(outline(&bench, *id).await?.0);
    }
    let first = retire(&bench, &bodies_only()).await?;
    if full > 4 {
        let removed: u64 = first.iter().map(|one| one.findings.bodies_expired).sum();
        let shrunk = first.iter().any(|one| matches!(one.done, Done::Shrunk(_)));
        holds("bodies went", removed > 0 && shrunk)?;
    }
    holds(
        "no message may go",
        first
            .iter()
            .all(|one| one.findings.expired == 0 && !matches!(one.done, Done::Dropped(_))),
    )?;
    let unharmed = async |bench: &Bench| {
        same(
            "what waits is whole",
            picture(bench, &waiting).await?,
            still.clone(),
        )?;
        same("the lines", lines(bench).await?, told.clone())?;
        same("the counts", bench.store.census().await?, census.clone())?;
        for (id, outline_before) in done.iter().zip(&outlines) {
            same("all but bodies", &outline(bench, *id).await?.0, outline_before)?;
        }
        counts_agree(bench).await
    };
    unharmed(&bench).await?;
    let bench = bench.reopen().await?;
    unharmed(&bench).await?;
    let mut bare = 0;
    for (number, id) in done.iter().enumerate() {
        bare += usize::from(is_bare(&bench, *id, number).await?);
    }
    holds("many are bare", full <= 4 || bare > done.len() / 2)?;
    everything_ends(&bench).await?;
    let full = sealed(&bench).await?;
    retire(&bench, &bodies_only()).await?;
    let segments = bench.store.segments().await?;
    holds(
        "no body is left in a full segment, and that is noted",
        segments.iter().take(full).all(|segment| segment.bare),
    )?;
    let again = retire(&bench, &bodies_only()).await?;
    holds(
        "a segment is not made anew twice for the same bodies",
        again
            .iter()
            .take(full)
            .all(|one| one.findings.bodies_expired == 0 && one.done == Done::Kept),
    )?;
    same("nothing is open", bench.open_ids(100).await?, vec![])?;
    let ended = retire(&bench, &everything()).await?;
    holds(
        "and then the rest goes",
        ended.iter().all(|one| matches!(one.done, Done::Dropped(_))),
    )?;
    counts_agree(&bench).await
}

/// All that waits ends, and dead letters are dealt with.
async fn everything_ends(bench: &Bench) -> Outcome {
    let open = bench
        .store
        .open_sends(bench.outbounds[0], SendId(RowId::ZERO), SendId(RowId::MAX), 1_000)
        .await?;
    for send in open {
        bench.deliver(send.message, send.id).await?;
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
    // What ended them lies in full segments.
    for number in 0..10 {
        life(bench, bench.inbounds[0], 2_000 + number).await?;
    }
    Ok(())
}

async fn own_time(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [short, long] = bench.inbounds;
    let mut kept = Vec::new();
    for number in 0..40 {
        let inbound = if number % 5 == 0 { long } else { short };
        let id = life(&bench, inbound, number).await?;
        if inbound == long {
            kept.push(id);
        }
    }
    let before = picture(&bench, &kept).await?;
    let mut rules = bodies_only();
    // They were all received at 1,000,000.
    rules.bodies.of = HashMap::from([(long, Timestamp(1_000_000))]);
    let retired = retire(&bench, &rules).await?;
    same(
        "those of the long one keep theirs",
        picture(&bench, &kept).await?,
        before,
    )?;
    let bare: u64 = retired
        .iter()
        .filter(|one| one.done != Done::Kept)
        .map(|one| one.findings.bodies_expired)
        .sum();
    holds("others went", retired.len() <= 3 || bare > 0)?;
    same("all are listed", lines(&bench).await?.len(), 40)?;

    // Messages of the one go, and with the segments that are made anew for it bodies of the other.
    let mut outlines = Vec::new();
    for id in &kept {
        outlines.push(outline(&bench, *id).await?.0);
    }
    let rules = RetentionRules {
        messages: Horizon {
            default: Timestamp(i64::MAX),
            of: HashMap::from([(long, Timestamp(i64::MIN))]),
        },
        bodies: Horizon::all(Timestamp(i64::MAX)),
    };
    let full = sealed(&bench).await?;
    retire(&bench, &rules).await?;
    for (id, before) in kept.iter().zip(&outlines) {
        same("it is told as before", &outline(&bench, *id).await?.0, before)?;
    }
    let segments = bench.store.segments().await?;
    holds(
        "no body is left in a full segment",
        full <= 3 || segments.iter().rev().skip(1).all(|segment| segment.bare),
    )?;
    counts_agree(&bench).await
}

async fn at_once(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut ids = Vec::new();
    for number in 0..40 {
        let Entry::Message(mut message) = build::message(bench.inbounds[0], b"PID|1||4711") else {
            return holds("a message is built", false);
        };
        message.received_at = Timestamp(number);
        let id = MessageId(bench.commit(vec![Entry::Message(message)]).await?.rows[0]);
        bench.route(id, &bench.handlers[..1]).await?;
        let sent = send(&bench, id, 1).await?;
        bench.deliver(id, sent).await?;
        bench.dispose(id, Disposition::Processed).await?;
        ids.push(id);
    }
    let full = sealed(&bench).await?;
    let mut times: HashMap<u32, u32> = HashMap::new();
    let mut bare = Vec::new();
    for day in (0..=40).step_by(5) {
        let mut rules = bodies_only();
        rules.bodies = Horizon::all(Timestamp(day));
        for segment in bench.store.segments().await? {
            let retired = bench
                .store
                .retire_segment(bench.term, segment.number, &rules)
                .await?;
            if retired.is_some_and(|retired| retired.done != Done::Kept) {
                *times.entry(segment.number).or_default() += 1;
            }
        }
        let details = bench.store.messages_for_work(&ids).await?;
        let gone = details.iter().filter(|work| work.is_none()).count();
        holds("nothing goes before its time", gone <= usize::try_from(day)?)?;
        bare.push(gone);
    }
    holds("not all at the end", full <= 4 || bare[bare.len() / 2] > 0)?;
    let segments = bench.store.segments().await?;
    holds(
        "full ones are bare",
        segments.iter().take(full).all(|segment| segment.bare),
    )?;
    same(
        "segments that were made anew more than once",
        times.values().filter(|times| **times > 1).count(),
        0,
    )?;
    counts_agree(&bench).await
}

async fn fenced(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut done = Vec::new();
    for number in 0..12 {
        done.push(life(&bench, bench.inbounds[0], number).await?);
    }
    sealed(&bench).await?;
    let before = picture(&bench, &done).await?;
    bench.store.acquire("node-b").await?;
    for segment in bench.store.segments().await? {
        let refused = bench
            .store
            .retire_segment(bench.term, segment.number, &bodies_only())
            .await;
        holds("refused", matches!(refused, Err(crate::Error::Refused(_))))?;
    }
    same("nothing went", picture(&bench, &done).await?, before)
}
