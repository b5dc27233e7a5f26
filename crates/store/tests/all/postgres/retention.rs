//! Segments are dropped whole, or made anew with what has to stay, and their room is free again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, MessageId, Timestamp};
use store::views::MessageFilter;
use store::{Done, Horizon, RetentionRules, Store};

use super::support::{Led, options, retire, until};
use crate::support::block_on;

fn tables(database: &pgtest::Database<'_>) -> usize {
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'holdfast' AND tablename LIKE '%_message'";
    database.sql(count).parse().unwrap()
}

/// Waits until there are so many segments, the last of them open; the writer makes it after the commit that
/// filled the one before.
async fn all_drained(led: &Led, segments: usize) {
    until("all full segments are drained", async || {
        led.store.segment_counts().await.unwrap() == (segments, segments - 1)
    })
    .await;
}

fn database_bytes(database: &pgtest::Database<'_>) -> u64 {
    database
        .sql("SELECT pg_database_size(current_database())")
        .parse()
        .unwrap()
}

#[test]
fn drained_segments_are_dropped_up_to_an_age() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..100 {
            led.arrive(number, true).await;
        }
        // Ten messages a segment.
        let before = 11;
        all_drained(&led, before).await;
        let (size, whole) = (led.store.size_bytes().await.unwrap(), database_bytes(&database));
        assert_eq!(retire(&led, 50).await, (5, 0, 0));
        assert!(led.store.size_bytes().await.unwrap() < size);
        assert!(database_bytes(&database) < whole);
        assert_eq!(led.store.segment_counts().await.unwrap().0, before - 5);
        // One more was made ahead.
        assert_eq!(tables(&database), before - 5 + 1);
        let all = MessageFilter {
            limit: 1_000,
            ..MessageFilter::default()
        };
        let page = led.store.messages(&all).await.unwrap();
        assert_eq!(page.items.len(), 50);
        assert!(page.items.iter().all(|summary| summary.received_at.0 >= 50));
        led.store.close().await.unwrap();
        let led = Led::open(options(&database.url(), Some(20))).await;
        assert_eq!(led.store.census().await.unwrap().messages, 50);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn one_open_message_keeps_little_of_a_large_segment() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(40))).await;
        let large = led.commit(vec![led.large_message(20_000_000)]).await.unwrap();
        led.dispose(MessageId(large.rows[0])).await;
        let stuck = led.arrive(1, false).await;
        let kept = led.arrive(1, true).await;
        for number in 0..40 {
            led.arrive(number, true).await;
        }
        until("the first segment is full", async || {
            let segments = led.store.segments().await.unwrap();
            segments[0].sealed && segments.len() > 1
        })
        .await;
        let whole = database_bytes(&database);
        assert_eq!(retire(&led, i64::MAX).await.1, 1);
        assert!(database_bytes(&database) + 15_000_000 < whole);
        assert!(led.store.message(kept).await.unwrap().is_none());
        let body = led.store.messages_for_work(&[stuck]).await.unwrap().remove(0);
        assert_eq!(body.unwrap().body.bytes().len(), 300);
        let plan = database.sql(
            "SET enable_seqscan = off; SET enable_sort = off;
             EXPLAIN SELECT id FROM holdfast.s000001_message WHERE control_id = 'C1' ORDER BY id DESC LIMIT 10",
        );
        assert!(
            plan.contains("Index"),
            "the new tables have the indexes of the old: {plan}"
        );
        led.dispose(stuck).await;
        assert!(retire(&led, i64::MAX).await.0 >= 1);
        assert!(led.store.message(stuck).await.unwrap().is_none());
    });
}

#[test]
fn the_room_of_bodies_that_go_is_free_and_their_message_stays() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(40))).await;
        let large = led.commit(vec![led.large_message(20_000_000)]).await.unwrap();
        let large = MessageId(large.rows[0]);
        led.dispose(large).await;
        let open = led.arrive(1, false).await;
        for number in 0..40 {
            led.arrive(number, true).await;
        }
        until("the first segment is full", async || {
            let segments = led.store.segments().await.unwrap();
            segments[0].sealed && segments.len() > 1
        })
        .await;
        let (whole, messages) = (
            database_bytes(&database),
            led.store.census().await.unwrap().messages,
        );
        let rules = RetentionRules {
            messages: Horizon::all(Timestamp(i64::MIN)),
            bodies: Horizon::all(Timestamp(i64::MAX)),
        };
        let retire = async || led.store.retire_segment(led.term, 1, &rules).await.unwrap();
        let done = retire().await.map(|retired| retired.done);
        assert!(
            matches!(done, Some(Done::Shrunk(bytes)) if bytes > 15_000_000),
            "{done:?}"
        );
        assert!(database_bytes(&database) + 15_000_000 < whole);
        let detail = led.store.message(large).await.unwrap().unwrap();
        assert!(detail.body.is_none() && detail.summary.size == 20_000_000);
        let body = led.store.messages_for_work(&[open]).await.unwrap().remove(0);
        assert_eq!(body.unwrap().body.bytes().len(), 300);
        assert_eq!(led.store.census().await.unwrap().messages, messages);
        assert_eq!(retire().await.map(|retired| retired.done), Some(Done::Kept));
        let left =
            "SELECT count(*) || ' ' || sum(octet_length(body)) FROM holdfast.s000001_message WHERE enc = 2";
        let left = database.sql(left);
        let (rows, bytes) = left.split_once(' ').unwrap();
        let (rows, bytes): (u64, u64) = (rows.parse().unwrap(), bytes.parse().unwrap());
        assert!(rows > 10 && bytes == 8 * rows, "{left}");
        let plan = database.sql(
            "SET enable_seqscan = off; SET enable_sort = off;
             EXPLAIN SELECT id FROM holdfast.s000001_message WHERE control_id = 'C1' ORDER BY id DESC LIMIT 10",
        );
        assert!(plan.contains("Index"), "{plan}");
    });
}

