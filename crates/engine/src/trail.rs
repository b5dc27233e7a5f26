//! The event trail of a message, told from its stage rows and its own events.

use model::{RowId, Timestamp};
use store::rows::{EventKind, HandledResult};
use store::views::MessageDetail;

use crate::operator::TO_DESTINATION;
use crate::reading::Reading;
use crate::reads::{TrailEntry, text_of};

impl Reading<'_> {
    /// Everything that happened to a message, in order.
    pub(crate) fn trail(&self, detail: &MessageDetail) -> Vec<TrailEntry> {
        let name = |id| self.names.name(id);
        let mut entries: Vec<(Timestamp, u8, RowId, TrailEntry)> = Vec::new();
        let mut add =
            |at: Timestamp, rank: u8, row: RowId, what: &str, detail: String, by: Option<String>| {
                entries.push((
                    at,
                    rank,
                    row,
                    TrailEntry {
                        at,
                        what: what.to_owned(),
                        detail,
                        by,
                    },
                ));
            };
        let summary = &detail.summary;
        let source = summary.source.as_deref().unwrap_or("unknown source");
        let text = format!(
            "{} bytes by {} from {source}",
            summary.size,
            name(summary.inbound)
        );
        add(summary.received_at, 0, summary.id.0, "received", text, None);
        for (row, at, handlers) in &detail.routed {
            let handlers: Vec<_> = handlers.iter().map(|id| name(*id).to_string()).collect();
            let text = if handlers.is_empty() {
                "to no handler".to_owned()
            } else {
                format!("to {}", handlers.join(", "))
            };
            add(*at, 2, *row, "routed", text, None);
        }
        for (handler, at, result) in &detail.handled {
            let what = match result {
                HandledResult::Filtered => "filtered",
                HandledResult::Failed => "failed",
                HandledResult::PassedThrough => "passed through",
            };
            add(
                *at,
                3,
                RowId::ZERO,
                what,
                format!("by handler {}", name(*handler)),
                None,
            );
        }
        for send in &detail.sends {
            let changed = if send.changed { "changed" } else { "unchanged" };
            let text = format!(
                "by {} for {}, {changed}",
                name(send.handler),
                name(send.destination)
            );
            // A replay writes its event and its copies of sends in one go, the event first.
            let copied = detail.events.iter().any(|event| {
                event.kind == EventKind::Replayed
                    && &*event.detail == TO_DESTINATION
                    && event.at == send.at
                    && event.row < send.id.0
            });
            if copied {
                add(send.at, 5, send.id.0, "put back", text, None);
            } else {
                add(send.at, 3, send.id.0, "transformed", text, None);
            }
            if let Some((at, result, attempts, reply)) = &send.outcome {
                let reply = reply
                    .as_ref()
                    .and_then(|reply| reply_line(&text_of(reply)))
                    .unwrap_or_default();
                let text = format!("{} at attempt {attempts}{reply}", name(send.destination));
                add(*at, 5, send.id.0, result.as_str(), text, None);
            }
        }
        for dead in &detail.dead_letters {
            let text = format!("at {}: {}", name(dead.at_name), dead.reason);
            add(dead.at, 6, dead.row, "dead-lettered", text, None);
        }
        for event in &detail.events {
            add(
                event.at,
                4,
                event.row,
                event.kind.as_str(),
                event.detail.clone(),
                event.actor.clone(),
            );
        }
        for (at, disposition) in &detail.dispositions {
            add(*at, 7, RowId::ZERO, "disposition", disposition.to_string(), None);
        }
        entries.sort_by_key(|(at, rank, row, _)| (*at, *rank, *row));
        entries.into_iter().map(|(_, _, _, entry)| entry).collect()
    }
}

/// `, answered MSA|AA|...`: the partner's word in short.
pub(crate) fn reply_line(reply: &str) -> Option<String> {
    reply
        .lines()
        .find(|line| line.starts_with("MSA"))
        .map(|line| format!(", answered {line}"))
}
