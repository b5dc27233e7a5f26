//! Takeover: it waits for the handoff that is in flight and voids every later one; an attempt that came to nothing voids
//! none; what holds the shard's row is passed by, waited for, or ended. The locks are held by sessions of the tests' own,
//! in a database with versions of rows and in one without.

use std::time::Duration;

use store::{CommitError, Error, RetentionRules, Store};

use super::session::stone;
use super::support::{Led, open, retire, server, skipped, until};
use crate::scenes::{handed_over, leads_again, refused_for_now, writes_again};
use crate::support::block_on;

#[test]
fn a_takeover_waits_for_the_handoff_in_flight_and_fences_the_next() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let old = Led::open(database.options(None)).await;
            let new = open(database.options(None)).await.unwrap();
            let (mut stone, mut watch) = (stone(&database, &old), database.watcher());
            let in_flight = old.begin("slow");
            let mut writer = 0;
            until("the handoff is in flight", async || {
                let waiting = watch.waiting_for(stone.number);
                writer = waiting.first().copied().unwrap_or(0);
                writer != 0
            })
            .await;
            let takeover = async { new.acquire("other").await.unwrap() };
            let release = async {
                until("the takeover waits for the handoff", async || {
                    !watch.waiting_for(writer).is_empty()
                })
                .await;
                assert_eq!(watch.waiting_for(stone.number), [writer], "the handoff was ended");
                stone.let_go();
            };
            let (term, ()) = tokio::join!(takeover, release);
            handed_over(&old, in_flight, &new, term).await;
            old.store.close().await.unwrap();
            new.close().await.unwrap();
        });
    }
}

#[test]
fn while_a_handoff_is_in_flight_its_claim_is_a_lock() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(None)).await;
            let (mut stone, mut watch) = (stone(&database, &led), database.watcher());
            let in_flight = led.begin("slow");
            until("the handoff is in flight", async || {
                !watch.waiting_for(stone.number).is_empty()
            })
            .await;
            // Whoever does not wait for it is told so at once.
            let changed =
                watch.ask("SET LOCK_TIMEOUT 0; UPDATE holdfast.shard SET session = NEWID() WHERE shard = 0");
            let said = changed.expect_err("the row was not locked").to_lowercase();
            assert!(said.contains("lock") && said.contains("time"), "{said}");
            if !server.stand_in {
                let claim = "SELECT CAST(COUNT(*) AS int) FROM holdfast.shard
                             WITH (UPDLOCK, ROWLOCK, READPAST, READCOMMITTEDLOCK) WHERE shard = 0";
                assert_eq!(watch.sql(claim), ["0"], "another claim has to pass it by");
            }
            stone.let_go();
            in_flight.await.remove(0).unwrap();
            if !server.stand_in {
                let claim = "SELECT CAST(COUNT(*) AS int) FROM holdfast.shard
                             WITH (UPDLOCK, ROWLOCK, READPAST, READCOMMITTEDLOCK) WHERE shard = 0";
                assert_eq!(watch.sql(claim), ["1"], "the lock ends with the commit");
            }
            led.store.close().await.unwrap();
        });
    }
    if server.stand_in {
        let what = "fence::while_a_handoff_is_in_flight_its_claim_is_a_lock, the part that passes the row by";
        skipped(what, "a stand-in ignores READPAST");
    }
}

#[test]
fn a_handoff_that_meets_a_takeover_waits_for_its_end_and_obeys_it() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(None)).await;
            let (mut takeover, mut watch) = (database.session(), database.watcher());
            for (end, fenced) in [("ROLLBACK", false), ("COMMIT", true)] {
                takeover.sql(
                    "BEGIN TRANSACTION; UPDATE holdfast.shard SET epoch = epoch + 1, term = NEWID() WHERE shard = 0",
                );
                let handoff = led.commit(vec![led.message(1, end)]);
                let ending = async {
                    until("the handoff waits for the takeover", async || {
                        !watch.waiting_for(takeover.number).is_empty()
                    })
                    .await;
                    takeover.sql(&format!("{end} TRANSACTION"));
                };
                let (answer, ()) = tokio::join!(handoff, ending);
                assert_eq!(
                    matches!(answer, Err(CommitError::Fenced)),
                    fenced,
                    "{end}: {answer:?}"
                );
                assert_eq!(answer.is_ok(), !fenced, "{end}: {answer:?}");
            }
            assert_eq!(led.store.census().await.unwrap().messages, 1);
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_row_that_somebody_else_claims_is_waited_for_and_written_under_afterwards() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(None)).await;
            led.arrive(1, false).await;
            let (mut other, mut watch) = (database.session(), database.watcher());
            other.hold_the_shard();
            let in_flight = led.begin("waits");
            until("the handoff waits for the row", async || {
                !watch.waiting_for(other.number).is_empty()
            })
            .await;
            other.let_go();
            in_flight.await.remove(0).expect("nobody took the term");
            assert_eq!(led.store.census().await.unwrap().messages, 2);
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_row_that_is_held_for_long_is_named_and_writing_goes_on_by_itself() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(None)).await;
            let mut other = database.session();
            other.hold_the_shard();
            let words = ["holds a lock", "end that session", "goes on by itself"];
            refused_for_now(&led, &words).await;
            other.let_go();
            writes_again(&led).await;
            assert_eq!(led.store.census().await.unwrap().messages, 1);
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_takeover_ends_the_session_of_the_leader_before() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let old = Led::open(database.options(None)).await;
        let mut watch = database.watcher();
        let [before] = watch.writers()[..] else {
            panic!("one writes");
        };
        let new = open(database.options(None)).await.unwrap();
        let term = new.acquire("other").await.unwrap();
        until("the older session is gone", async || {
            !watch.writers().contains(&before)
        })
        .await;
        // It may lead again, on a connection of its own.
        leads_again(&old, term).await;
        old.store.close().await.unwrap();
        new.close().await.unwrap();
    });
}

