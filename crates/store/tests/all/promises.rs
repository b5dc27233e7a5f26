//! Holding a backend to the contract, whichever it is: every case of the conformance suite, and a writer that
//! is killed at any moment.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures::StreamExt;
use store::conformance::{Case, CrashWriter, Fixture, cases, verify_after_crash};

use crate::support::block_on;

/// Part of the names of the cases to run, told one by one; for a server that takes its time.
const ONLY: &str = "HOLDFAST_TEST_CASES";

/// Runs every case, each on a place of its own: `place` makes it and what keeps it, `open` the fixture there.
pub(crate) fn keep_every_promise<P>(place: impl Fn() -> P, open: impl Fn(&P) -> Fixture, at_once: usize) {
    let run = |case: Case| {
        let (place, open) = (&place, &open);
        async move {
            let place = place();
            let begun = Instant::now();
            let outcome = (case.run)(open(&place)).await;
            if std::env::var_os(ONLY).is_some() {
                let kept = if outcome.is_ok() { "kept" } else { "broken" };
                let _ = writeln!(
                    std::io::stderr(),
                    "{kept} ({:.1?}): {}",
                    begun.elapsed(),
                    case.name
                );
            }
            outcome.err().map(|fault| format!("{}: {fault}", case.name))
        }
    };
    // All of them, unless somebody looks into some.
    let only = std::env::var(ONLY).unwrap_or_default();
    let chosen = cases().into_iter().filter(|case| case.name.contains(&only));
    // Side by side, so that they wait for the disk together.
    let runs = futures::stream::iter(chosen)
        .map(run)
        .buffer_unordered(at_once)
        .filter_map(std::future::ready);
    let broken: Vec<String> = block_on(runs.collect());
    assert!(
        broken.is_empty(),
        "{} broken promises:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

/// Writes until killed: the child's side of [`no_receipt_is_lost`].
pub(crate) fn write_until_killed(fixture: Fixture) {
    block_on(CrashWriter::run(fixture, std::io::stdout())).unwrap_or_else(|fault| panic!("{fault}"));
}

/// Kills the writer of the test `test`, which finds its store by the variable `name`, again and again; the
/// store then holds all that it had a receipt for.
pub(crate) fn no_receipt_is_lost(
    rounds: usize,
    test: &str,
    (name, value): (&str, &OsStr),
    fixture: impl Fn() -> Fixture,
) {
    let mut told = Vec::new();
    for round in 0..rounds {
        let lines = round * 7919 % 613 + 1; // from the first receipt to several segments on
        let of_round = write_and_kill(test, (name, value), lines);
        assert!(
            of_round.len() >= lines,
            "round {round}: the writer ended by itself after {} lines",
            of_round.len()
        );
        told.extend(of_round);
        let outcome = block_on(async {
            let store = fixture().open().await?;
            verify_after_crash(store, &told).await
        });
        outcome.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
    }
}

/// Runs a writer until it has told of `lines` receipts, kills it, and answers all that it told.
fn write_and_kill(test: &str, (name, value): (&str, &OsStr), lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(name, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut told = Vec::new();
    let mut line = String::new();
    // A line that the kill cut off has no end, and told of nothing.
    while output.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if line.starts_with("m ") || line.starts_with("d ") {
            told.push(line.trim_end().to_owned());
        }
        if told.len() >= lines {
            child.kill().unwrap(); // again and again does no harm; what is in the pipe is still read
        }
        line.clear();
    }
    let _ = child.kill();
    child.wait().unwrap();
    told
}
