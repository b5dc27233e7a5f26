//! The report of a profile, for machines. Every number has its unit in its name.

use std::collections::BTreeMap;

use bench::course::Second;
use bench::profile::Site;
use bench::reconcile::Totals;
use bench::stats::Percentiles;
use serde::Serialize;

use super::processes::field;

/// The version of this layout: a comparison needs both sides to have the same.
pub(super) const SCHEMA: u32 = 2;

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) profile: String,
    /// The question that it answers.
    pub(super) answers: String,
    /// When it began, RFC 3339.
    pub(super) at: String,
    /// The release.
    pub(super) version: String,
    /// Lengths of phases, as a multiple of the profile's own.
    pub(super) scale: f64,
    pub(super) machine: Machine,
    pub(super) steps: Vec<StepReport>,
    /// Whether everything acknowledged arrived, in order, and nothing was refused.
    pub(super) sound: bool,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// `sqlite`, or `postgres` or `sqlserver` with the server's release.
    pub(super) store: String,
}

impl Machine {
    pub(super) fn here(store: String) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let cpu = model
            .and_then(|line| line.split_once(':'))
            .map(|(_, name)| name.trim());
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.unwrap_or("unknown").to_owned(),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal:").map_or(0, |kib| (kib / 1024.0) as u64),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            store,
        }
    }
}

/// One site.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StepReport {
    pub(super) name: String,
    pub(super) site: Site,
    /// The mean size of a message.
    pub(super) message_bytes: usize,
    pub(super) ceiling: Option<Ceiling>,
    pub(super) phases: Vec<PhaseReport>,
    /// Messages without a final status when everything had been delivered, or time was up; of a node of its own.
    pub(super) left_in_flight: Option<u64>,
    pub(super) by_second: Vec<Second>,
}

/// What the database can append at best: the same rows without an engine.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ceiling {
    pub(super) messages_per_second: f64,
    /// Messages in one transaction, at the best rate.
    pub(super) batch: usize,
}

/// One stretch of load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PhaseReport {
    pub(super) name: String,
    /// When it began, in seconds of the step.
    pub(super) began_s: f64,
    /// What was to be sent, in messages a second; absent where answers set the pace.
    pub(super) offered_per_second: Option<f64>,
    pub(super) acknowledged_per_second: f64,
    /// Acknowledged messages, divided by the time from the first byte to the last delivery.
    pub(super) end_to_end_per_second: f64,
    /// `end_to_end_per_second` as a share of the ceiling.
    pub(super) share_of_ceiling: Option<f64>,
    /// From the intended send to the answer.
    pub(super) answer: Percentiles,
    /// From the intended send to the first delivery.
    pub(super) delivery: Percentiles,
    pub(super) totals: Totals,
    pub(super) complete: bool,
    pub(super) in_order: bool,
    /// Why lanes of the sender gave up.
    pub(super) failures: Vec<String>,
    /// Processor time, in microseconds a message.
    pub(super) cpu: Cpu,
    /// The node's resident memory at the end.
    pub(super) engine_mib: Option<f64>,
    /// Where a message's time went, in the order of its way.
    pub(super) stages: Vec<StageReport>,
    pub(super) commits: Option<Commits>,
    pub(super) database: Option<Database>,
    /// With `--wire`.
    pub(super) wire: Option<Wire>,
}

/// Processor time, in microseconds a message.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cpu {
    pub(super) engine_us: Option<f64>,
    /// Where the server runs on this machine.
    pub(super) database_us: Option<f64>,
    /// Sender and sink, with the judge left out.
    pub(super) load_us: f64,
}

/// One step of a message's way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StageReport {
    pub(super) stage: String,
    /// How many messages, or sends, it was measured in.
    pub(super) count: u64,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Of the sum of all means.
    pub(super) share: f64,
}

/// How well commits were grouped.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Commits {
    pub(super) per_message: f64,
    /// Units (handoffs) a commit.
    pub(super) units: Sizes,
    /// Rows a commit that has any, by kind.
    pub(super) rows: BTreeMap<String, Sizes>,
}

/// How large.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sizes {
    pub(super) mean: f64,
    pub(super) p50: u64,
    pub(super) p99: u64,
}

/// What the database server says, as far as it does. Includes what others did on it at the same time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Database {
    pub(super) transactions_per_message: Option<f64>,
    pub(super) log_bytes_per_message: Option<f64>,
}

/// What went between node and database, reads and housekeeping included.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Wire {
    pub(super) round_trips_per_message: f64,
    pub(super) requests_per_message: f64,
    pub(super) statements_per_message: f64,
    pub(super) transactions_per_message: f64,
    pub(super) bytes_sent_per_message: f64,
    pub(super) bytes_received_per_message: f64,
}
