//! The SQLite backend against the conformance suite: once as it ships, once with segments so small that
//! every story crosses several.

use crate::promises::keep_every_promise;
use crate::support::fixture;

fn run_all(rows: Option<u64>) {
    let directory = || tempfile::tempdir().unwrap();
    keep_every_promise(directory, |directory| fixture(directory.path(), rows), 8);
}

#[test]
fn sqlite_keeps_every_promise_of_the_contract() {
    run_all(None);
}

#[test]
fn sqlite_keeps_them_across_many_small_segments() {
    for rows in [7, 40] {
        run_all(Some(rows));
    }
}
