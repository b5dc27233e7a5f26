//! What a node makes of errors that a server is not easily brought to: they are said in its place, to commits of a store
//! on a real one.

use store::Store;

use super::peer::Between;
use super::support::{Led, holds_exactly, server};
use crate::scenes::{refused_for_now, writes_again};
use crate::support::block_on;

/// A store by way of `Between`, and what happens to it.
fn said_to_commits(test: &str, scene: impl AsyncFnOnce(&Led, &Between)) {
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    let (database, between) = (server.database(), Between::to(port));
    block_on(async {
        let led = Led::open(database.options_by(between.port, None)).await;
        scene(&led, &between).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_server_that_cannot_write_is_told_by_its_number_and_writing_goes_on_by_itself() {
    let test = "errors::a_server_that_cannot_write_is_told_by_its_number_and_writing_goes_on_by_itself";
    said_to_commits(test, async |led, between| {
        let cases = [
            (1105, 17, "is full"),
            (9002, 17, "is full"),
            (3906, 16, "read-only"),
            (701, 17, "out of memory"),
            (1222, 16, "holds a lock"),
            (229, 14, "lacks a privilege"),
        ];
        for (done, (number, class, words)) in cases.into_iter().enumerate() {
            between.says(number, class, usize::MAX);
            refused_for_now(led, &[words, &number.to_string(), "goes on by itself"]).await;
            // Reading goes on, and nothing of it was written.
            assert_eq!(
                led.store.census().await.unwrap().messages,
                done as u64,
                "{number}"
            );
            between.is_sound();
            writes_again(led).await;
        }
    });
}

#[test]
fn what_a_server_undoes_or_breaks_off_is_written_once_without_anybody_being_told() {
    let test = "errors::what_a_server_undoes_or_breaks_off_is_written_once_without_anybody_being_told";
    said_to_commits(test, async |led, between| {
        let mut kept = Vec::new();
        // A deadlock's victim, a conflict of versions, an ended session, a failover, a failing disk.
        for (number, class) in [(1205, 13), (3960, 16), (596, 21), (976, 14), (824, 24)] {
            between.says(number, class, 1);
            kept.push(led.arrive(1, false).await);
        }
        holds_exactly(led, &kept).await;
    });
}
