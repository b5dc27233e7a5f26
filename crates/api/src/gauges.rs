//! Gauges taken at the scrape, in Prometheus' text format. They are written here, not recorded, so that a
//! connection which left leaves no stale series behind.

use std::fmt;

use model::histogram::Snapshot;

use engine::ConnectionView;

const STATES: [&str; 4] = ["running", "held", "stopped", "waiting"];

/// This node's part in its cluster.
pub(crate) struct Standing {
    pub(crate) cluster: cluster::Standing,
    /// Inbounds that would not get their port.
    pub(crate) conflicts: Vec<engine::Conflict>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = &self.cluster;
        head(f, "holdfast_cluster_role", "1 for what this node is now")?;
        let now = crate::cluster::role(&standing.role);
        for role in ["primary", "standby", "stepping down", "fenced", "left"] {
            writeln!(
                f,
                "holdfast_cluster_role{{role=\"{role}\"}} {}",
                u8::from(role == now)
            )?;
        }
        head(
            f,
            "holdfast_cluster_epoch",
            "the newest leadership that this node has seen",
        )?;
        writeln!(f, "holdfast_cluster_epoch {}", standing.epoch)?;
        head(
            f,
            "holdfast_cluster_lease_held",
            "1 while somebody leads, as far as this node has seen",
        )?;
        writeln!(f, "holdfast_cluster_lease_held {}", u8::from(standing.held))?;
        head(
            f,
            "holdfast_cluster_lease_margin_seconds",
            "how much longer this node may lead without another renewal; 0 when it does not lead",
        )?;
        let margin = standing.margin.unwrap_or_default().as_secs_f64();
        writeln!(f, "holdfast_cluster_lease_margin_seconds {margin}")?;
        head(
            f,
            "holdfast_cluster_could_lead",
            "1 while this node leads or could take over at once",
        )?;
        writeln!(
            f,
            "holdfast_cluster_could_lead {}",
            u8::from(standing.against.is_none())
        )?;
        head(
            f,
            "holdfast_cluster_reached_seconds",
            "seconds since the lease row was last reached",
        )?;
        writeln!(
            f,
            "holdfast_cluster_reached_seconds {}",
            standing.reached_ago.as_secs_f64()
        )?;
        head(
            f,
            "holdfast_cluster_leaderless_seconds",
            "for how long nobody has led, as far as this node has seen; 0 while somebody does",
        )?;
        let leaderless = standing.leaderless.unwrap_or_default().as_secs_f64();
        writeln!(f, "holdfast_cluster_leaderless_seconds {leaderless}")?;
        head(
            f,
            "holdfast_cluster_config_agrees",
            "1 while the configuration that was led with last is this node's",
        )?;
        writeln!(
            f,
            "holdfast_cluster_config_agrees {}",
            u8::from(standing.config_agrees)
        )?;
        head(
            f,
            "holdfast_cluster_unready",
            "1, with the reason, while this node could not take over at once, or something is amiss on it",
        )?;
        let reasons = standing.against.iter().chain(&standing.remark);
        for reason in reasons {
            writeln!(f, "holdfast_cluster_unready{{reason=\"{}\"}} 1", escaped(reason))?;
        }
        head(
            f,
            "holdfast_cluster_port_taken",
            "1 for an inbound of a standby whose port another program has",
        )?;
        for conflict in &self.conflicts {
            let name = escaped(&conflict.inbound);
            writeln!(f, "holdfast_cluster_port_taken{{name=\"{name}\"}} 1")?;
        }
        Ok(())
    }
}

