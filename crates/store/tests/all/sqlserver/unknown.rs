//! Commits whose answer does not come: what became of them is looked up, never guessed.

use pgtest::Relay;
use store::{CommitError, Store, Unit};

use super::session::stone;
use super::support::{Led, server, skipped, until};
use crate::scenes::{found_again, refused_alone, written_once};
use crate::support::block_on;

#[test]
fn a_commit_whose_session_is_ended_before_it_happened_is_written_once() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            let led = Led::open(database.options(None)).await;
            let (mut stone, mut watch) = (stone(&database, &led), database.watcher());
            let units = ["slow", "other"].map(|id| Unit::one(led.message(1, id))).to_vec();
            let answer = led.store.submit(led.term, units);
            let mut writer = Vec::new();
            until("the commit is in flight", async || {
                writer = watch.waiting_for(stone.number);
                !writer.is_empty()
            })
            .await;
            watch.kill(writer[0]);
            stone.let_go();
            written_once(&led, answer).await;
            led.store.close().await.unwrap();
        });
    }
}

/// What ends the session of a commit that happened, and of which the answer is on its way.
enum End {
    Reset,
    Kill,
}

fn a_commit_that_happened(test: &str, end: &End) {
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    for database in server.databases() {
        let relay = Relay::to(port);
        block_on(async {
            let led = Led::open(database.options_by(relay.port(), None)).await;
            let (mut stone, mut watch) = (stone(&database, &led), database.watcher());
            let writers = watch.writers();
            let answer = led.begin("slow");
            until("the commit is in flight", async || {
                !watch.waiting_for(stone.number).is_empty()
            })
            .await;
            // From here on no answer gets through.
            relay.stall();
            stone.let_go();
            until("it has happened", async || {
                watch.sql("SELECT CAST(COUNT(*) AS int) FROM holdfast.s000001_message WITH (READPAST)")
                    == ["1"]
            })
            .await;
            if matches!(end, End::Kill) {
                for writer in writers {
                    watch.kill(writer);
                }
            }
            relay.reset();
            relay.resume();
            found_again(&led, answer).await;
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_commit_that_happened_before_its_session_was_ended_is_found() {
    let test = "unknown::a_commit_that_happened_before_its_session_was_ended_is_found";
    a_commit_that_happened(test, &End::Kill);
}

#[test]
fn a_commit_that_happened_before_its_connection_was_reset_is_found() {
    let test = "unknown::a_commit_that_happened_before_its_connection_was_reset_is_found";
    a_commit_that_happened(test, &End::Reset);
}

#[test]
fn a_connection_that_is_reset_in_a_commit_leaves_one_message() {
    let test = "unknown::a_connection_that_is_reset_in_a_commit_leaves_one_message";
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    for database in server.databases() {
        let relay = Relay::to(port);
        block_on(async {
            let led = Led::open(database.options_by(relay.port(), None)).await;
            let (mut stone, mut watch) = (stone(&database, &led), database.watcher());
            let answer = led.begin("slow");
            let mut lost = Vec::new();
            until("the commit is in flight", async || {
                lost = watch.waiting_for(stone.number);
                !lost.is_empty()
            })
            .await;
            relay.reset();
            // It hangs at the stone with the row in hand: the leader waits for it, and then ends it.
            until("the lost session is gone", async || {
                !watch.writers().contains(&lost[0])
            })
            .await;
            stone.let_go();
            answer.await.remove(0).unwrap();
            led.arrive(2, false).await;
            assert_eq!(led.store.census().await.unwrap().messages, 2);
            led.store.close().await.unwrap();
        });
    }
}

#[test]
fn a_store_that_is_closed_before_it_could_find_out_says_that_it_does_not_know() {
    let test = "unknown::a_store_that_is_closed_before_it_could_find_out_says_that_it_does_not_know";
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    let database = server.database();
    let (relay, nobody) = (Relay::to(port), closed_port());
    block_on(async {
        let led = Led::open(database.options_by(relay.port(), None)).await;
        let (mut stone, mut watch) = (stone(&database, &led), database.watcher());
        let answer = led.begin("slow");
        until("the commit is in flight", async || {
            !watch.waiting_for(stone.number).is_empty()
        })
        .await;
        relay.switch(nobody);
        led.store.close().await.unwrap();
        let answer = answer.await.remove(0);
        assert!(matches!(answer, Err(CommitError::Unknown(_))), "{answer:?}");
        stone.let_go();
    });
}

/// A port of this machine where nobody listens.
pub(super) fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// No text is one that this server cannot keep; a row that its table refuses is.
#[test]
fn a_unit_with_a_row_that_the_database_refuses_is_refused_alone() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let entry = |number, poison| {
            let mut entry = led.message(1, &format!("C{number}"));
            if let (store::Entry::Message(message), true) = (&mut entry, poison) {
                // A copy is of a message before it.
                message.parent = Some(model::MessageId(model::RowId(i64::MAX)));
            }
            entry
        };
        refused_alone(&led, entry, |text| {
            text.contains("CHECK") || text.contains("check")
        })
        .await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn text_that_another_database_cannot_keep_comes_back_as_it_was() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut texts = vec![
        "\u{1}\u{7f}\"\\/",
        "\u{feff}\u{fffd}\u{10ffff}",
        "'; --",
        "\u{e9}e\u{301} 𝄞",
    ];
    if server.stand_in {
        let test = "unknown::text_that_another_database_cannot_keep_comes_back_as_it_was, U+0000";
        skipped(test, "a stand-in is PostgreSQL below, which cannot keep it");
    } else {
        texts.push("a\u{0}b");
    }
    block_on(async {
        let led = Led::open(database.options(None)).await;
        for text in texts {
            let receipt = led.commit(vec![led.message(1, text)]).await.unwrap();
            let id = model::MessageId(receipt.rows[0]);
            let found = led.store.message(id).await.unwrap().unwrap();
            assert_eq!(found.summary.control_id.as_deref(), Some(text));
        }
        led.store.close().await.unwrap();
    });
}
