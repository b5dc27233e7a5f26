//! The conformance suite: once as the backend ships, once with segments so small that every story crosses
//! several.

use futures::StreamExt;
use store::conformance::{Case, cases};

use super::support::fixture;
use crate::support::block_on;

fn run_all(rows: Option<u64>) {
    let run = |case: Case| async move {
        let database = pgtest::server().database();
        let outcome = (case.run)(fixture(&database.url(), rows)).await;
        outcome.err().map(|fault| format!("{}: {fault}", case.name))
    };
    // Side by side, so that they wait for the disk together.
    let runs = futures::stream::iter(cases())
        .map(run)
        .buffer_unordered(6)
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
fn postgresql_keeps_every_promise_of_the_contract() {
    run_all(None);
}

#[test]
fn postgresql_keeps_them_across_many_small_segments() {
    run_all(Some(40));
}

#[test]
fn postgresql_keeps_them_across_tiny_segments() {
    run_all(Some(7));
}
