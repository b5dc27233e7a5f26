//! A report held against one that was saved before.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::report::SCHEMA;
use crate::output::Advice;

/// What is compared of each phase: where it stands, and whether more of it is better.
const FIGURES: [(&str, &str, bool); 9] = [
    ("/end_to_end_per_second", "messages/s, end to end", true),
    ("/answer/p50_ms", "answer p50, ms", false),
    ("/answer/p99_ms", "answer p99, ms", false),
    ("/delivery/p50_ms", "delivery p50, ms", false),
    ("/delivery/p99_ms", "delivery p99, ms", false),
    ("/cpu/engine_us", "engine CPU, us a message", false),
    ("/cpu/database_us", "database CPU, us a message", false),
    ("/database/log_bytes_per_message", "log, bytes a message", false),
    ("/engine_mib", "engine memory, MiB", false),
];

/// A latency that grew by less than this says nothing, whatever the ratio.
const MS_MIN: f64 = 1.0;

/// One figure of both.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) phase: String,
    pub(super) figure: &'static str,
    pub(super) before: f64,
    pub(super) now: f64,
    /// Beyond the tolerance.
    pub(super) worse: bool,
}

/// Reads a report.
pub(super) fn read(path: &Path) -> anyhow::Result<Value> {
    let hint = "save one with --save FILE, and compare with that";
    let advice = || Advice::usage(format!("{} is no report to compare with", path.display()), hint);
    let text = std::fs::read_to_string(path).with_context(advice)?;
    let report: Value = serde_json::from_str(&text).with_context(advice)?;
    anyhow::ensure!(report["schema"] == SCHEMA, advice());
    Ok(report)
}

/// All figures that both have. Refuses reports of different profiles or stores.
pub(super) fn compare(before: &Value, now: &Value, tolerance: f64) -> anyhow::Result<Vec<Line>> {
    for same in ["/profile", "/machine/cores"] {
        let (was, is) = (before.pointer(same), now.pointer(same));
        let said = |value: Option<&Value>| value.map(ToString::to_string).unwrap_or_default();
        if was != is {
            let problem = format!("the baseline has {same} {}, this report {}", said(was), said(is));
            let hint = "compare reports of one profile on one machine";
            return Err(Advice::usage(problem, hint).into());
        }
    }
    let mut lines = Vec::new();
    for step in list(now, "steps") {
        let Some(earlier) = named(before, "steps", step) else {
            continue;
        };
        for phase in list(step, "phases") {
            let Some(earlier) = named(earlier, "phases", phase) else {
                continue;
            };
            let name = format!("{}, {}", text(step), text(phase));
            lines.extend(figures(&name, earlier, phase, tolerance));
        }
    }
    Ok(lines)
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(of: &Value) -> &str {
    of["name"].as_str().unwrap_or_default()
}

fn named<'a>(of: &'a Value, key: &str, like: &Value) -> Option<&'a Value> {
    list(of, key).iter().find(|found| found["name"] == like["name"])
}

fn figures(name: &str, before: &Value, now: &Value, tolerance: f64) -> Vec<Line> {
    let line = |(path, figure, more_is_better): (&str, &'static str, bool)| {
        let read = |of: &Value| of.pointer(path).and_then(Value::as_f64);
        let (before, now) = (read(before)?, read(now)?);
        let worse = if more_is_better {
            now < before * (1.0 - tolerance)
        } else {
            let counts = !path.ends_with("_ms") || now - before > MS_MIN;
            now > before * (1.0 + tolerance) && counts
        };
        let phase = name.to_owned();
        Some(Line {
            phase,
            figure,
            before,
            now,
            worse,
        })
    };
    FIGURES.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(rate: f64, p99_ms: f64, engine_us: f64) -> Value {
        let phase = json!({
            "name": "flat out",
            "end_to_end_per_second": rate,
            "answer": { "p99_ms": p99_ms },
            "cpu": { "engine_us": engine_us, "database_us": null },
        });
        json!({
            "schema": SCHEMA, "profile": "smoke", "machine": { "cores": 2 },
            "steps": [{ "name": "2 lanes", "phases": [phase] }],
        })
    }

    #[test]
    fn what_is_worse_by_more_than_the_tolerance_is_marked() {
        let worse = |now: &Value| -> Vec<&'static str> {
            let lines = compare(&report(1000.0, 4.0, 50.0), now, 0.25).unwrap();
            assert_eq!(lines.len(), 3);
            lines
                .iter()
                .filter(|line| line.worse)
                .map(|line| line.figure)
                .collect()
        };
        assert!(worse(&report(760.0, 4.9, 62.0)).is_empty());
        assert!(worse(&report(9000.0, 0.1, 1.0)).is_empty());
        assert_eq!(worse(&report(740.0, 4.0, 50.0)), ["messages/s, end to end"]);
        assert_eq!(
            worse(&report(1000.0, 5.5, 63.0)),
            ["answer p99, ms", "engine CPU, us a message"]
        );
    }

    #[test]
    fn a_latency_of_next_to_nothing_may_double() {
        let lines = compare(&report(1.0, 0.2, 1.0), &report(1.0, 0.6, 1.0), 0.25).unwrap();
        assert!(lines.iter().all(|line| !line.worse));
    }

    #[test]
    fn reports_of_other_profiles_are_refused() {
        let mut other = report(1.0, 1.0, 1.0);
        other["profile"] = "lanes".into();
        let refused = compare(&other, &report(1.0, 1.0, 1.0), 0.25).expect_err("refused");
        assert!(refused.to_string().contains("/profile"), "{refused}");
    }
}
