//! A load profile from end to end: nodes of its own, phases, a judgement, a report and a chart. What is asserted
//! is that everything arrived and is reported, never how fast it was.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::binary;

const STAGES: [&str; 11] = [
    "receive",
    "accept_commit",
    "route_wait",
    "route",
    "route_commit",
    "transform_wait",
    "transform",
    "transform_commit",
    "send_wait",
    "send",
    "outcome_commit",
];

fn load(folder: &Path, more: &[&str]) -> Result<Output> {
    let output = binary::command()
        .current_dir(folder)
        .args(["load", "--profile", "smoke", "--scale", "0.3", "--out", "report"])
        .args(more)
        .output()?;
    Ok(output)
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn report(folder: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(folder.join("report/report.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn phases(report: &Value) -> Result<&Vec<Value>> {
    let phases = report.pointer("/steps/0/phases").and_then(Value::as_array);
    phases.context("the report has phases")
}

/// Everything acknowledged arrived twice, the site's fan-out, and each stage was timed in each message.
fn accounts_for_everything(phase: &Value) -> Result<()> {
    let totals = &phase["totals"];
    let count = |name: &str| totals[name].as_u64().context(name.to_owned());
    let acknowledged = count("acknowledged")?;
    ensure!(acknowledged > 0 && count("sent")? == acknowledged, "{totals}");
    ensure!(count("delivered")? == 2 * acknowledged, "{totals}");
    ensure!(count("missing")? == 0 && count("inversions")? == 0, "{totals}");
    let stages = phase["stages"].as_array().context("stages")?;
    let names: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage["stage"].as_str())
        .collect();
    ensure!(names == STAGES, "{names:?}");
    for stage in stages {
        let each = match stage["stage"].as_str() {
            Some("receive" | "accept_commit" | "route_wait" | "route" | "route_commit") => 1,
            _ => 2,
        };
        ensure!(stage["count"] == each * acknowledged, "{stage}");
    }
    for figure in [
        "/cpu/engine_us",
        "/cpu/load_us",
        "/engine_mib",
        "/commits/per_message",
        "/share_of_ceiling",
    ] {
        let value = phase.pointer(figure).and_then(Value::as_f64);
        ensure!(value.is_some_and(|value| value >= 0.0), "{figure} is {value:?}");
    }
    Ok(())
}

#[test]
fn the_smoke_profile_accounts_for_every_message_and_leaves_a_report_and_a_chart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = load(folder.path(), &["--save", "saved.json"])?;
    ensure!(output.status.success(), "{}", said(&output));
    let report = report(folder.path())?;
    ensure!(report["sound"] == true && report["schema"] == 2, "{report}");
    ensure!(report["machine"]["store"] == "sqlite", "{}", report["machine"]);
    let rate = report
        .pointer("/steps/0/ceiling/messages_per_second")
        .and_then(Value::as_f64);
    ensure!(rate.is_some_and(|rate| rate > 0.0), "no ceiling");
    ensure!(phases(&report)?.len() == 2);
    for phase in phases(&report)? {
        accounts_for_everything(phase)?;
    }
    let chart = std::fs::read_to_string(folder.path().join("report/chart.svg"))?;
    for part in ["<svg", "flat out", "paced", "outcome commit", "messages a second"] {
        ensure!(chart.contains(part), "the chart lacks {part}");
    }

    // Against itself, saved: whatever the machine did meanwhile, a tolerance of 1000 holds.
    let same = load(folder.path(), &["--compare", "saved.json", "--tolerance", "1000"])?;
    ensure!(same.status.success(), "{}", said(&same));
    ensure!(said(&same).contains("ratio"), "{}", said(&same));

    // Against figures that nobody can reach.
    let saved = folder.path().join("saved.json");
    let mut faster: Value = serde_json::from_str(&std::fs::read_to_string(&saved)?)?;
    for phase in faster["steps"][0]["phases"].as_array_mut().context("phases")? {
        phase["end_to_end_per_second"] = 1e12.into();
    }
    std::fs::write(&saved, faster.to_string())?;
    let slower = load(folder.path(), &["--compare", "saved.json"])?;
    ensure!(slower.status.code() == Some(1), "{}", said(&slower));
    ensure!(said(&slower).contains("worse"), "{}", said(&slower));
    Ok(())
}

#[test]
fn a_profile_on_postgresql_reports_what_the_database_did() -> Result<()> {
    let database = pgtest::server().database();
    let folder = tempfile::tempdir()?;
    let output = load(folder.path(), &["--database-url", &database.url(), "--wire"])?;
    ensure!(output.status.success(), "{}", said(&output));
    let report = report(folder.path())?;
    let store = report["machine"]["store"].as_str().unwrap_or_default();
    ensure!(store.starts_with("postgres "), "{store}");
    for phase in phases(&report)? {
        accounts_for_everything(phase)?;
        for figure in [
            "/database/transactions_per_message",
            "/database/log_bytes_per_message",
            "/cpu/database_us",
            "/wire/round_trips_per_message",
            "/wire/statements_per_message",
            "/wire/transactions_per_message",
            "/wire/bytes_sent_per_message",
        ] {
            let value = phase.pointer(figure).and_then(Value::as_f64);
            ensure!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?}");
        }
    }
    Ok(())
}

#[test]
fn what_a_profile_cannot_do_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (arguments, word) in [
        (&["--profile", "tornado"][..], "smoke"),
        (
            &["--profile", "lanes", "--to", "127.0.0.1:1", "--sink", "0"],
            "sites of its own",
        ),
        (&["--profile", "smoke", "--to", "127.0.0.1:1"], "--sink"),
        (&["--profile", "smoke", "--rate", "5"], "--rate"),
        (&["--profile", "smoke", "--compare", "nothing.json"], "--save"),
        (&["--save", "x.json", "--to", "127.0.0.1:1"], "--profile"),
    ] {
        let output = binary::command()
            .current_dir(folder.path())
            .arg("load")
            .args(arguments)
            .output()?;
        let said = said(&output);
        ensure!(
            output.status.code() == Some(2) && said.contains(word),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}
