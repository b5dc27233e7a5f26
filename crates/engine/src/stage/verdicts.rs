//! Writes what the finaliser decided, in whatever grouped commit goes next.

use std::sync::Arc;

use model::{Disposition, MessageId};
use store::rows::{Entry, NewDisposition, Unit};
use tokio::sync::mpsc;

use crate::core::{Core, Stopping};

/// Runs until the finaliser is gone or the node must not write.
pub(crate) async fn run(core: Arc<Core>, mut decisions: mpsc::UnboundedReceiver<(MessageId, Disposition)>) {
    let mut decided = Vec::new();
    while decisions.recv_many(&mut decided, 512).await > 0 {
        let entries = decided
            .drain(..)
            .map(|(message, disposition)| Entry::Disposition(NewDisposition { message, disposition }))
            .collect();
        if let Err(Stopping) = core.write(vec![Unit { entries }]).await {
            break; // recovery decides again
        }
    }
}
