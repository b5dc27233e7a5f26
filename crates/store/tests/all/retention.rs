//! Segments are dropped whole, or made anew with what has to stay, and their room is free again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{Clock, Timestamp};
use store::views::MessageFilter;
use store::{Done, Entry, Horizon, RetentionRules, Store};

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

/// Retires every full segment; how many were dropped, and how many made anew.
async fn retire(led: &Led, received_before: i64) -> (usize, usize) {
    let rules = RetentionRules::all(Timestamp(received_before));
    let mut done = Vec::new();
    for segment in led.store.segments().await.unwrap() {
        let retired = led.store.retire_segment(led.term, segment.number, &rules).await;
        done.extend(retired.unwrap().map(|retired| retired.done));
    }
    let count = |what: fn(&Done) -> bool| done.iter().filter(|done| what(done)).count();
    (
        count(|done| matches!(done, Done::Dropped(bytes) if *bytes > 0)),
        count(|done| matches!(done, Done::Shrunk(_))),
    )
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
        let (before, size) = (led.store.segment_count(), led.store.size_bytes().await.unwrap());
        assert_eq!(retire(&led, 50).await, (5, 0), "ten messages a segment");
        assert!(led.store.size_bytes().await.unwrap() < size);
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
fn one_open_message_keeps_little_of_a_large_segment_and_nothing_of_others() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(40))).await;
        let mut stuck = Vec::new();
        for number in 0..80 {
            let open = number == 25;
            let unit = store::Unit::one(led.message(number, 50_000));
            let receipt = led.store.submit(led.term, vec![unit]).await.remove(0).unwrap();
            let id = model::MessageId(receipt.rows[0]);
            if open {
                stuck.push(id);
            } else {
                led.dispose(id).await;
            }
        }
        until("the last full segment is left", || led.store.segment_count() >= 4).await;
        until("all but one are drained", || {
            led.store.drained_count() + 2 == led.store.segment_count()
        })
        .await;
        // A connection that was lent before does not hold the old file.
        let body = led.store.messages_for_work(&stuck).await.unwrap();
        let size = led.store.size_bytes().await.unwrap();
        let (dropped, shrunk) = retire(&led, i64::MAX).await;
        assert_eq!((dropped + 2, shrunk), (led.store.segment_count() + dropped, 1));
        let after = led.store.size_bytes().await.unwrap();
        assert!(after < size / 2, "{after} of {size}"); // the open segment is what is left
        let left = led.store.segments().await.unwrap();
        assert!(left[0].bytes < 300_000, "{left:?}");
        let kept = led.store.messages_for_work(&stuck).await.unwrap();
        let bytes =
            |works: &[Option<store::WorkMessage>]| works[0].as_ref().map(|work| work.body.bytes().clone());
        assert_eq!(bytes(&kept), bytes(&body));
        assert!(bytes(&kept).is_some());
        led.dispose(stuck[0]).await;
        assert_eq!(retire(&led, i64::MAX).await, (1, 0));
        assert!(led.store.message(stuck[0]).await.unwrap().is_none());
    });
}

/// Retires every full segment: bodies of all messages may go, and nothing else.
async fn remove_bodies(led: &Led) -> Vec<store::Retired> {
    let rules = RetentionRules {
        messages: Horizon::all(Timestamp(0)),
        bodies: Horizon::all(Timestamp(i64::MAX)),
    };
    let mut retired = Vec::new();
    for segment in led.store.segments().await.unwrap() {
        let one = led.store.retire_segment(led.term, segment.number, &rules).await;
        retired.extend(one.unwrap());
    }
    retired
}

#[test]
fn bodies_that_go_are_in_no_file_any_more_and_their_room_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let holding = |what: &[u8]| {
        let files = std::fs::read_dir(directory.path().join("segments")).unwrap();
        let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files
            .filter(|bytes| bytes.windows(what.len()).any(|window| window == what))
            .count()
    };
    block_on(async {
        let mut options = options(directory.path(), Some(40));
        options.compress = false; // a body lies in the file as it came
        let led = Led::open(options).await;
        let mut first = None;
        for number in 1..80 {
            let mut entry = led.message(number, 50_000);
            if let (Entry::Message(new), 1) = (&mut entry, number) {
                new.body = model::Body::from(&b"PID|1||SENTINEL-4711||Sample^Ann"[..]);
                new.keys.add("mrn", "KEY-OF-4711");
            }
            let unit = store::Unit::one(entry);
            let receipt = led.store.submit(led.term, vec![unit]).await.remove(0).unwrap();
            let id = model::MessageId(receipt.rows[0]);
            first.get_or_insert(id);
            led.dispose(id).await;
        }
        all_drained(&led).await;
        let size = led.store.size_bytes().await.unwrap();
        assert_eq!((holding(b"SENTINEL-4711"), holding(b"KEY-OF-4711")), (1, 1));
        let retired = remove_bodies(&led).await;
        assert!(
            retired
                .iter()
                .all(|one| matches!(one.done, Done::Shrunk(bytes) if bytes > 0))
        );
        let after = led.store.size_bytes().await.unwrap();
        assert!(after < size / 2, "{after} of {size}"); // the open segment is what is left
        assert_eq!((holding(b"SENTINEL-4711"), holding(b"KEY-OF-4711")), (0, 0));
        assert_eq!(led.store.census().await.unwrap().messages, 79);
        let message = led.store.message(first.unwrap()).await.unwrap().unwrap();
        assert!(message.body.is_none() && message.summary.size == 32);
        let again = remove_bodies(&led).await;
        assert!(again.iter().all(|one| one.done == Done::Kept), "{again:?}");
    });
}

#[test]
fn an_interrupted_rewrite_leaves_the_old_segment_and_no_rest() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        for number in 0..30 {
            led.arrive(number, number != 3).await;
        }
        led.store.close().await.unwrap();
        drop(led);
        let rest = directory.path().join("segments/000001.db-new");
        std::fs::write(&rest, b"half a file").unwrap();
        std::fs::write(directory.path().join("segments/000001.db-new-wal"), b"").unwrap();
        let led = Led::open(options(directory.path(), Some(20))).await;
        assert!(!rest.exists());
        assert_eq!(led.store.census().await.unwrap().messages, 30);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn readers_and_writers_go_on_while_segments_are_retired() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        let mut stuck = Vec::new();
        for round in 0..20 {
            for number in 0..30 {
                led.arrive(number, true).await;
            }
            stuck.push(led.arrive(round, false).await);
            let asked = stuck.clone();
            let (retired, works, open) = tokio::join!(
                retire(&led, i64::MAX),
                led.store.messages_for_work(&asked),
                led.store.open_messages(model::MessageId::default(), 100),
            );
            assert!(
                works.unwrap().iter().all(Option::is_some),
                "round {round}: {retired:?}"
            );
            let open: Vec<_> = open.unwrap().iter().map(|message| message.id).collect();
            assert_eq!(open, stuck, "round {round}");
        }
        assert!(led.store.census().await.unwrap().messages < 200);
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
