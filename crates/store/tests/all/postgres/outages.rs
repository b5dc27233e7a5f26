//! The database goes and comes back: everybody is told so, nothing is lost, nothing is there twice.

use store::Store;

use super::support::{Led, holds_exactly, open, options, under_load};
use crate::scenes::{down_and_up, refused_for_now, writes_again};
use crate::support::block_on;

#[test]
fn a_database_that_crashes_under_load_loses_nothing_and_repeats_nothing() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), Some(200))).await;
        let kept = under_load(&led, 3, || {
            server.crash();
            server.start_again();
        })
        .await;
        // One message for each unit, whatever was sent again: none is there twice.
        holds_exactly(&led, &kept).await;
    });
}

#[test]
fn while_the_database_is_down_calls_are_told_what_to_do_and_later_ones_succeed() {
    let server = pgtest::Server::start("");
    let database = server.database();
    let place = format!("127.0.0.1:{}", server.port());
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let again = async || open(options(&database.url(), None)).await;
        down_and_up(&led, &place, || server.crash(), again, || server.start_again()).await;
    });
}

#[test]
fn a_read_only_database_is_named_as_such_until_it_is_none() {
    let server = pgtest::Server::start("");
    let database = server.database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        server.set("default_transaction_read_only", "on");
        refused_for_now(&led, &["read-only", "primary"]).await;
        // Reading goes on.
        led.store.census().await.unwrap();
        server.reset("default_transaction_read_only", "off");
        writes_again(&led).await;
    });
}
