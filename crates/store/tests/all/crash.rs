//! A process that is killed at any moment loses nothing that it had a receipt for.

use crate::promises::{no_receipt_is_lost, write_until_killed};
use crate::support::fixture;

/// Names the directory, and makes the test below write instead of doing nothing.
const DIRECTORY: &str = "STORE_CRASH_TEST_DIRECTORY";
const ROUNDS: usize = 20;
/// Segments are made and sealed many times a round.
const SEGMENT_ROWS: u64 = 400;

/// The child's side: not a test by itself.
#[test]
fn writer_of_the_crash_test() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let fixture = fixture(directory.as_ref(), Some(SEGMENT_ROWS));
    write_until_killed(fixture);
}

#[test]
fn no_receipt_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let place = (DIRECTORY, directory.path().as_os_str());
    no_receipt_is_lost(ROUNDS, "crash::writer_of_the_crash_test", place, || {
        fixture(directory.path(), Some(SEGMENT_ROWS))
    });
}
