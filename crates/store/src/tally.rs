//! What a transaction appended, counted for the metrics.

use std::time::Duration;

use model::histogram::{Histogram, Snapshot};

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

/// How large commits were, over all stores of this process since it started.
struct Sizes {
    units: Histogram,
    rows: [Histogram; KINDS.len()],
}

static SIZES: Sizes = Sizes {
    units: Histogram::new(),
    rows: [const { Histogram::new() }; KINDS.len()],
};

/// How much one commit carried: batching that batches nothing is otherwise invisible. Counted over all
/// stores of this process.
#[derive(Clone, Debug)]
pub struct CommitSizes {
    /// Units a commit; as many values as there were commits.
    pub units: Snapshot,
    /// For each kind of row (`message`, `routed`, `outbound`, `outcome`, ...), rows a commit that had any.
    pub rows: Vec<(&'static str, Snapshot)>,
}

/// The sizes of the commits so far.
pub fn commit_sizes() -> CommitSizes {
    let rows = KINDS.into_iter().zip(&SIZES.rows);
    CommitSizes {
        units: SIZES.units.snapshot(),
        rows: rows.map(|(kind, sizes)| (kind, sizes.snapshot())).collect(),
    }
}

/// Tells the metrics of a commit that succeeded.
pub(crate) fn report(took: Duration, units: usize, tally: Tally) {
    metrics::histogram!("holdfast_store_commit_seconds").record(took.as_secs_f64());
    metrics::histogram!("holdfast_store_batch_units").record(units as f64);
    SIZES.units.record(units as u64);
    for ((kind, rows), sizes) in KINDS.into_iter().zip(tally.0).zip(&SIZES.rows) {
        if rows > 0 {
            sizes.record(rows);
            metrics::counter!("holdfast_store_rows_total", "kind" => kind).increment(rows);
        }
    }
}