#[test]
fn a_session_of_an_older_leader_that_hangs_with_the_row_in_hand_is_ended() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let new = open(database.options(None)).await.unwrap();
            let mut hung = server.session(&database.name, "holdfast-writer - gone");
            hung.sql(
                "DECLARE @term varbinary(128); SET @term = CAST(0 AS varbinary(4)); SET CONTEXT_INFO @term",
            );
            hung.hold_the_shard();
            let mut watch = database.watcher();
            let term = new.acquire("other").await.unwrap();
            assert!(!watch.writers().contains(&hung.number), "it was not ended");
            assert!(hung.ask("COMMIT TRANSACTION").is_err(), "its session goes on");
            new.release(term).await.unwrap();
            new.close().await.unwrap();
        });
    }
}

#[test]
fn retention_does_not_wait_for_a_takeover_and_obeys_it() {
    let test = "fence::retention_does_not_wait_for_a_takeover_and_obeys_it";
    let Some(server) = server() else { return };
    if !server.can(
        test,
        "a stand-in reads the lease row as a version, whatever the hint",
    ) {
        return;
    }
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(Some(20))).await;
            for number in 0..25 {
                led.arrive(number, true).await;
            }
            until("the first segment is sealed", async || {
                led.store.segments().await.unwrap()[0].sealed
            })
            .await;
            let mut takeover = database.session();
            takeover.sql(
                "BEGIN TRANSACTION; UPDATE holdfast.lease SET epoch = epoch + 1, term = NEWID() WHERE lease_group = 0",
            );
            let tables =
                || database.sql("SELECT CAST(OBJECT_ID(N'holdfast.s000001_message') AS int)")[0].clone();
            let before = tables();
            let rules = RetentionRules::all(model::Timestamp(i64::MAX));
            let retired = async || led.store.retire_segment(led.term, 1, &rules).await;
            // Without versions the look at the lease meets the lock first.
            let held = retired().await;
            let done = held.map(|retired| retired.map(|retired| retired.done));
            assert!(
                matches!(done, Ok(Some(store::Done::Busy)) | Err(Error::Database { .. })),
                "{done:?}"
            );
            assert_eq!(
                tables(),
                before,
                "it was dropped under a term that was being taken"
            );
            takeover.let_go();
            takeover.sql("UPDATE holdfast.lease SET epoch = epoch + 1, term = NEWID() WHERE lease_group = 0");
            let late = retired().await;
            assert!(late.is_err(), "{late:?}");
            assert_eq!(tables(), before, "it was dropped by an older leader");
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_segment_that_somebody_reads_is_left_and_nobody_queues_behind_it() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(Some(20))).await;
            for number in 0..25 {
                led.arrive(number, true).await;
            }
            until("the full segments are sealed", async || {
                let segments = led.store.segments().await.unwrap();
                segments.len() == 3 && segments[..2].iter().all(|segment| segment.sealed)
            })
            .await;
            let (mut reader, mut watch) = (database.session(), database.watcher());
            reader.sql(
                "BEGIN TRANSACTION;
                 SELECT CAST(COUNT(*) AS int) FROM holdfast.s000001_message WITH (TABLOCK, HOLDLOCK)",
            );
            let (retired, waiting, ()) = tokio::join!(
                retire(&led, i64::MAX),
                async {
                    let mut waiting = 0;
                    for _ in 0..20 {
                        waiting += watch.waiting_for_table("holdfast.s000001_message");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    waiting
                },
                async {
                    led.arrive(99, true).await;
                },
            );
            assert_eq!((retired.2, waiting), (1, 0), "{retired:?}");
            reader.let_go();
            assert!(retire(&led, i64::MAX).await.0 > 0);
            led.store.close().await.unwrap();
        });
    }
}
