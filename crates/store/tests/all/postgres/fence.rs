//! Takeover: it waits for the handoff that is in flight and voids every later one; an attempt that came to
//! nothing voids none.

use std::time::{Duration, Instant};

use store::{CommitError, Store};

use super::support::{Led, open, options, slow_down, until};
use crate::support::block_on;

#[test]
fn a_takeover_waits_for_the_handoff_in_flight_and_fences_the_next() {
    let database = pgtest::server().database();
    block_on(async {
        let old = Led::open(options(&database.url(), None)).await;
        let new = open(options(&database.url(), None)).await.unwrap();
        slow_down(&database, 1.5);
        let begun = Instant::now();
        let in_flight = old
            .store
            .submit(old.term, vec![store::Unit::one(old.message(1, "slow"))]);
        until("the handoff is in flight", async || is_sleeping(&database)).await;
        let term = new.acquire("other").await.unwrap();
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(1_400),
            "it did not wait: {waited:?}"
        );
        let receipt = in_flight
            .await
            .remove(0)
            .expect("it was committed before the takeover");
        let found = new.message(model::MessageId(receipt.rows[0])).await.unwrap();
        assert!(found.is_some(), "the new leader sees it at once");
        let late = old.commit(vec![old.message(2, "late")]).await;
        assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
        assert_eq!(new.census().await.unwrap().messages, 1);
        new.release(term).await.unwrap();
    });
}

fn is_sleeping(database: &pgtest::Database<'_>) -> bool {
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    database.sql(count) != "0"
}

/// Changes the shard's row for a second, and ends as asked.
fn take_over(database: &pgtest::Database<'_>, end: &str) -> pgtest::Running {
    database.begin_sql(&format!(
        "BEGIN; UPDATE holdfast.shard SET epoch = epoch + 1, term = gen_random_uuid(); SELECT pg_sleep(1); {end}"
    ))
}

#[test]
fn a_handoff_that_meets_a_takeover_waits_for_its_end_and_obeys_it() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        for (end, fenced) in [("ROLLBACK", false), ("COMMIT", true)] {
            let takeover = take_over(&database, end);
            until("the takeover holds the row", async || is_sleeping(&database)).await;
            let answer = led.commit(vec![led.message(1, end)]).await;
            assert_eq!(
                matches!(answer, Err(CommitError::Fenced)),
                fenced,
                "{end}: {answer:?}"
            );
            assert_eq!(answer.is_ok(), !fenced, "{end}: {answer:?}");
            takeover.wait();
        }
        assert_eq!(led.store.census().await.unwrap().messages, 1);
    });
}

#[test]
fn a_takeover_ends_the_session_of_the_leader_before() {
    let database = pgtest::server().database();
    let writers = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name LIKE 'holdfast-writer 1 %'";
    block_on(async {
        let old = Led::open(options(&database.url(), None)).await;
        assert_eq!(database.sql(writers), "1");
        let new = open(options(&database.url(), None)).await.unwrap();
        let term = new.acquire("other").await.unwrap();
        until("the older session is gone", async || database.sql(writers) == "0").await;
        assert!(matches!(
            old.commit(vec![old.message(1, "late")]).await,
            Err(CommitError::Fenced)
        ));
        // It may lead again, on a connection of its own.
        let again = old.store.acquire("node").await.unwrap();
        assert_eq!(again.epoch.0, term.epoch.0 + 1);
        let unit = vec![store::Unit::one(old.message(1, "again"))];
        old.store.submit(again, unit).await.remove(0).unwrap();
    });
}
