//! Rows whose connection or handler left the configuration: held, shown, and given up only by a person.

use model::{MessageId, SendId, Stage};
use store::NameKind;
use store::rows::{Entry, EventKind, NewDeadLetter, NewOutcome, OutcomeResult};

use crate::counters::Counts;
use crate::finaliser::Happened;
use crate::node::Node;
use crate::operator::{CommandError, event};
use crate::reads::ConnectionView;

impl Node {
    /// What holds rows although it is not in the configuration any more.
    pub(crate) fn orphan_views(&self) -> Vec<ConnectionView> {
        let orphans = self.core.orphans.lock();
        let held = orphans.iter().filter(|(_, rows)| **rows > 0);
        held.map(|(id, rows)| ConnectionView {
            name: self.core.names.name(*id).to_string(),
            role: match self.core.names.kind(*id) {
                Some(NameKind::Inbound) => "inbound",
                Some(NameKind::Handler) => "handler",
                _ => "outbound",
            },
            connector: String::new(),
            state: "held",
            reason: Some(
                "it left the configuration: bring it back, or skip its sends and replay them elsewhere"
                    .to_owned(),
            ),
            address: None,
            peers: 0,
            queued: *rows,
            in_flight: 0,
            counts: Counts::default(),
        })
        .collect()
    }

    /// Gives up a send whose outbound left the configuration; `false` when it is no such send.
    pub(crate) async fn skip_orphan(
        &self,
        send: SendId,
        message: MessageId,
        actor: &str,
    ) -> Result<bool, CommandError> {
        // Of two people at once, the second finds the outcome that the first wrote.
        let _alone = self.core.orphan_skips.lock().await;
        let Some(detail) = self.core.store.message(message).await? else {
            return Ok(false);
        };
        let held = detail
            .sends
            .iter()
            .find(|known| known.id == send && known.outcome.is_none());
        let Some(held) = held.filter(|held| !self.core.outbounds.contains_key(&held.destination)) else {
            return Ok(false);
        };
        let dead = NewDeadLetter {
            message,
            stage: Stage::Outbound,
            at: held.destination,
            send: Some(send),
            reason: format!("skipped by {actor}; its outbound is not in the configuration").into(),
        };
        let outcome = NewOutcome {
            send,
            message,
            result: OutcomeResult::Dead,
            attempts: 0,
            reply: None,
        };
        let trace = event(message, Some(send), EventKind::Purged, "skipped", actor);
        self.write(vec![Entry::Outcome(outcome), Entry::DeadLetter(dead), trace])
            .await?;
        if let Some(rows) = self.core.orphans.lock().get_mut(&held.destination) {
            *rows = rows.saturating_sub(1);
        }
        self.core.finaliser.note(message, Happened::SendFailed);
        Ok(true)
    }
}
