//! A profile's figures for people.

use bench::stats::Percentiles;

use super::compare::Line;
use super::report::{PhaseReport, Report, StepReport};
use crate::output::{self, Output, thousands};

/// A line for each phase of a step that has ended.
pub(super) fn progress(out: &Output, profile: &str, step: &StepReport) {
    for phase in &step.phases {
        out.remark(&format!(
            "{profile}, {}, {}: {}/s acknowledged, {}/s end to end",
            step.name,
            phase.name,
            rate(phase.acknowledged_per_second),
            rate(phase.end_to_end_per_second),
        ));
    }
}

fn rate(per_second: f64) -> String {
    thousands(per_second.round() as u64)
}

/// The whole report, in tables.
pub(super) fn report(out: &Output, report: &Report) {
    let machine = &report.machine;
    out.line(&format!("{}: {}", report.profile, report.answers));
    out.line(&format!(
        "{} cores, {}; store: {}",
        machine.cores, machine.cpu, machine.store
    ));
    let alone = report.steps.len() == 1;
    let phases = || {
        let steps = report.steps.iter();
        steps.flat_map(move |step| step.phases.iter().map(move |phase| (step, phase)))
    };
    let named = |step: &StepReport, phase: &PhaseReport| vec![step.label(phase, alone)];
    let rates = phases().map(|(step, phase)| [named(step, phase), rates(step, phase)].concat());
    let heading = [
        "phase",
        "offered/s",
        "acknowledged/s",
        "end to end/s",
        "ceiling/s",
        "share",
    ];
    out.table(&heading, rates.collect());
    let times = phases().map(|(step, phase)| [named(step, phase), times(phase)].concat());
    let heading = [
        "ms",
        "answer p50",
        "p99",
        "p99.9",
        "max",
        "delivery p50",
        "p99",
        "max",
    ];
    out.table(&heading, times.collect());
    let costs = phases().map(|(step, phase)| [named(step, phase), costs(phase)].concat());
    let heading = [
        "a message",
        "engine us",
        "database us",
        "load us",
        "commits",
        "transactions",
        "log bytes",
        "engine MiB",
    ];
    out.table(&heading, costs.collect());
    if phases().any(|(_, phase)| phase.wire.is_some()) {
        let wire = phases().map(|(step, phase)| [named(step, phase), wire(phase)].concat());
        let heading = [
            "a message, on the wire",
            "round trips",
            "requests",
            "statements",
            "transactions",
            "bytes sent",
            "bytes received",
        ];
        out.table(&heading, wire.collect());
    }
    stages(out, report);
    for (step, phase) in phases() {
        complaints(out, &step.label(phase, alone), phase);
    }
    for step in report
        .steps
        .iter()
        .filter(|step| step.left_in_flight.unwrap_or(0) > 0)
    {
        let left = step.left_in_flight.unwrap_or(0);
        let text = format!(
            "{}: {} messages are left without a final status",
            step.name,
            thousands(left)
        );
        out.line(&output::paint(output::BAD, &text));
    }
    if report.sound {
        let text = "every phase: all that was acknowledged arrived once, in order";
        out.line(&output::paint(output::GOOD, text));
    }
}

fn rates(step: &StepReport, phase: &PhaseReport) -> Vec<String> {
    let share = phase
        .share_of_ceiling
        .map(|share| format!("{:.0} %", share * 100.0));
    let ceiling = step.ceiling.map(|ceiling| rate(ceiling.messages_per_second));
    vec![
        phase.offered_per_second.map(rate).unwrap_or_default(),
        rate(phase.acknowledged_per_second),
        rate(phase.end_to_end_per_second),
        ceiling.unwrap_or_default(),
        share.unwrap_or_default(),
    ]
}

fn times(phase: &PhaseReport) -> Vec<String> {
    let Percentiles {
        p50_ms,
        p99_ms,
        p999_ms,
        max_ms,
        ..
    } = phase.answer;
    let delivery = &phase.delivery;
    [
        p50_ms,
        p99_ms,
        p999_ms,
        max_ms,
        delivery.p50_ms,
        delivery.p99_ms,
        delivery.max_ms,
    ]
    .map(|ms| format!("{ms:.2}"))
    .to_vec()
}

