//! The conformance suite: once as the backend ships, and with segments so small that every story crosses several. The same
//! cases as for every other backend; see `support.rs` for the server they need.

use std::ffi::OsString;

use super::support::{fixture, server};
use crate::promises::{keep_every_promise, no_receipt_is_lost, write_until_killed};

fn run_all(rows: Option<u64>) {
    let Some(server) = server() else { return };
    keep_every_promise(
        || server.database(),
        |database| fixture(database.options(rows)),
        4,
    );
}

#[test]
fn sql_server_keeps_every_promise_of_the_contract() {
    run_all(None);
}

#[test]
fn sql_server_keeps_them_across_many_small_segments() {
    run_all(Some(40));
}

#[test]
fn sql_server_keeps_them_across_tiny_segments() {
    run_all(Some(7));
}

/// The database of the writer that is killed.
const STORE: &str = "HOLDFAST_TEST_SQLSERVER_STORE";

fn options_of(url: &str) -> store::sqlserver::Options {
    let mut options = store::sqlserver::Options::new(url);
    options.password = std::env::var(super::support::PASSWORD).ok();
    options.segment_rows_max = 300;
    options
}

#[test]
fn the_writer_that_is_killed() {
    if let Ok(url) = std::env::var(STORE) {
        write_until_killed(fixture(options_of(&url)));
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_loses_no_receipt() {
    let Some(server) = server() else { return };
    let database = server.database();
    let url = database.url();
    let writer = "sqlserver::conformance::the_writer_that_is_killed";
    let value = OsString::from(&url);
    no_receipt_is_lost(6, writer, (STORE, &value), || fixture(options_of(&url)));
}
