//! The database goes and comes back: everybody is told so, nothing is lost, nothing is there twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use model::MessageId;
use store::{CommitError, Error, Store, Unit};

use super::support::{Led, open, options, until, write_on};
use crate::support::block_on;

#[test]
fn a_database_that_crashes_under_load_loses_nothing_and_repeats_nothing() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(200))).await;
        let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        let callers = join_all((0..8).map(|caller| write_on(&led, caller, &stop, &written)));
        let trouble = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                tokio::task::block_in_place(|| {
                    server.crash();
                    server.start_again();
                });
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
            stop.store(true, Ordering::Relaxed);
        };
        let (outcomes, ()) = futures::future::join(callers, trouble).await;
        let kept: Vec<MessageId> = outcomes.iter().flat_map(|(kept, _)| kept.clone()).collect();
        assert!(kept.len() > 100, "only {} were written", kept.len());
        let found = led.store.messages_for_work(&kept).await.unwrap();
        assert_eq!(
            found.iter().filter(|work| work.is_none()).count(),
            0,
            "lost receipts"
        );
        // One message for each unit, whatever was sent again: none is there twice.
        assert_eq!(led.store.census().await.unwrap().messages, kept.len() as u64);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn while_the_database_is_down_calls_are_told_what_to_do_and_later_ones_succeed() {
    let server = pgtest::Server::start("");
    let database = server.database();
    let place = format!("127.0.0.1:{}", server.port());
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let kept = led.arrive(1, false).await;
        server.crash();
        // The first may be in flight when the connection is found to be gone: it is answered once that is
        // settled. All later ones are answered at once.
        let first = led
            .store
            .submit(led.term, vec![Unit::one(led.message(2, "first"))]);
        let mut told = None;
        until("a call is told", async || {
            let answer = led
                .store
                .submit(led.term, vec![Unit::one(led.message(3, "later"))]);
            match tokio::time::timeout(Duration::from_millis(500), answer).await {
                Ok(mut answers) => told = answers.remove(0).err(),
                Err(_) => return false,
            }
            told.is_some()
        })
        .await;
        let Some(CommitError::Unavailable(text)) = told else {
            panic!("{told:?}");
        };
        assert!(
            text.contains(&place) && text.contains("goes on by itself"),
            "{text}"
        );
        assert!(led.store.census().await.is_err());
        let refused = open(options(&database.url(), None)).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Away(text) if text.contains(&place) && text.contains("start it")),
            "{refused}"
        );
        server.start_again();
        let first = first.await.remove(0);
        until("it writes again", async || {
            led.commit(vec![led.message(4, "again")]).await.is_ok()
        })
        .await;
        assert!(led.store.message(kept).await.unwrap().is_some());
        if let Ok(receipt) = first {
            let id = MessageId(receipt.rows[0]);
            assert!(led.store.message(id).await.unwrap().is_some());
        }
    });
}

#[test]
fn a_read_only_database_is_named_as_such_until_it_is_none() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        server.set("default_transaction_read_only", "on");
        let mut told = String::new();
        until("a write is refused", async || {
            match led.commit(vec![led.message(1, "C")]).await {
                Err(CommitError::Unavailable(text)) => told = text,
                Err(other) => panic!("{other}"),
                Ok(_) => {}
            }
            !told.is_empty()
        })
        .await;
        assert!(told.contains("read-only") && told.contains("primary"), "{told}");
        // Reading goes on.
        led.store.census().await.unwrap();
        server.reset("default_transaction_read_only", "off");
        until("it writes again", async || {
            led.commit(vec![led.message(1, "C")]).await.is_ok()
        })
        .await;
    });
}