fn costs(phase: &PhaseReport) -> Vec<String> {
    let known = |value: Option<f64>, digits: usize| {
        let text = value.map(|value| format!("{value:.digits$}"));
        text.unwrap_or_default()
    };
    vec![
        known(phase.cpu.engine_us, 1),
        known(phase.cpu.database_us, 1),
        known(Some(phase.cpu.load_us), 1),
        known(phase.commits.as_ref().map(|commits| commits.per_message), 3),
        known(
            phase
                .database
                .and_then(|database| database.transactions_per_message),
            3,
        ),
        known(
            phase.database.and_then(|database| database.log_bytes_per_message),
            0,
        ),
        known(phase.engine_mib, 0),
    ]
}

fn wire(phase: &PhaseReport) -> Vec<String> {
    let Some(wire) = phase.wire else {
        return vec![String::new(); 6];
    };
    let mut columns = [
        wire.round_trips_per_message,
        wire.requests_per_message,
        wire.statements_per_message,
        wire.transactions_per_message,
    ]
    .map(|count| format!("{count:.4}"))
    .to_vec();
    columns.push(format!("{:.0}", wire.bytes_sent_per_message));
    columns.push(format!("{:.0}", wire.bytes_received_per_message));
    columns
}

/// A column a stage would be too wide: a row a stage, a column a phase, as far as they fit.
fn stages(out: &Output, report: &Report) {
    const COLUMNS: usize = 6;
    let alone = report.steps.len() == 1;
    let steps = report.steps.iter();
    let phases = steps.flat_map(|step| {
        step.phases
            .iter()
            .map(move |phase| (step.label(phase, alone), phase))
    });
    let phases: Vec<(String, &PhaseReport)> = phases.filter(|(_, phase)| !phase.stages.is_empty()).collect();
    for group in phases.chunks(COLUMNS) {
        let mut heading = vec!["stage, mean ms"];
        heading.extend(group.iter().map(|(name, _)| name.as_str()));
        let rows = group[0].1.stages.iter().enumerate().map(|(index, stage)| {
            let of = group.iter().map(|(_, phase)| phase.stages.get(index));
            let of = of.map(|stage| stage.map_or(String::new(), |stage| format!("{:.3}", stage.mean_ms)));
            std::iter::once(stage.stage.replace('_', " ")).chain(of).collect()
        });
        out.table(&heading, rows.collect());
    }
}

fn complaints(out: &Output, name: &str, phase: &PhaseReport) {
    let totals = &phase.totals;
    let wrong = [
        ("missing", totals.missing),
        ("unexpected", totals.unexpected),
        ("inversions", totals.inversions),
        ("late repeats", totals.late_repeats),
        ("refused", totals.refused),
        ("unanswered", totals.unanswered),
    ];
    for (what, count) in wrong.into_iter().filter(|(_, count)| *count > 0) {
        let text = format!("{name}: {} {what}", thousands(count));
        out.line(&output::paint(output::BAD, &text));
    }
    for failure in &phase.failures {
        out.line(&output::paint(output::BAD, &format!("{name}: {failure}")));
    }
}

/// Both sides of a comparison; on the error stream where the results are JSON.
pub(super) fn comparison(out: &Output, lines: &[Line]) {
    if out.is_json() {
        for line in lines.iter().filter(|line| line.worse) {
            let Line {
                phase,
                figure,
                before,
                now,
                ..
            } = line;
            out.error_text(&format!(
                "worse: {phase}: {figure}: {before:.2} before, {now:.2} now"
            ));
        }
        return;
    }
    let row = |line: &Line| {
        let ratio = if line.before > 0.0 {
            line.now / line.before
        } else {
            0.0
        };
        let mark = if line.worse { "worse" } else { "" };
        let name = line.phase.clone();
        vec![
            name,
            line.figure.to_owned(),
            format!("{:.2}", line.before),
            format!("{:.2}", line.now),
            format!("{ratio:.2}"),
            mark.to_owned(),
        ]
    };
    out.table(
        &["phase", "figure", "before", "now", "ratio", ""],
        lines.iter().map(row).collect(),
    );
}
