//! Reads by a process that does not lead, while the one that leads removes segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Timestamp;
use store::{Done, RetentionRules, Store};

use super::support::{Led, open, options, until};
use crate::support::block_on;

#[test]
fn what_another_node_removes_is_seen_whole_or_not_at_all() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(40))).await;
        // Each segment keeps something that is open, so that it is made anew with that.
        for number in 0..30 {
            led.arrive(number, false).await;
            for _ in 0..12 {
                led.arrive(number, true).await;
            }
        }
        until("all full segments are sealed", async || {
            let segments = led.store.segments().await.unwrap();
            segments.len() > 8
                && segments[..segments.len() - 1]
                    .iter()
                    .all(|segment| segment.sealed)
        })
        .await;
        let watcher = Arc::new(open(options(&database.url(), None)).await.unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let watching: Vec<_> = (0..3)
            .map(|_| {
                let (watcher, stop) = (Arc::clone(&watcher), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut reads = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let census = watcher.census().await.unwrap();
                        let told: u64 = census.dispositions.iter().map(|(_, count)| count).sum();
                        assert_eq!(told, census.messages, "{census:?}");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let before = watcher.census().await.unwrap().messages;
        let rules = RetentionRules::all(Timestamp(i64::MAX));
        let mut anew = 0;
        for segment in led.store.segments().await.unwrap() {
            let retired = led
                .store
                .retire_segment(led.term, segment.number, &rules)
                .await
                .unwrap();
            anew += usize::from(retired.is_some_and(|retired| matches!(retired.done, Done::Shrunk(_))));
        }
        stop.store(true, Ordering::Relaxed);
        for watching in watching {
            assert!(watching.await.unwrap() > 0);
        }
        assert!(anew > 3, "{anew} segments were made anew");
        let after = watcher.census().await.unwrap();
        assert!(after.messages < before, "{before}");
        assert_eq!(after, led.store.census().await.unwrap());
    });
}
