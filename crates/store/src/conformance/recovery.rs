//! Open messages: what a leader finds after a start.

use model::{Disposition, MessageId, SendId};

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::views::OpenMessage;

pub(super) const CASES: &[Case] = &[
    case!(
        "an open message is found with everything that is known of it",
        everything
    ),
    case!(
        "a disposed message is not open, one that is on its way is",
        disposed
    ),
    case!(
        "pages of open messages, of any size, miss none and repeat none",
        paging
    ),
    case!(
        "open messages are found after the store is opened again, however old",
        reopened
    ),
];

async fn only(bench: &Bench, id: MessageId) -> Result<OpenMessage, super::Fault> {
    let found = bench
        .store
        .open_messages(MessageId::from_raw(id.raw() - 1), 1)
        .await?;
    found
        .into_iter()
        .find(|message| message.id == id)
        .ok_or_else(|| super::Fault("it is not open".to_owned()))
}

async fn everything(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let id = bench.arrive_at(bench.inbounds[1]).await?;
    let fresh = only(&bench, id).await?;
    same("inbound", fresh.inbound, bench.inbounds[1])?;
    same("received at", fresh.received_at.0, 1_000_000)?;
    holds(
        "not routed",
        fresh.routed.is_none() && fresh.handled.is_empty() && fresh.sends.is_empty() && !fresh.dead,
    )?;

    let row = bench.route(id, &bench.handlers).await?;
    bench.commit(vec![build::handled(id, bench.handlers[1])]).await?;
    let sends = bench
        .commit(vec![
            build::send(id, bench.handlers[0], bench.outbounds[0], None),
            build::send(id, bench.handlers[0], bench.outbounds[1], None),
        ])
        .await?;
    let [first, second] = [SendId(sends.rows[0]), SendId(sends.rows[1])];
    bench
        .commit(vec![build::event(id, Some(first), EventKind::AttemptFailed)])
        .await?;
    bench
        .commit(vec![build::event(id, Some(first), EventKind::AttemptFailed)])
        .await?;
    bench
        .commit(vec![build::event(id, Some(first), EventKind::Log)])
        .await?;
    let letter = bench
        .commit(vec![
            build::outcome(id, second, OutcomeResult::Dead),
            build::dead_letter(id, bench.outbounds[1], Some(second)),
        ])
        .await?
        .rows[1];
    let known = only(&bench, id).await?;
    same("routed", known.routed, Some((row, bench.handlers.to_vec())))?;
    same(
        "handled",
        known.handled,
        vec![(bench.handlers[1], HandledResult::Filtered)],
    )?;
    let sends: Vec<_> = known
        .sends
        .iter()
        .map(|s| (s.id, s.destination, s.failed_attempts, s.outcome))
        .collect();
    let expected = vec![
        (first, bench.outbounds[0], 2, None),
        (second, bench.outbounds[1], 0, Some(OutcomeResult::Dead)),
    ];
    same("sends", sends, expected)?;
    holds("a dead letter of it is open", known.dead)?;
    bench.commit(vec![build::resolved(letter)]).await?;
    holds("a resolved dead letter is not", !only(&bench, id).await?.dead)
}

async fn disposed(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut open = Vec::new();
    for disposition in Disposition::ALL {
        let id = bench.arrive().await?;
        bench.dispose(id, disposition).await?;
        if !disposition.is_final() {
            open.push(id);
        }
    }
    open.push(bench.arrive().await?);
    same("open messages", bench.open_ids(10).await?, open)
}

/// Fifty messages of which every third stays open.
async fn mixed(bench: &Bench) -> Result<Vec<MessageId>, super::Fault> {
    let mut open = Vec::new();
    for number in 0..50 {
        if number % 3 == 0 {
            open.push(bench.arrive().await?);
        } else {
            bench.whole_life().await?;
        }
    }
    Ok(open)
}

async fn paging(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let open = mixed(&bench).await?;
    for limit in [1, 2, 7, 1_000] {
        same("open messages", bench.open_ids(limit).await?, open.clone())?;
    }
    Ok(())
}

async fn reopened(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let open = mixed(&bench).await?;
    let bench = bench.reopen().await?;
    same("open messages", bench.open_ids(9).await?, open.clone())?;
    for id in &open {
        bench.route(*id, &[]).await?;
        bench.dispose(*id, Disposition::Unrouted).await?;
    }
    let bench = bench.reopen().await?;
    same("open messages at the end", bench.open_ids(9).await?, Vec::new())
}
