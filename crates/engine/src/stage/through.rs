//! Router and handlers in one handoff. When the handlers that a batch was routed to stand idle and are quick, the
//! ingress lane runs them as well, and what its router decided and what they made of it become durable together.
//! Nothing waits in the routed stage then; a commit, and a wait for it, are saved.
//!
//! Each handler's turn is held from before it runs until its sends are handed on, and nothing may wait in its
//! lane before that: what it does stays in the lane's order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use model::NameId;
use store::Begin;
use store::rows::Unit;
use tokio::sync::MutexGuard;

use super::{handle, route};
use crate::core::{Core, HandlerLane, InboundLane, Stopping};
use crate::stages::Step;

/// A handler that nobody else runs meanwhile.
struct Claim<'a> {
    lane: &'a Arc<HandlerLane>,
    _turn: MutexGuard<'a, ()>,
}

/// The handlers of one batch, all of them.
pub(super) struct Claims<'a>(HashMap<NameId, Claim<'a>>);

/// The turns of all handlers that these answers name; `None` if one of them is busy, has something waiting, or is
/// not known to be quick.
pub(super) fn claim<'a>(core: &'a Core, answers: &[route::Answer]) -> Option<Claims<'a>> {
    let mut claims = HashMap::new();
    for handler in answers.iter().flat_map(route::Answer::handlers) {
        if claims.contains_key(handler) {
            continue;
        }
        let lane = core.handlers.get(handler).filter(|lane| lane.pace.is_quick())?;
        let turn = lane.turn.try_lock().ok()?;
        if !lane.lane.with(|window| window.is_empty()) {
            return None;
        }
        claims.insert(*handler, Claim { lane, _turn: turn });
    }
    Some(Claims(claims))
}

/// One message's way through its router and its handlers.
struct Through<'a> {
    routed: route::Answer,
    /// Entries of its unit that are the router's.
    own: usize,
    /// What each handler made of it, and how many entries that is.
    handled: Vec<(&'a Arc<HandlerLane>, handle::Answer, usize)>,
}

/// Runs the handlers, writes everything, and hands the sends to their lanes.
pub(super) async fn finish(
    core: &Arc<Core>,
    inbound: &InboundLane,
    answers: Vec<route::Answer>,
    claims: Claims<'_>,
    begun: Instant,
) -> Result<(), Stopping> {
    let mut made = HashMap::new();
    for (id, claim) in &claims.0 {
        let named = |answer: &route::Answer| answer.handlers().iter().filter(|named| *named == id).count();
        let work = answers
            .iter()
            .flat_map(|answer| (0..named(answer)).map(|_| (answer.id, answer.work.clone())))
            .collect();
        made.insert(*id, handle::transform(core, claim.lane, work).await.into_iter());
    }
    let mut units = Vec::with_capacity(answers.len());
    let mut calls = 0;
    let mut way = Vec::with_capacity(answers.len());
    for routed in answers {
        let mut entries = routed.entries(inbound.id);
        let own = entries.len();
        let mut handled = Vec::with_capacity(routed.handlers().len());
        for id in routed.handlers() {
            let answer = made.get_mut(id).and_then(Iterator::next);
            let (Some(claim), Some(answer)) = (claims.0.get(id), answer) else {
                continue; // cannot be: each of them was claimed and ran
            };
            let more = answer.entries(*id);
            handled.push((claim.lane, answer, more.len()));
            entries.extend(more);
        }
        calls += handled.len();
        units.push(Unit { entries });
        way.push(Through { routed, own, handled });
    }
    core.stages.skipped(Step::RouteCommit, way.len());
    core.stages.skipped(Step::TransformWait, calls);
    let begun = core.stages.took(Step::Transform, begun, calls);
    let receipts = core.write_by(Begin::Later, units).await?;
    let durable = core.stages.took(Step::TransformCommit, begun, calls);
    let mut outgoing = handle::Outgoing::new(durable);
    for (through, receipt) in way.into_iter().zip(receipts) {
        match receipt {
            Ok(receipt) => through.committed(core, inbound, &receipt.rows, &mut outgoing),
            // Whose values it was shows when each step stands alone.
            Err(_) => route::hand_over(core, inbound, vec![through.routed]).await?,
        }
    }
    outgoing.push(core);
    Ok(())
}

impl Through<'_> {
    /// Books what is durable; `rows` are the numbers of the unit's entries.
    fn committed(
        self,
        core: &Core,
        inbound: &InboundLane,
        rows: &[model::RowId],
        outgoing: &mut handle::Outgoing,
    ) {
        route::booked(core, inbound, &self.routed);
        let mut rest = rows.get(self.own..).unwrap_or_default();
        for (lane, answer, count) in self.handled {
            let (rows, after) = rest.split_at(count.min(rest.len()));
            handle::committed(core, lane, answer, rows, outgoing);
            rest = after;
        }
    }
}
