//! A process that is killed at any moment loses nothing that it had a receipt for.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use store::conformance::{CrashWriter, verify_after_crash};

use super::support::fixture;
use crate::support::block_on;

/// Names the database, and makes the test below write instead of doing nothing.
const URL: &str = "STORE_CRASH_TEST_URL";
const ROUNDS: usize = 8;
/// Segments are made and sealed many times a round.
const SEGMENT_ROWS: u64 = 400;

/// The child's side: not a test by itself.
#[test]
fn writer_of_the_crash_test() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let fixture = fixture(&url, Some(SEGMENT_ROWS));
    block_on(CrashWriter::run(fixture, std::io::stdout())).unwrap_or_else(|fault| panic!("{fault}"));
}

/// Runs a writer until it has told of `lines` receipts, kills it, and answers all that it told.
fn write_and_kill(url: &str, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "postgres::crash::writer_of_the_crash_test",
            "--nocapture",
        ])
        .env(URL, url)
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

#[test]
fn no_receipt_is_lost_when_the_process_is_killed() {
    let database = pgtest::server().database();
    let url = database.url();
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        let lines = round * 7919 % 613 + 1; // from the first receipt to several segments on
        let of_round = write_and_kill(&url, lines);
        assert!(
            of_round.len() >= lines,
            "round {round}: the writer ended by itself after {} lines",
            of_round.len()
        );
        told.extend(of_round);
        let outcome = block_on(async {
            let store = fixture(&url, Some(SEGMENT_ROWS)).open().await?;
            verify_after_crash(store, &told).await
        });
        outcome.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
    }
}
