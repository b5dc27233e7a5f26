//! Both sides of the crash test. A process writes with [`CrashWriter`] and tells of every receipt; it is
//! killed; another opens the store and holds it to what was told.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use model::{Disposition, MessageId, RowId, SendId};

use super::build::{self, Bench};
use super::{Fault, Fixture, Outcome, holds, same};
use crate::rows::OutcomeResult;
use crate::{Store, Unit};

/// Writes whole lives of messages until it is killed.
#[derive(Debug)]
pub struct CrashWriter;

impl CrashWriter {
    /// Writes to the fixture's store and, after each receipt, one line to `told`: `m <number>` for a
    /// message, `d <number>` for one that is disposed of. Ends only with an error.
    pub async fn run(fixture: Fixture, mut told: impl Write) -> Outcome {
        let bench = Bench::open(fixture).await?;
        loop {
            let arrivals = (0..20).map(|_| {
                bench.store.submit(
                    bench.term,
                    vec![Unit::one(build::message(bench.inbounds[0], b"MSH|^~\\&|crash"))],
                )
            });
            let mut sends = Vec::new();
            for answer in futures::future::join_all(arrivals).await.into_iter().flatten() {
                let id = MessageId(answer?.rows[0]);
                writeln!(told, "m {id}")?;
                sends.push((
                    id,
                    Unit {
                        entries: vec![
                            build::routed(id, &bench.handlers[..1]),
                            build::send(id, bench.handlers[0], bench.outbounds[0], None),
                        ],
                    },
                ));
            }
            let (ids, units): (Vec<_>, Vec<_>) = sends.into_iter().unzip();
            let answers = bench.store.submit(bench.term, units).await;
            let mut ends = Vec::new();
            for (id, answer) in ids.iter().zip(answers) {
                let send = SendId(answer?.rows[1]);
                ends.push(Unit {
                    entries: vec![
                        build::outcome(*id, send, OutcomeResult::Delivered),
                        build::disposition(*id, Disposition::Processed),
                    ],
                });
            }
            for (id, answer) in ids.iter().zip(bench.store.submit(bench.term, ends).await) {
                answer?;
                writeln!(told, "d {id}")?;
            }
        }
    }
}

/// Holds an opened store to what a killed writer told: every message is there, every one it called
/// disposed of is, and no unit is there in part.
pub async fn verify_after_crash(store: Arc<dyn Store>, told: &[String]) -> Outcome {
    let mut arrived = BTreeSet::new();
    let mut disposed = BTreeSet::new();
    for line in told {
        let (kind, number) = line
            .split_once(' ')
            .ok_or_else(|| Fault(format!("not a line of a receipt: {line}")))?;
        let id = MessageId(number.parse::<RowId>()?);
        if kind == "m" {
            arrived.insert(id)
        } else {
            disposed.insert(id)
        };
    }
    let ids: Vec<MessageId> = arrived.iter().copied().collect();
    let found = store.messages_for_work(&ids).await?;
    same(
        "receipts without a message",
        found.iter().filter(|work| work.is_none()).count(),
        0,
    )?;
    let mut open = BTreeSet::new();
    loop {
        let after = open.last().copied().unwrap_or_default();
        let page = store.open_messages(after, 500).await?;
        if page.is_empty() {
            break;
        }
        for message in page {
            // Routing and sending were one unit, and so were outcome and disposition.
            same(
                "a routed row and its send",
                message.routed.is_some(),
                !message.sends.is_empty(),
            )?;
            holds(
                "no outcome without its disposition",
                message.sends.iter().all(|send| send.outcome.is_none()),
            )?;
            open.insert(message.id);
        }
    }
    same(
        "disposed messages that are open",
        open.intersection(&disposed).count(),
        0,
    )?;
    same("faults", store.check_integrity().await?, Vec::new())
}
