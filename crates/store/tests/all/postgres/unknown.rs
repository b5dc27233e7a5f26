//! Commits whose answer does not come: what became of them is looked up, never guessed.

use std::time::Duration;

use futures::FutureExt;
use store::{CommitError, Store, Unit};

use super::support::{Led, options, slow_down, until};
use crate::scenes::{found_again, refused_alone, written_once};
use crate::support::block_on;

const WRITER: &str = "datname = current_database() AND application_name LIKE 'holdfast-writer %'";

/// Waits until the writer's session waits for `event`, then does `what` to it.
async fn when_waiting(database: &pgtest::Database<'_>, event: &str, what: &str) {
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE {WRITER} AND wait_event = '{event}'");
    until("the commit is in flight", async || database.sql(&waits) == "1").await;
    database.sql(&format!(
        "SELECT {what}(pid) FROM pg_stat_activity WHERE {WRITER} AND wait_event = '{event}'"
    ));
}

#[test]
fn a_commit_whose_session_is_ended_before_it_happened_is_written_once() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        slow_down(&database, 0.7);
        let units = ["slow", "other"].map(|id| Unit::one(led.message(1, id))).to_vec();
        let answer = led.store.submit(led.term, units);
        when_waiting(&database, "PgSleep", "pg_terminate_backend").await;
        written_once(&led, answer).await;
    });
}

/// A server whose commits wait for a standby that does not exist.
async fn forsaken(server: &pgtest::Server) {
    server.set("synchronous_standby_names", "ghost");
}

fn consoled(server: &pgtest::Server) {
    server.reset("synchronous_standby_names", "");
}

#[test]
fn a_commit_that_happened_before_its_session_was_ended_is_found() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        forsaken(&server).await;
        let answer = led.store.submit(led.term, vec![Unit::one(led.message(1, "C"))]);
        when_waiting(&database, "SyncRep", "pg_terminate_backend").await;
        consoled(&server);
        found_again(&led, answer).await;
    });
}

#[test]
fn a_commit_whose_wait_for_a_standby_is_cancelled_is_not_acknowledged_until_it_is_durable() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        forsaken(&server).await;
        let mut answer = led.store.submit(led.term, vec![Unit::one(led.message(1, "C"))]);
        // The server answers with success and a warning each time.
        for _ in 0..2 {
            when_waiting(&database, "SyncRep", "pg_cancel_backend").await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!((&mut answer).now_or_never().is_none(), "it was acknowledged");
        assert_eq!(database.sql("SELECT count(*) FROM holdfast.s000001_message"), "1");
        consoled(&server);
        answer.await.remove(0).unwrap();
        assert_eq!(led.store.census().await.unwrap().messages, 1);
    });
}

#[test]
fn a_store_that_is_closed_before_it_could_find_out_says_that_it_does_not_know() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        slow_down(&database, 5.0);
        let answer = led
            .store
            .submit(led.term, vec![Unit::one(led.message(1, "slow"))]);
        let waits =
            format!("SELECT count(*) FROM pg_stat_activity WHERE {WRITER} AND wait_event = 'PgSleep'");
        until("the commit is in flight", async || database.sql(&waits) == "1").await;
        server.crash();
        led.store.close().await.unwrap();
        let answer = answer.await.remove(0);
        assert!(matches!(answer, Err(CommitError::Unknown(_))), "{answer:?}");
        server.start_again();
    });
}

#[test]
fn a_unit_with_text_that_the_database_cannot_keep_is_refused_alone() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let entry = |number, poison| match poison {
            true => led.message(1, "a\0b"),
            false => led.message(1, &format!("C{number}")),
        };
        refused_alone(&led, entry, |text| text.contains("UTF8")).await;
    });
}
