//! What the log says while nothing can be written: one line when it begins, with what to do, a reminder now
//! and then, and one line when it is over. However many callers are refused meanwhile, they add no line.

use std::time::{Duration, Instant};

/// Between two reminders.
const REMINDER: Duration = Duration::from_secs(60);

/// Whether writing is interrupted, as the one writer of a store sees it.
#[derive(Default)]
pub(crate) struct Outage {
    now: Option<Now>,
}

struct Now {
    began: Instant,
    said: Instant,
    refused: u64,
}

impl Outage {
    /// A write was refused for `reason`.
    pub(crate) fn refused(&mut self, reason: &dyn std::fmt::Display) {
        metrics::counter!("holdfast_store_commit_failures_total").increment(1);
        let Some(now) = &mut self.now else {
            let began = Instant::now();
            self.now = Some(Now {
                began,
                said: began,
                refused: 1,
            });
            metrics::gauge!("holdfast_store_interrupted").set(1.0);
            tracing::error!(%reason, "nothing can be stored: partners get no acknowledgement until it can");
            return;
        };
        now.refused += 1;
        if now.said.elapsed() >= REMINDER {
            now.said = Instant::now();
            let seconds = now.began.elapsed().as_secs();
            tracing::warn!(%reason, seconds, "still nothing can be stored");
        }
    }

    /// A write succeeded.
    pub(crate) fn over(&mut self) {
        let Some(now) = self.now.take() else { return };
        metrics::gauge!("holdfast_store_interrupted").set(0.0);
        let seconds = now.began.elapsed().as_secs_f32();
        tracing::info!(seconds, attempts = now.refused, "messages are stored again");
    }
}
