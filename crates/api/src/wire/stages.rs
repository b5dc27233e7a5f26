//! Where a message's time goes, and how much one commit carries.

use std::collections::BTreeMap;

use model::histogram::Snapshot;
use serde::{Deserialize, Serialize};

/// What was measured since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// The steps of a message's way, in their order; nanoseconds a message.
    pub stages: Vec<Stage>,
    /// Units a commit; its count is the number of commits.
    pub commit_units: Distribution,
    /// For each kind of row, how many a commit carried that carried any.
    pub commit_rows: BTreeMap<String, Distribution>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// `receive`, `accept_commit`, `route_wait`, `route`, `route_commit`, `transform_wait`, `transform`,
    /// `transform_commit`, `send_wait`, `send` or `outcome_commit`.
    pub stage: String,
    /// Nanoseconds a message.
    #[serde(flatten)]
    pub nanos: Distribution,
}

/// How values are spread. The same node's later distribution less an earlier one is what came between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// Half are at most this; quantiles are right to within a quarter.
    pub p50: u64,
    /// 99 in 100 are at most this.
    pub p99: u64,
    /// For each bucket that is not empty: its highest value, and how many values fell into it.
    pub buckets: Vec<(u64, u64)>,
}

impl From<Snapshot> for Distribution {
    fn from(snapshot: Snapshot) -> Self {
        Distribution {
            count: snapshot.count(),
            sum: snapshot.sum,
            p50: snapshot.quantile(0.5),
            p99: snapshot.quantile(0.99),
            buckets: snapshot.buckets,
        }
    }
}

impl Distribution {
    /// What was counted since an earlier reading of the same node.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        self.snapshot().since(&earlier.snapshot()).into()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            sum: self.sum,
            buckets: self.buckets.clone(),
        }
    }
}