/// What is true now.
pub(crate) struct Sample {
    pub(crate) connections: Vec<ConnectionView>,
    pub(crate) in_flight: usize,
    pub(crate) held_body_bytes: i64,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) ready: bool,
    pub(crate) stages: Vec<engine::StageTimes>,
    pub(crate) commits: engine::CommitSizes,
    pub(crate) store: engine::StoreSize,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, "holdfast_ready", "1 while this node leads and its lanes run")?;
        writeln!(f, "holdfast_ready {}", u8::from(self.ready))?;
        head(f, "holdfast_in_flight", "messages without a final status")?;
        writeln!(f, "holdfast_in_flight {}", self.in_flight)?;
        head(
            f,
            "holdfast_held_body_bytes",
            "bytes of message bodies held in memory by the lanes",
        )?;
        writeln!(f, "holdfast_held_body_bytes {}", self.held_body_bytes)?;
        head(
            f,
            "holdfast_store_bytes",
            "bytes on disk that the store took when last measured",
        )?;
        writeln!(f, "holdfast_store_bytes {}", self.store.bytes)?;
        head(
            f,
            "holdfast_store_limit_bytes",
            "bytes above which an alert stands; 0 = no limit",
        )?;
        writeln!(f, "holdfast_store_limit_bytes {}", self.store.limit.unwrap_or(0))?;
        head(f, "holdfast_store_alert", "1 while the store is above its limit")?;
        writeln!(f, "holdfast_store_alert {}", u8::from(self.store.alert))?;
        if let Some(bytes) = self.resident_bytes {
            head(
                f,
                "process_resident_memory_bytes",
                "resident memory of the process",
            )?;
            writeln!(f, "process_resident_memory_bytes {bytes}")?;
        }
        head(
            f,
            "holdfast_queue_depth",
            "rows that wait in a lane, those in flight not counted",
        )?;
        for (labels, view) in self.labelled() {
            writeln!(f, "holdfast_queue_depth{{{labels}}} {}", view.queued)?;
        }
        head(
            f,
            "holdfast_sends_in_flight",
            "sends handed to a partner and not yet answered",
        )?;
        for (labels, view) in self.labelled().filter(|(_, view)| view.role == "outbound") {
            writeln!(f, "holdfast_sends_in_flight{{{labels}}} {}", view.in_flight)?;
        }
        head(f, "holdfast_connected_peers", "partners connected now")?;
        for (labels, view) in self.labelled().filter(|(_, view)| view.role == "inbound") {
            writeln!(f, "holdfast_connected_peers{{{labels}}} {}", view.peers)?;
        }
        head(
            f,
            "holdfast_connection_state",
            "1 for the state a connection is in, 0 for the others",
        )?;
        for (labels, view) in self.labelled().filter(|(_, view)| view.role != "handler") {
            for state in STATES {
                let is = u8::from(view.state == state);
                writeln!(f, "holdfast_connection_state{{{labels},state=\"{state}\"}} {is}")?;
            }
        }
        self.distributions(f)
    }
}

/// The bounds of what is told of a message's time: just below the powers of two of a nanosecond, from a
/// microsecond to a minute. The buckets end there.
const NANOS: std::ops::RangeInclusive<u32> = 10..=36;
/// The bounds of what is told of rows a commit: 1, 3, 7 and so on, up to 8,191.
const ROWS: std::ops::RangeInclusive<u32> = 1..=13;

