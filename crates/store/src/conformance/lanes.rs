//! Pages of lanes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{Disposition, MessageId, NameId, RowId, SendId};

use super::build::{self, Bench};
use super::{Case, Fault, Fixture, Outcome, case, same};
use crate::rows::{EventKind, OutcomeResult};

pub(super) const CASES: &[Case] = &[
    case!(
        "an ingress lane holds its inbound's messages that are not routed, within the bounds asked",
        ingress
    ),
    case!(
        "a routed lane holds the pairs that its handler has not answered",
        routed
    ),
    case!(
        "an outbound lane holds its destination's sends without an outcome",
        outbound
    ),
    case!(
        "lanes read in pages while others write miss nothing",
        while_writing
    ),
    case!(
        "a lane's page tells what the lane needs: priority, key, failed attempts",
        send_details
    ),
];

async fn ingress_lane(bench: &Bench, inbound: NameId, upto: MessageId) -> Result<Vec<MessageId>, Fault> {
    let mut found: Vec<MessageId> = Vec::new();
    loop {
        let after = found.last().copied().unwrap_or_default();
        let page = bench.store.open_ingress(inbound, after, upto, 3).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

async fn ingress(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut waiting = [Vec::new(), Vec::new()];
    for number in 0..40 {
        let lane = number % 2;
        let id = bench.arrive_at(bench.inbounds[lane]).await?;
        match number % 5 {
            0 => drop(bench.route(id, &bench.handlers).await?),
            1 => bench.dispose(id, Disposition::Error).await?,
            _ => waiting[lane].push(id),
        }
    }
    for (inbound, expected) in bench.inbounds.into_iter().zip(&waiting) {
        same(
            "the lane",
            &ingress_lane(&bench, inbound, MessageId(RowId::MAX)).await?,
            expected,
        )?;
        let upto = expected[expected.len() / 2];
        let some = ingress_lane(&bench, inbound, upto).await?;
        same("the lane up to a row", some.last(), Some(&upto))?;
    }
    let bench = bench.reopen().await?;
    same(
        "the lane later",
        &ingress_lane(&bench, bench.inbounds[0], MessageId(RowId::MAX)).await?,
        &waiting[0],
    )
}

async fn routed_lane(bench: &Bench, handler: NameId) -> Result<Vec<(RowId, MessageId)>, Fault> {
    let mut found: Vec<(RowId, MessageId)> = Vec::new();
    loop {
        let after = found.last().map_or(RowId::ZERO, |(row, _)| *row);
        let page = bench.store.open_routed(handler, after, RowId::MAX, 3).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page.into_iter().map(|open| (open.row, open.message)));
    }
}

async fn routed(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [one, two] = bench.handlers;
    let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let id = bench.arrive().await?;
        let handlers = if number % 2 == 0 {
            vec![one, two]
        } else {
            vec![two]
        };
        let row = bench.route(id, &handlers).await?;
        let mut open: BTreeSet<NameId> = handlers.into_iter().collect();
        match number % 6 {
            0 => {
                bench.commit(vec![build::handled(id, one)]).await?;
                open.remove(&one);
            }
            1 => {
                bench
                    .commit(vec![build::send(id, two, bench.outbounds[0], None)])
                    .await?;
                open.remove(&two);
            }
            2 => {
                bench.dispose(id, Disposition::Error).await?;
                open.clear();
            }
            _ => {}
        }
        of_one.extend(open.contains(&one).then_some((row, id)));
        of_two.extend(open.contains(&two).then_some((row, id)));
    }
    same(
        "the first handler's lane",
        &routed_lane(&bench, one).await?,
        &of_one,
    )?;
    same(
        "the second handler's lane",
        &routed_lane(&bench, two).await?,
        &of_two,
    )?;
    let upto = of_two[2].0;
    let page = bench.store.open_routed(two, of_two[0].0, upto, 100).await?;
    let page: Vec<_> = page.into_iter().map(|open| (open.row, open.message)).collect();
    same("the lane within bounds", page, of_two[1..3].to_vec())?;
    let bench = bench.reopen().await?;
    same("the lane later", &routed_lane(&bench, two).await?, &of_two)
}

