//! The conformance suite: once as the backend ships, once with segments so small that every story crosses
//! several.

use super::support::fixture;
use crate::promises::keep_every_promise;

fn run_all(rows: Option<u64>) {
    let database = || pgtest::server().database();
    keep_every_promise(database, |database| fixture(&database.url(), rows), 6);
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
