//! What is read before and after each phase, and what the difference means for one message.

use anyhow::Context;
use api::wire::{Distribution, Stages};
use bench::toll::{Tally, Toll};
use store::ServerFigures;

use super::database;
use super::processes;
use super::report::{Commits, Cpu, Database, Sizes, StageReport, Wire};
use crate::child::Node;

/// The state of all that takes part, at one moment.
pub(super) struct Reading {
    load_s: f64,
    engine: Option<Engine>,
    server: Option<ServerFigures>,
    database_s: Option<f64>,
    wire: Option<Tally>,
}

struct Engine {
    cpu_s: f64,
    mib: f64,
    stages: Stages,
}

impl Reading {
    /// Reads a node of our own, if there is one, and the database server, if there is one.
    pub(super) async fn take(
        node: Option<&Node>,
        database: Option<&database::Database>,
        toll: Option<&Toll>,
    ) -> anyhow::Result<Reading> {
        let engine = match node {
            None => None,
            Some(node) => Some(Engine {
                cpu_s: processes::cpu_seconds(node.pid()),
                mib: processes::resident_mib(node.pid()),
                stages: node.read("/api/v1/stages").await?,
            }),
        };
        let server = match database {
            None => None,
            Some(database) => Some(
                database
                    .figures()
                    .await
                    .context("the database's figures cannot be read")?,
            ),
        };
        let process = server.as_ref().and_then(|server| server.process);
        Ok(Reading {
            load_s: processes::cpu_seconds(std::process::id()),
            engine,
            database_s: process.map(processes::cpu_seconds_of_family),
            wire: toll.map(Toll::tally),
            server,
        })
    }

    pub(super) fn engine_mib(&self) -> Option<f64> {
        self.engine.as_ref().map(|engine| engine.mib)
    }

    pub(super) fn cpu_since(&self, before: &Reading, messages: u64) -> Cpu {
        let each = |seconds: f64| seconds * 1e6 / messages.max(1) as f64;
        let engine = self.engine.as_ref().zip(before.engine.as_ref());
        let database = self.database_s.zip(before.database_s);
        Cpu {
            engine_us: engine.map(|(after, before)| each(after.cpu_s - before.cpu_s)),
            database_us: database.map(|(after, before)| each(after - before)),
            load_us: each(self.load_s - before.load_s),
        }
    }

    pub(super) fn stages_since(&self, before: &Reading) -> Vec<StageReport> {
        let Some((after, before)) = self.engine.as_ref().zip(before.engine.as_ref()) else {
            return Vec::new();
        };
        let between = after.stages.stages.iter().map(|stage| {
            let earlier = before.stages.stages.iter().find(|of| of.stage == stage.stage);
            let earlier = earlier.map(|of| of.nanos.clone()).unwrap_or_default();
            (stage.stage.clone(), stage.nanos.since(&earlier))
        });
        let between: Vec<(String, Distribution)> = between.collect();
        let all: f64 = between.iter().map(|(_, nanos)| mean(nanos)).sum();
        let report = |(stage, nanos): (String, Distribution)| StageReport {
            stage,
            count: nanos.count,
            mean_ms: mean(&nanos) / 1e6,
            p50_ms: nanos.p50 as f64 / 1e6,
            p99_ms: nanos.p99 as f64 / 1e6,
            share: if all > 0.0 { mean(&nanos) / all } else { 0.0 },
        };
        between.into_iter().map(report).collect()
    }

    pub(super) fn commits_since(&self, before: &Reading, messages: u64) -> Option<Commits> {
        let (after, before) = (&self.engine.as_ref()?.stages, &before.engine.as_ref()?.stages);
        let units = after.commit_units.since(&before.commit_units);
        let rows = after.commit_rows.iter().map(|(kind, rows)| {
            let earlier = before.commit_rows.get(kind).cloned().unwrap_or_default();
            (kind.clone(), sizes(&rows.since(&earlier)))
        });
        Some(Commits {
            per_message: units.count as f64 / messages.max(1) as f64,
            units: sizes(&units),
            rows: rows.collect(),
        })
    }

    pub(super) fn database_since(&self, before: &Reading, messages: u64) -> Option<Database> {
        let (after, before) = (self.server.as_ref()?, before.server.as_ref()?);
        let each = |after: Option<u64>, before: Option<u64>| {
            Some(after?.saturating_sub(before?) as f64 / messages.max(1) as f64)
        };
        Some(Database {
            transactions_per_message: each(after.transactions, before.transactions),
            log_bytes_per_message: each(after.log_bytes, before.log_bytes),
        })
    }

    pub(super) fn wire_since(&self, before: &Reading, messages: u64) -> Option<Wire> {
        let went = self.wire?.since(&before.wire?);
        let each = |count: u64| count as f64 / messages.max(1) as f64;
        Some(Wire {
            round_trips_per_message: each(went.round_trips),
            requests_per_message: each(went.requests),
            statements_per_message: each(went.statements),
            transactions_per_message: each(went.transactions),
            bytes_sent_per_message: each(went.bytes_sent),
            bytes_received_per_message: each(went.bytes_received),
        })
    }
}

fn mean(of: &Distribution) -> f64 {
    of.sum as f64 / of.count.max(1) as f64
}

fn sizes(of: &Distribution) -> Sizes {
    Sizes {
        mean: mean(of),
        p50: of.p50,
        p99: of.p99,
    }
}