impl Sample {
    fn distributions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = "holdfast_stage_seconds";
        let help = "time that a message spends in each step of its way";
        writeln!(f, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        for times in &self.stages {
            let label = format!("stage=\"{}\"", times.stage);
            distribution(f, name, &label, &times.nanos, NANOS, 1e9)?;
        }
        let name = "holdfast_store_commit_rows";
        let help = "rows of one kind in a commit that has any";
        writeln!(f, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        for (kind, rows) in &self.commits.rows {
            distribution(f, name, &format!("kind=\"{kind}\""), rows, ROWS, 1.0)?;
        }
        Ok(())
    }
}

/// One histogram, with bounds just below powers of two; `unit` of what was counted make one of what is told.
fn distribution(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    label: &str,
    values: &Snapshot,
    powers: std::ops::RangeInclusive<u32>,
    unit: f64,
) -> fmt::Result {
    for power in powers {
        let bound = (1_u64 << power) - 1;
        let (count, bound) = (values.at_most(bound), bound as f64 / unit);
        writeln!(f, "{name}_bucket{{{label},le=\"{bound}\"}} {count}")?;
    }
    let count = values.count();
    writeln!(f, "{name}_bucket{{{label},le=\"+Inf\"}} {count}")?;
    writeln!(f, "{name}_sum{{{label}}} {}", values.sum as f64 / unit)?;
    writeln!(f, "{name}_count{{{label}}} {count}")
}

impl Sample {
    fn labelled(&self) -> impl Iterator<Item = (String, &ConnectionView)> {
        self.connections.iter().map(|view| {
            (
                format!("name=\"{}\",role=\"{}\"", escaped(&view.name), view.role),
                view,
            )
        })
    }
}

fn head(f: &mut fmt::Formatter<'_>, name: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP {name} {help}\n# TYPE {name} gauge")
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Resident memory of this process; `None` where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(name: &str, role: &'static str, state: &'static str) -> ConnectionView {
        ConnectionView {
            name: name.to_owned(),
            role,
            connector: "mllp".to_owned(),
            state,
            reason: None,
            address: None,
            peers: 2,
            queued: 7,
            in_flight: 1,
            counts: engine::Counts::default(),
        }
    }

    #[test]
    fn each_connection_has_its_depth_and_exactly_one_state() {
        let sample = Sample {
            connections: vec![
                connection("adt", "inbound", "running"),
                connection("lab\"x", "outbound", "waiting"),
            ],
            in_flight: 3,
            held_body_bytes: 4096,
            resident_bytes: None,
            ready: true,
            stages: vec![engine::StageTimes {
                stage: "route",
                nanos: model::histogram::Snapshot {
                    sum: 3_000_000_000,
                    buckets: vec![(1023, 1), (1_073_741_823, 2)],
                },
            }],
            commits: engine::CommitSizes {
                units: model::histogram::Snapshot::default(),
                rows: vec![(
                    "outbound",
                    model::histogram::Snapshot {
                        sum: 3,
                        buckets: vec![(3, 1)],
                    },
                )],
            },
            store: engine::StoreSize {
                bytes: 5,
                limit: Some(4),
                alert: true,
            },
        };
        let text = sample.to_string();
        for line in [
            "holdfast_in_flight 3",
            "holdfast_stage_seconds_bucket{stage=\"route\",le=\"0.000001023\"} 1",
            "holdfast_stage_seconds_bucket{stage=\"route\",le=\"1.073741823\"} 3",
            "holdfast_stage_seconds_sum{stage=\"route\"} 3",
            "holdfast_store_commit_rows_bucket{kind=\"outbound\",le=\"1\"} 0",
            "holdfast_store_commit_rows_bucket{kind=\"outbound\",le=\"3\"} 1",
            "holdfast_store_commit_rows_count{kind=\"outbound\"} 1",
            "holdfast_held_body_bytes 4096",
            "holdfast_store_bytes 5",
            "holdfast_store_limit_bytes 4",
            "holdfast_store_alert 1",
            "holdfast_queue_depth{name=\"adt\",role=\"inbound\"} 7",
            "holdfast_sends_in_flight{name=\"lab\\\"x\",role=\"outbound\"} 1",
            "holdfast_connected_peers{name=\"adt\",role=\"inbound\"} 2",
            "holdfast_connection_state{name=\"adt\",role=\"inbound\",state=\"running\"} 1",
            "holdfast_connection_state{name=\"lab\\\"x\",role=\"outbound\",state=\"running\"} 0",
            "holdfast_connection_state{name=\"lab\\\"x\",role=\"outbound\",state=\"waiting\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        let on = text
            .lines()
            .filter(|line| line.starts_with("holdfast_connection_state") && line.ends_with(" 1"));
        assert_eq!(on.count(), 2);
    }
}
