//! Real runs of three fixed seeds, against the binary built from this source. Where namespaces cannot be had, they are
//! left out, and say why.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const SEEDS: [u64; 3] = [1, 2, 3];

/// Why a run is not possible here, if it is not.
fn missing() -> Option<String> {
    if std::env::var_os("HOLDFAST_WITHOUT_HAPROXY").is_some() {
        return Some("HOLDFAST_WITHOUT_HAPROXY is set".to_owned());
    }
    chaos::clean::able().err().map(|error| format!("{error:#}"))
}

fn left_out(what: &str) -> bool {
    let Some(why) = missing() else {
        return false;
    };
    // Past the harness, which would swallow it of a test that passes.
    let _ = writeln!(std::io::stderr(), "left out: {what}: {why}");
    true
}

fn chaos(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn namespaces(pid: u32) -> Vec<String> {
    chaos::world::net::namespaces(Some(pid))
}

/// One after the other: each run is a whole cluster, and they would starve each other of cores.
#[test]
fn three_seeds_lose_nothing_and_a_run_that_is_broken_off_leaves_nothing_behind() -> Result<()> {
    if left_out("live chaos") {
        return Ok(());
    }
    let binary = tests::binary::path().display().to_string();
    for seed in SEEDS {
        let output = chaos(&[
            "run",
            "--seconds",
            "12",
            "--seed",
            &seed.to_string(),
            "--binary",
            &binary,
        ])
        .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "seed {seed}: {}: {said}{complained}",
            output.status
        );
        ensure!(said.contains("passed"), "seed {seed} says: {said}");
    }
    broken_off(&binary)
}

fn broken_off(binary: &str) -> Result<()> {
    let mut run = chaos(&["run", "--seed", "1", "--binary", binary])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = run.id();
    let begun = Instant::now();
    while namespaces(pid).len() < 6 {
        ensure!(
            begun.elapsed() < Duration::from_secs(30),
            "it made no namespaces: {:?}",
            run.try_wait()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    chaos::shell::signal(pid, rustix::process::Signal::TERM)?;
    let status = chaos::shell::until("the run to end", Duration::from_secs(30), || {
        run.try_wait()?.context("it still runs")
    })?;
    ensure!(!status.success(), "a run that was broken off ended with {status}");
    ensure!(namespaces(pid).is_empty(), "left behind: {:?}", namespaces(pid));
    for folder in chaos::world::names::folders(pid) {
        chaos::clean::remove_folder(&folder);
    }
    Ok(())
}

#[test]
fn what_is_asked_for_wrongly_is_explained() -> Result<()> {
    for (arguments, wanted) in [
        (
            &["run", "--only", "meteor"][..],
            "there is no such fault; there are kill, stop",
        ),
        (&["run", "--seeds", "20-1"][..], "write it as 1-20"),
        (
            &["run", "--binary", "/nowhere/holdfast"][..],
            "cargo build -p holdfast",
        ),
        (
            &["run", "--only", "kill", "--without", "kill"][..],
            "no kind of fault is left",
        ),
    ] {
        let output = chaos(arguments).output()?;
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && complained.contains(wanted),
            "{arguments:?}: {complained}"
        );
    }
    Ok(())
}
