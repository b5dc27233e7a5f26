//! From what was observed to what is reported and drawn.

use bench::chart::{Bar, Chart};
use bench::course::Evidence;
use bench::profile::Step;
use bench::sender::Fate;
use bench::stats::{self, Percentiles};

use super::reading::Reading;
use super::report::{Ceiling, Commits, Cpu, Database, PhaseReport, Report, StageReport, StepReport, Wire};

/// What the readings round a phase say.
pub(super) struct Measured {
    name: &'static str,
    offered: Option<f64>,
    cpu: Cpu,
    engine_mib: Option<f64>,
    stages: Vec<StageReport>,
    commits: Option<Commits>,
    database: Option<Database>,
    wire: Option<Wire>,
}

impl Measured {
    pub(super) fn of(
        name: &'static str,
        offered: Option<f64>,
        acknowledged: u64,
        before: &Reading,
        after: &Reading,
    ) -> Measured {
        Measured {
            name,
            offered,
            cpu: after.cpu_since(before, acknowledged),
            engine_mib: after.engine_mib(),
            stages: after.stages_since(before),
            commits: after.commits_since(before, acknowledged),
            database: after.database_since(before, acknowledged),
            wire: after.wire_since(before, acknowledged),
        }
    }
}

/// One step, once it is over.
pub(super) struct StepOutcome<'a> {
    pub(super) step: &'a Step,
    pub(super) message_bytes: usize,
    pub(super) ceiling: Option<Ceiling>,
    pub(super) left_in_flight: Option<u64>,
    pub(super) measured: Vec<Measured>,
}

impl StepOutcome<'_> {
    pub(super) fn report(self, evidence: &Evidence) -> StepReport {
        let ceiling = self.ceiling;
        let phases = self.measured.into_iter().enumerate();
        let phases = phases.map(|(index, measured)| phase(evidence, index, measured, ceiling));
        StepReport {
            name: self.step.name.clone(),
            site: self.step.site,
            message_bytes: self.message_bytes,
            ceiling,
            phases: phases.collect(),
            left_in_flight: self.left_in_flight,
            by_second: evidence.seconds(),
        }
    }
}

fn phase(evidence: &Evidence, index: usize, measured: Measured, ceiling: Option<Ceiling>) -> PhaseReport {
    let leg = &evidence.legs[index];
    let judged = evidence.judge(index);
    let acknowledged = leg.sent.acknowledged();
    let last = evidence.last_delivery_us(index).unwrap_or(leg.ended_us);
    let end_to_end = stats::per_second(acknowledged, last.saturating_sub(leg.began_us));
    PhaseReport {
        name: measured.name.to_owned(),
        began_s: leg.began_us as f64 / 1e6,
        offered_per_second: measured.offered,
        acknowledged_per_second: stats::per_second(acknowledged, leg.sent.elapsed_us),
        end_to_end_per_second: end_to_end,
        share_of_ceiling: ceiling
            .map(|ceiling| end_to_end / ceiling.messages_per_second.max(f64::MIN_POSITIVE)),
        answer: Percentiles::of(&leg.sent.latency()),
        delivery: judged.delivery,
        complete: judged.is_complete() && leg.sent.count(Fate::Unanswered) == 0 && judged.totals.refused == 0,
        in_order: judged.is_in_order(),
        totals: judged.totals,
        failures: leg
            .sent
            .failures()
            .map(|(lane, reason)| format!("lane {lane}: {reason}"))
            .collect(),
        cpu: measured.cpu,
        engine_mib: measured.engine_mib,
        stages: measured.stages,
        commits: measured.commits,
        database: measured.database,
        wire: measured.wire,
    }
}

impl StepReport {
    pub(super) fn is_sound(&self) -> bool {
        let phases = self.phases.iter();
        let mut sound = phases.map(|phase| phase.complete && phase.in_order && phase.failures.is_empty());
        sound.all(|sound| sound) && self.left_in_flight.unwrap_or(0) == 0
    }

    /// What a phase of this step is called beside those of other steps.
    pub(super) fn label(&self, phase: &PhaseReport, alone: bool) -> String {
        if alone {
            phase.name.clone()
        } else if self.phases.len() == 1 {
            self.name.clone()
        } else {
            format!("{}, {}", self.name, phase.name)
        }
    }
}

/// The chart of a report: its steps one behind the other.
pub(super) fn chart(report: &Report) -> Chart {
    let machine = &report.machine;
    let mut chart = Chart {
        title: format!("holdfast load --profile {}", report.profile),
        subtitle: report.answers.clone(),
        place: format!(
            "{} · {} cores, {} · store: {} · version {} · sender and sink on the same machine",
            report.at, machine.cores, machine.cpu, machine.store, report.version
        ),
        ..Chart::default()
    };
    let alone = report.steps.len() == 1;
    for step in &report.steps {
        let offset = chart.seconds.len() as f64;
        for phase in &step.phases {
            let name = step.label(phase, alone);
            chart.marks.push((offset + phase.began_s, name.clone()));
            let stages = phase
                .stages
                .iter()
                .map(|stage| (stage.stage.clone(), stage.mean_ms));
            chart.bars.push(Bar {
                name,
                rate: phase.end_to_end_per_second,
                ceiling: step.ceiling.map(|ceiling| ceiling.messages_per_second),
                stages: stages.collect(),
            });
        }
        chart.seconds.extend_from_slice(&step.by_second);
    }
    chart
}
