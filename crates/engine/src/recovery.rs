//! What a start finds in the store: open messages for the finaliser, open rows for each lane, and what
//! operators want of each connection.

use std::collections::HashMap;

use model::MessageId;
use store::Desired;

use crate::core::Core;
use crate::finaliser::Track;

/// One page of recovery.
const RECOVERY_PAGE: usize = 5000;

/// Open rows of one lane, found at start.
#[derive(Default, Clone, Copy)]
struct Behind {
    upto: i64,
    count: u64,
}

impl Behind {
    fn note(&mut self, number: i64) {
        self.upto = self.upto.max(number);
        self.count += 1;
    }
}

/// Finds what is open in the store, tells the finaliser, and lets each lane read its rows page by page.
/// Returns how many messages are open.
pub(crate) async fn recover(core: &Core) -> Result<u64, store::Error> {
    let (mut inbounds, mut handlers, mut outbounds) =
        <(HashMap<_, Behind>, HashMap<_, Behind>, HashMap<_, Behind>)>::default();
    let mut after = MessageId::default();
    let mut total = 0;
    loop {
        let page = core.store.open_messages(after, RECOVERY_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        total += page.len() as u64;
        for open in page {
            let mut track = Track {
                failed: open.dead,
                ..Track::default()
            };
            match &open.routed {
                None => {
                    track.steps = 1;
                    inbounds.entry(open.inbound).or_default().note(open.id.raw());
                }
                Some((row, named)) => {
                    track.unrouted = named.is_empty();
                    for handler in named.iter().filter(|handler| open.is_unhandled(**handler, *row)) {
                        track.steps += 1;
                        handlers.entry(*handler).or_default().note(row.0);
                    }
                }
            }
            for (_, result) in &open.handled {
                track.reached |= *result == store::rows::HandledResult::PassedThrough;
            }
            for send in &open.sends {
                match send.outcome {
                    None => {
                        track.sends += 1;
                        outbounds.entry(send.destination).or_default().note(send.id.raw());
                    }
                    Some(store::rows::OutcomeResult::Delivered) => track.reached = true,
                    Some(_) => {}
                }
            }
            core.finaliser.open(open.id, track);
        }
    }
    for (id, behind) in inbounds {
        match core.inbounds.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, behind) in handlers {
        match core.handlers.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, behind) in outbounds {
        match core.outbounds.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, rows) in core.orphans.lock().iter() {
        let name = core.names.name(*id);
        tracing::warn!(name = %name, rows, "rows wait for a connection or function that left the configuration; they are held");
    }
    Ok(total)
}

/// Holds again what operators held.
pub(crate) async fn apply_desired(core: &Core) -> Result<(), store::Error> {
    for (id, desired) in core.store.desired().await? {
        let held = desired == Desired::Held;
        let control = (core.inbounds.get(&id).map(|lane| &lane.control))
            .or_else(|| core.outbounds.get(&id).map(|lane| &lane.control));
        if let Some(control) = control {
            control.held.store(held, std::sync::atomic::Ordering::Relaxed);
        }
    }
    Ok(())
}
