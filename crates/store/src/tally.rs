//! What a transaction appended, counted for the metrics.

use std::time::Duration;

/// The kinds of rows, in the order in which a backend counts them: metric labels and table names.
pub(crate) const KINDS: [&str; 9] = [
    "message",
    "routed",
    "handled",
    "outbound",
    "outcome",
    "disposition",
    "dead_letter",
    "resolved",
    "event",
];

/// Rows appended, per kind.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally(pub(crate) [u64; KINDS.len()]);

impl Tally {
    /// Rows of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Tells the metrics of a commit that succeeded.
pub(crate) fn report(took: Duration, units: usize, tally: Tally) {
    metrics::histogram!("holdfast_store_commit_seconds").record(took.as_secs_f64());
    metrics::histogram!("holdfast_store_batch_units").record(units as f64);
    for (kind, rows) in KINDS.into_iter().zip(tally.0) {
        if rows > 0 {
            metrics::counter!("holdfast_store_rows_total", "kind" => kind).increment(rows);
        }
    }
}
