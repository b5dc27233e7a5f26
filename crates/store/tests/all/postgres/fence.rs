//! Takeover: it waits for the handoff that is in flight and voids every later one; an attempt that came to
//! nothing voids none.

use std::time::{Duration, Instant};

use store::{CommitError, Store};

use super::support::{Led, open, options, slow_down, until};
use crate::scenes::{handed_over, leads_again};
use crate::support::block_on;

#[test]
fn a_takeover_waits_for_the_handoff_in_flight_and_fences_the_next() {
    let database = pgtest::server().database();
    block_on(async {
        let old = Led::open(options(&database.url(), None)).await;
        let new = open(options(&database.url(), None)).await.unwrap();
        slow_down(&database, 1.5);
        let begun = Instant::now();
        let in_flight = old.begin("slow");
        until("the handoff is in flight", async || is_sleeping(&database)).await;
        let term = new.acquire("other").await.unwrap();
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(1_400),
            "it did not wait: {waited:?}"
        );
        handed_over(&old, in_flight, &new, term).await;
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
        leads_again(&old, term).await;
    });
}