#[test]
fn a_segment_that_somebody_reads_is_left_and_nobody_queues_behind_it() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..25 {
            led.arrive(number, true).await;
        }
        all_drained(&led, 3).await;
        let reader =
            database.begin_sql("BEGIN; SELECT count(*) FROM holdfast.s000001_message; SELECT pg_sleep(6)");
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'holdfast.s000001_message'::regclass";
        until("somebody reads", async || database.sql(locks) != "0").await;
        let (retired, waiting, ()) = tokio::join!(
            retire(&led, i64::MAX),
            async {
                let mut waiting = 0;
                for _ in 0..20 {
                    waiting += database
                        .sql(&format!("{locks} AND NOT granted"))
                        .parse::<usize>()
                        .unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                waiting
            },
            async {
                led.arrive(99, true).await;
            },
        );
        assert_eq!((retired.2, waiting), (1, 0), "{retired:?}");
        reader.wait();
        assert!(retire(&led, i64::MAX).await.0 > 0);
    });
}

#[test]
fn a_term_that_ended_meanwhile_leaves_a_segment_as_it_was() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        led.arrive(1, false).await;
        for number in 0..25 {
            led.arrive(number, true).await;
        }
        until("the first segment is full", async || {
            let segments = led.store.segments().await.unwrap();
            segments[0].sealed && segments.len() > 1
        })
        .await;
        let rules = RetentionRules::all(Timestamp(i64::MAX));
        let retire = || led.store.retire_segment(led.term, 1, &rules);
        let messages = || database.sql("SELECT count(*) FROM holdfast.s000001_message");
        let whole = messages();
        // The new tables are filled and wait for the old ones, which somebody reads, when another term begins.
        let reader =
            database.begin_sql("BEGIN; SELECT count(*) FROM holdfast.s000001_message; SELECT pg_sleep(1.2)");
        let reads = "SELECT count(*) FROM pg_locks WHERE relation = 'holdfast.s000001_message'::regclass";
        until("somebody reads", async || database.sql(reads) != "0").await;
        let (retired, ()) = tokio::join!(retire(), async {
            let copying = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            until("the new tables are there", async || database.sql(copying) != "0").await;
            database.sql("UPDATE holdfast.lease SET epoch = epoch + 1");
        });
        reader.wait();
        let Err(store::Error::Refused(text)) = retired else {
            panic!("{retired:?}");
        };
        assert!(text.contains("no longer leads"), "{text}");
        assert_eq!(messages(), whole, "nothing of what it did stays");
        database.sql("UPDATE holdfast.lease SET epoch = epoch - 1");
        let retired = retire().await.unwrap().map(|retired| retired.done);
        assert!(matches!(retired, Some(Done::Shrunk(_))), "{retired:?}");
        assert_ne!(messages(), whole);
    });
}

#[derive(Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn a_segment_ends_by_age_and_by_size_too() {
    let database = pgtest::server().database();
    let clock = Arc::new(HandClock::default());
    let mut options = options(&database.url(), None);
    options.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    options.segment_age_max = Duration::from_secs(60);
    options.segment_bytes_max = 1 << 20;
    block_on(async {
        let led = Led::open(options).await;
        led.arrive(1, true).await;
        assert_eq!(led.store.segment_counts().await.unwrap().0, 1);
        clock.0.fetch_add(61_000_000, Ordering::Relaxed);
        led.arrive(1, true).await;
        let segments = async |count| led.store.segment_counts().await.unwrap().0 == count;
        until("age ends a segment", async || segments(2).await).await;
        let bodies = (0..12).map(|_| store::Unit::one(led.large_message(100_000)));
        for answer in led.store.submit(led.term, bodies.collect()).await {
            answer.unwrap();
        }
        until("size ends a segment", async || segments(3).await).await;
    });
}

#[test]
fn a_sealed_segment_has_the_indexes_that_listings_use() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..15 {
            led.arrive(number, true).await;
        }
        all_drained(&led, 2).await;
        for (index, condition) in [
            ("control_id", "control_id = 'C1'"),
            ("inbound", "inbound = 1 AND coalesce(kind, '') = 'ADT^A01'"),
        ] {
            let plan = database.sql(&format!(
                "SET enable_seqscan = off; SET enable_sort = off;
                 EXPLAIN SELECT id FROM holdfast.s000001_message WHERE {condition} AND id < 9e18::bigint
                 ORDER BY id DESC LIMIT 10"
            ));
            assert!(plan.contains(&format!("message_by_{index}")), "{plan}");
        }
    });
}
