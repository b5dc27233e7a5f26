//! Writes what the finaliser decided, many at a time. Nobody waits for it: a message that was decided but
//! not written when the process dies is decided again from its rows.

use std::sync::Arc;
use std::time::Duration;

use model::{Disposition, MessageId};
use store::Begin;
use store::rows::{Entry, NewDisposition, Unit};
use tokio::sync::mpsc;

use crate::core::{Core, Stopping};

/// How long decisions gather before they are written: each commit costs the disk a flush, and this one is in
/// nobody's way.
const GATHER: Duration = Duration::from_millis(10);
const DECISIONS_MAX: usize = 512;

/// Runs until the finaliser is gone or the node must not write.
pub(crate) async fn run(core: Arc<Core>, mut decisions: mpsc::UnboundedReceiver<(MessageId, Disposition)>) {
    let mut decided = Vec::new();
    while decisions.recv_many(&mut decided, DECISIONS_MAX).await > 0 {
        if decided.len() < DECISIONS_MAX && core.pause(GATHER).await.is_ok() {
            while decided.len() < DECISIONS_MAX
                && let Ok(decision) = decisions.try_recv()
            {
                decided.push(decision);
            }
        }
        let entries = decided
            .drain(..)
            .map(|(message, disposition)| Entry::Disposition(NewDisposition { message, disposition }))
            .collect();
        if let Err(Stopping) = core.write_by(Begin::Later, vec![Unit { entries }]).await {
            break; // recovery decides again
        }
    }
}