async fn outbound_lane(bench: &Bench, destination: NameId) -> Result<Vec<SendId>, Fault> {
    let mut found: Vec<SendId> = Vec::new();
    loop {
        let after = found.last().copied().unwrap_or_default();
        let page = bench
            .store
            .open_sends(destination, after, SendId(RowId::MAX), 3)
            .await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page.into_iter().map(|send| send.id));
    }
}

async fn outbound(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut waiting = [Vec::new(), Vec::new()];
    let mut late = Vec::new();
    for number in 0..30 {
        let id = bench.arrive().await?;
        for lane in [0, 1] {
            let send = bench.send(id, bench.outbounds[lane]).await?;
            match (number + lane) % 4 {
                0 => bench.deliver(id, send).await?,
                1 => late.push((id, send)),
                _ => waiting[lane].push(send),
            }
        }
    }
    // Their outcomes lie far behind them.
    for (id, send) in late {
        bench
            .commit(vec![build::outcome(id, send, OutcomeResult::Dead)])
            .await?;
    }
    for (destination, expected) in bench.outbounds.into_iter().zip(&waiting) {
        same("the lane", &outbound_lane(&bench, destination).await?, expected)?;
    }
    let (after, upto) = (waiting[0][1], waiting[0][4]);
    let page = bench
        .store
        .open_sends(bench.outbounds[0], after, upto, 100)
        .await?;
    same(
        "the lane within bounds",
        page.iter().map(|send| send.id).collect(),
        waiting[0][2..5].to_vec(),
    )?;
    let bench = bench.reopen().await?;
    same(
        "the lane later",
        &outbound_lane(&bench, bench.outbounds[1]).await?,
        &waiting[1],
    )
}

async fn while_writing(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let message = bench.arrive().await?;
    let writing = async {
        let mut written = Vec::new();
        for _ in 0..150 {
            written.push(bench.send(message, bench.outbounds[0]).await?);
        }
        Ok::<_, Fault>(written)
    };
    let done = AtomicBool::new(false);
    let reading = async {
        let mut read: Vec<SendId> = Vec::new();
        loop {
            // Whatever was written before `last` was read is on the page.
            let last = done.load(Ordering::Acquire);
            let after = read.last().copied().unwrap_or_default();
            let page = bench
                .store
                .open_sends(bench.outbounds[0], after, SendId(RowId::MAX), 5)
                .await?;
            if page.is_empty() && last {
                return Ok::<_, Fault>(read);
            }
            read.extend(page.into_iter().map(|send| send.id));
        }
    };
    let writing = async {
        let written = writing.await;
        done.store(true, Ordering::Release);
        written
    };
    let (written, read) = futures::future::join(writing, reading).await;
    same("sends read while they were written", read?, written?)
}

async fn send_details(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let id = bench.arrive().await?;
    let entry = crate::Entry::Send(crate::rows::NewSend {
        message: id,
        handler: bench.handlers[0],
        destination: bench.outbounds[0],
        priority: -7,
        partition: Some("12345^^^MR".into()),
        body: None,
    });
    let send = SendId(bench.commit(vec![entry]).await?.rows[0]);
    for kind in [EventKind::AttemptFailed, EventKind::Log, EventKind::AttemptFailed] {
        bench.commit(vec![build::event(id, Some(send), kind)]).await?;
    }
    let page = bench
        .store
        .open_sends(bench.outbounds[0], SendId::default(), SendId(RowId::MAX), 10)
        .await?;
    let page: Vec<_> = page
        .into_iter()
        .map(|s| (s.id, s.message, s.priority, s.partition, s.failed_attempts))
        .collect();
    same(
        "the page",
        page,
        vec![(send, id, -7, Some("12345^^^MR".into()), 2)],
    )
}
