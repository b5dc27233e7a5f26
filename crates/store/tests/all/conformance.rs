//! The SQLite backend against the conformance suite: once as it ships, once with segments so small that
//! every story crosses several.

use futures::StreamExt;
use store::conformance::{Case, cases};

use crate::support::{block_on, fixture};

fn run_all(rows: Option<u64>) {
    let run = |case: Case| async move {
        let directory = tempfile::tempdir().unwrap();
        let outcome = (case.run)(fixture(directory.path(), rows)).await;
        outcome.err().map(|fault| format!("{}: {fault}", case.name))
    };
    // Side by side, so that they wait for the disk together.
    let runs = futures::stream::iter(cases())
        .map(run)
        .buffer_unordered(8)
        .filter_map(std::future::ready);
    let broken: Vec<String> = block_on(runs.collect());
    assert!(
        broken.is_empty(),
        "{} broken promises:\n{}",
        broken.len(),
        broken.join("\n")
    );
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
