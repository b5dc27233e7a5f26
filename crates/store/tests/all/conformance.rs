//! The SQLite backend against the conformance suite: once as it ships, once with segments so small that
//! every story crosses several.

use std::path::Path;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use store::Store;
use store::conformance::{Case, Fixture, cases};
use store::sqlite::{self, Options};

/// How to open a store in `directory`, with segments of at most `rows` rows.
pub(crate) fn fixture(directory: &Path, rows: Option<u64>) -> Fixture {
    let mut options = Options::new(directory);
    options.segment_rows_max = rows.unwrap_or(options.segment_rows_max);
    Fixture::new(move || {
        let options = options.clone();
        async move { Ok(Arc::new(sqlite::open(options)?) as Arc<dyn Store>) }.boxed()
    })
}

fn run_all(rows: Option<u64>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
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
    let broken: Vec<String> = runtime.block_on(runs.collect());
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
