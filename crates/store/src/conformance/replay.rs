//! Replays open again what was closed, at the stage they name and nowhere else.

use model::{Disposition, MessageId, RowId, SendId};

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::rows::OutcomeResult;

pub(super) const CASES: &[Case] = &[
    case!(
        "a replay from ingress makes a finished message wait for its router again",
        from_ingress
    ),
    case!("a replay of one handler opens that pair only", from_routed),
    case!("a replay of a send opens the new send only", from_outbound),
];

/// Pushes the message into an older segment, where a backend has segments.
async fn bury(bench: &Bench) -> Outcome {
    for _ in 0..30 {
        bench.whole_life().await?;
    }
    Ok(())
}

async fn from_ingress(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let id = bench.whole_life().await?;
    bury(&bench).await?;
    let bench = bench.reopen().await?;
    bench.dispose(id, Disposition::Received).await?;
    let [inbound, _] = bench.inbounds;
    let max = MessageId(RowId::MAX);
    same(
        "the ingress lane",
        bench
            .store
            .open_ingress(inbound, MessageId::default(), max, 10)
            .await?,
        vec![id],
    )?;
    same(
        "the other lane",
        bench
            .store
            .open_ingress(bench.inbounds[1], MessageId::default(), max, 10)
            .await?,
        vec![],
    )?;
    let open = bench.store.open_messages(MessageId::default(), 10).await?;
    same(
        "open messages",
        open.iter().map(|m| (m.id, m.routed.is_none())).collect(),
        vec![(id, true)],
    )?;

    let [handler, _] = bench.handlers;
    let row = bench.route(id, &[handler]).await?;
    same(
        "the ingress lane",
        bench
            .store
            .open_ingress(inbound, MessageId::default(), max, 10)
            .await?,
        vec![],
    )?;
    let lane = bench
        .store
        .open_routed(handler, RowId::ZERO, RowId::MAX, 10)
        .await?;
    same(
        "the routed lane",
        lane.iter().map(|open| (open.row, open.message)).collect(),
        vec![(row, id)],
    )?;
    let send = bench.send(id, bench.outbounds[0]).await?;
    holds(
        "handled",
        bench
            .store
            .open_routed(handler, RowId::ZERO, RowId::MAX, 10)
            .await?
            .is_empty(),
    )?;
    bench.deliver(id, send).await?;
    bench.dispose(id, Disposition::Processed).await?;
    same("open messages at the end", bench.open_ids(10).await?, vec![])?;
    let detail = bench.store.message(id).await?;
    same(
        "its sends, old and new",
        detail.map(|detail| detail.sends.len()),
        Some(2),
    )
}

async fn from_routed(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [one, two] = bench.handlers;
    let id = bench.arrive().await?;
    bench.route(id, &[one, two]).await?;
    bench
        .commit(vec![build::handled(id, one), build::handled(id, two)])
        .await?;
    let letter = bench.commit(vec![build::dead_letter(id, two, None)]).await?.rows[0];
    bench.dispose(id, Disposition::Error).await?;
    bury(&bench).await?;
    let bench = bench.reopen().await?;
    let replay = bench
        .commit(vec![
            build::resolved(letter),
            build::routed(id, &[two]),
            build::disposition(id, Disposition::Routed),
        ])
        .await?;
    let row = replay.rows[1];
    holds("the other handler's lane is empty", {
        bench
            .store
            .open_routed(one, RowId::ZERO, RowId::MAX, 10)
            .await?
            .is_empty()
    })?;
    let lane = bench.store.open_routed(two, RowId::ZERO, RowId::MAX, 10).await?;
    same(
        "the lane",
        lane.iter().map(|open| (open.row, open.message)).collect(),
        vec![(row, id)],
    )?;
    let open = bench.store.open_messages(MessageId::default(), 10).await?;
    let open: Vec<_> = open
        .into_iter()
        .map(|m| (m.id, m.routed, m.handled, m.dead))
        .collect();
    same(
        "what recovery finds",
        open,
        vec![(id, Some((row, vec![two])), vec![], false)],
    )?;
    bench.commit(vec![build::handled(id, two)]).await?;
    holds(
        "answered",
        bench
            .store
            .open_routed(two, RowId::ZERO, RowId::MAX, 10)
            .await?
            .is_empty(),
    )
}

async fn from_outbound(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let id = bench.arrive().await?;
    bench.route(id, &bench.handlers[..1]).await?;
    let dead = bench.send(id, bench.outbounds[0]).await?;
    let letter = bench
        .commit(vec![
            build::outcome(id, dead, OutcomeResult::Dead),
            build::dead_letter(id, bench.outbounds[0], Some(dead)),
            build::disposition(id, Disposition::Error),
        ])
        .await?
        .rows[1];
    bury(&bench).await?;
    let bench = bench.reopen().await?;
    let replay = bench
        .commit(vec![
            build::resolved(letter),
            build::send(id, bench.handlers[0], bench.outbounds[1], None),
            build::disposition(id, Disposition::Routed),
        ])
        .await?;
    let again = SendId(replay.rows[1]);
    let max = SendId(RowId::MAX);
    holds("the old lane is empty", {
        bench
            .store
            .open_sends(bench.outbounds[0], SendId::default(), max, 10)
            .await?
            .is_empty()
    })?;
    let lane = bench
        .store
        .open_sends(bench.outbounds[1], SendId::default(), max, 10)
        .await?;
    same(
        "the new lane",
        lane.iter().map(|send| send.id).collect(),
        vec![again],
    )?;
    let open = bench.store.open_messages(MessageId::default(), 10).await?;
    let sends: Vec<_> = open
        .iter()
        .flat_map(|m| &m.sends)
        .map(|send| (send.id, send.outcome))
        .collect();
    same(
        "sends that recovery finds",
        sends,
        vec![(dead, Some(OutcomeResult::Dead)), (again, None)],
    )
}
