//! A process that is killed at any moment loses nothing that it had a receipt for.

use super::support::fixture;
use crate::promises::{no_receipt_is_lost, write_until_killed};

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
    write_until_killed(fixture);
}

#[test]
fn no_receipt_is_lost_when_the_process_is_killed() {
    let database = pgtest::server().database();
    let url = database.url();
    let place = (URL, url.as_ref());
    no_receipt_is_lost(ROUNDS, "postgres::crash::writer_of_the_crash_test", place, || {
        fixture(&url, Some(SEGMENT_ROWS))
    });
}
