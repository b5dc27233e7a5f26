//! Segments are dropped whole, oldest first, and only when nothing in them is open or too young.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{Clock, Timestamp};
use store::views::MessageFilter;
use store::{Error, Store};

use crate::support::{Led, block_on, options, until};

fn files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory.join("segments")).unwrap();
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "db")
        })
        .count()
}

async fn all_drained(led: &Led) {
    until("all full segments are drained", || {
        led.store.drained_count() + 1 == led.store.segment_count()
    })
    .await;
}

#[test]
fn drained_segments_are_dropped_up_to_an_age() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        for number in 0..100 {
            led.arrive(number, true).await;
        }
        until("the last full segment is left", || {
            led.store.segment_count() == 11
        })
        .await;
        all_drained(&led).await;
        let before = led.store.segment_count();
        let report = led.store.drop_segments(led.term, Timestamp(50)).await.unwrap();
        assert_eq!(report.stopped_by, "something in it is too young");
        assert_eq!(report.segments, 5, "ten messages a segment");
        assert_eq!(report.messages, 50);
        assert!(report.bytes > 0);
        assert_eq!(
            (led.store.segment_count(), files(directory.path())),
            (before - 5, before - 5)
        );

        let page = led
            .store
            .messages(&MessageFilter {
                limit: 1_000,
                ..MessageFilter::default()
            })
            .await
            .unwrap();
        assert_eq!(page.items.len(), 50);
        assert!(page.items.iter().all(|summary| summary.received_at.0 >= 50));
        led.store.close().await.unwrap();
        drop(led);
        let led = Led::open(options(directory.path(), Some(20))).await;
        assert_eq!(led.store.census().await.unwrap().messages, 50);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn an_open_message_keeps_its_segment_and_all_later_ones() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        for number in 0..15 {
            led.arrive(number, true).await;
        }
        let stuck = led.arrive(15, false).await;
        for number in 16..60 {
            led.arrive(number, true).await;
        }
        until("the first segment is drained", || led.store.drained_count() > 0).await;
        let report = led
            .store
            .drop_segments(led.term, Timestamp(i64::MAX))
            .await
            .unwrap();
        assert_eq!(
            (report.segments, report.stopped_by),
            (1, "something in it is open")
        );
        let open = led
            .store
            .open_messages(model::MessageId::default(), 10)
            .await
            .unwrap();
        assert_eq!(open.iter().map(|message| message.id).collect::<Vec<_>>(), [stuck]);

        led.dispose(stuck).await;
        let report = led
            .store
            .drop_segments(led.term, Timestamp(i64::MAX))
            .await
            .unwrap();
        assert!(report.segments >= 2, "{report:?}");
        assert!(
            led.store
                .open_messages(model::MessageId::default(), 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(led.store.message(stuck).await.unwrap().is_none());
    });
}

#[test]
fn a_term_that_does_not_lead_drops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        for number in 0..30 {
            led.arrive(number, true).await;
        }
        led.store.acquire("other").await.unwrap();
        let refused = led.store.drop_segments(led.term, Timestamp(i64::MAX)).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert_eq!(led.store.census().await.unwrap().messages, 30);
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
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::default());
    let mut options = options(directory.path(), None);
    options.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    options.segment_age_max = std::time::Duration::from_secs(60);
    options.segment_bytes_max = 1 << 20;
    block_on(async {
        let led = Led::open(options).await;
        led.arrive(1, true).await;
        assert_eq!(led.store.segment_count(), 1);
        clock.0.fetch_add(61_000_000, Ordering::Relaxed);
        led.arrive(1, true).await;
        until("age ends a segment", || led.store.segment_count() == 2).await;
        for _ in 0..12 {
            let unit = store::Unit::one(led.message(1, 100_000));
            led.store.submit(led.term, vec![unit]).await.remove(0).unwrap();
        }
        until("size ends a segment", || led.store.segment_count() == 3).await;
    });
}
