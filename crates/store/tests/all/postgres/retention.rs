//! Segments are dropped whole, oldest first, and only when nothing in them is open or too young.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, MessageId, Timestamp};
use store::views::MessageFilter;
use store::{Error, Store};

use super::support::{Led, options, until};
use crate::support::block_on;

fn tables(database: &pgtest::Database<'_>) -> usize {
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'holdfast' AND tablename LIKE '%_message'";
    database.sql(count).parse().unwrap()
}

/// Waits until there are so many segments, the last of them open; the writer makes it after the commit that
/// filled the one before.
async fn all_drained(led: &Led, segments: usize) {
    until("all full segments are drained", async || {
        led.store.segments().await.unwrap() == (segments, segments - 1)
    })
    .await;
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
        let size = led.store.size_bytes().await.unwrap();
        let report = led.store.drop_segments(led.term, Timestamp(50)).await.unwrap();
        assert_eq!(report.stopped_by, "something in it is too young");
        assert_eq!((report.segments, report.messages), (5, 50));
        assert!(report.bytes > 0 && led.store.size_bytes().await.unwrap() < size);
        assert_eq!(led.store.segments().await.unwrap().0, before - 5);
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
fn an_open_message_keeps_its_segment_and_all_later_ones() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..15 {
            led.arrive(number, true).await;
        }
        let stuck = led.arrive(15, false).await;
        for number in 16..60 {
            led.arrive(number, true).await;
        }
        until("the first segment is drained", async || {
            led.store.segments().await.unwrap().1 > 0
        })
        .await;
        let everything = Timestamp(i64::MAX);
        let report = led.store.drop_segments(led.term, everything).await.unwrap();
        assert_eq!(
            (report.segments, report.stopped_by),
            (1, "something in it is open")
        );
        let open = led.store.open_messages(MessageId::default(), 10).await.unwrap();
        assert_eq!(open.iter().map(|message| message.id).collect::<Vec<_>>(), [stuck]);

        led.dispose(stuck).await;
        let report = led.store.drop_segments(led.term, everything).await.unwrap();
        assert!(report.segments >= 2, "{report:?}");
        assert!(
            led.store
                .open_messages(MessageId::default(), 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(led.store.message(stuck).await.unwrap().is_none());
    });
}

#[test]
fn a_term_that_does_not_lead_drops_nothing() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..30 {
            led.arrive(number, true).await;
        }
        led.store.acquire("other").await.unwrap();
        let refused = led.store.drop_segments(led.term, Timestamp(i64::MAX)).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert_eq!(led.store.census().await.unwrap().messages, 30);
    });
}

#[test]
fn a_segment_that_somebody_reads_is_dropped_another_time() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..25 {
            led.arrive(number, true).await;
        }
        all_drained(&led, 3).await;
        let reader =
            database.begin_sql("BEGIN; SELECT count(*) FROM holdfast.s000001_message; SELECT pg_sleep(2)");
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'holdfast.s000001_message'::regclass";
        until("somebody reads", async || database.sql(locks) != "0").await;
        let everything = Timestamp(i64::MAX);
        let report = led.store.drop_segments(led.term, everything).await.unwrap();
        assert_eq!(
            (report.segments, report.stopped_by),
            (0, "somebody reads it at this moment")
        );
        led.arrive(99, true).await;
        reader.wait();
        let report = led.store.drop_segments(led.term, everything).await.unwrap();
        assert!(report.segments > 0, "{report:?}");
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
        assert_eq!(led.store.segments().await.unwrap().0, 1);
        clock.0.fetch_add(61_000_000, Ordering::Relaxed);
        led.arrive(1, true).await;
        let segments = async |count| led.store.segments().await.unwrap().0 == count;
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
        for (column, value) in [("control_id", "'C1'"), ("kind", "'ADT^A01'"), ("inbound", "1")] {
            let plan = database.sql(&format!(
                "SET enable_seqscan = off; SET enable_sort = off;
                 EXPLAIN SELECT id FROM holdfast.s000001_message WHERE {column} = {value} AND id < 9e18::bigint
                 ORDER BY id DESC LIMIT 10"
            ));
            assert!(plan.contains(&format!("message_by_{column}")), "{plan}");
        }
    });
}
