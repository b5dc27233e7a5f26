//! The primary is lost and its standby takes over: what was acknowledged is there, writing goes on by itself,
//! and the old primary is not written to when it comes back.

use pgtest::{Relay, Server};
use store::postgres::Durability;
use store::{Error, Store};

use super::support::{Led, holds_exactly, open, options, refused, under_load, written};
use crate::scenes::finds_out;
use crate::support::block_on;

/// A primary that was replaced comes back, and commits without waiting for anybody.
fn come_back(server: &Server) {
    server.start_again();
    server.set("synchronous_standby_names", "");
}

#[test]
fn an_address_that_moves_to_the_promoted_standby_is_followed_and_back_to_the_old_primary_is_not() {
    let first = Server::start("");
    let database = first.database();
    let second = first.standby("second");
    first.wait_for_standby("second", "remote_apply");
    let address = Relay::to(first.port());
    block_on(async {
        let led = Led::open(options(&address.url(&database), Some(300))).await;
        let kept = under_load(&led, 1, || {
            first.crash();
            second.promote();
            address.switch(second.port());
        })
        .await;
        holds_exactly(&led, &kept).await;

        come_back(&first);
        // A writer's first write is its claim.
        let claim = "SELECT epoch, term, session FROM holdfast.shard";
        let before = database.sql(claim);
        address.switch(first.port());
        // In flight until its outcome is known; those behind it are told.
        let waits = led.begin("waits");
        let (_, joined) = refused(&led, "the old primary is refused", |text| {
            text.contains("old primary that was replaced")
        })
        .await;
        assert!(led.store.census().await.is_err(), "what it holds is old");
        assert_eq!(database.sql(claim), before, "it was written to");
        address.switch(second.port());
        waits.await.remove(0).unwrap();
        let joined = written(joined).await;
        let there = led.store.census().await.unwrap().messages;
        assert_eq!(there, kept.len() as u64 + 1 + joined);
        led.store.close().await.unwrap();
    });
}

#[test]
fn of_several_servers_the_newest_primary_is_used() {
    let first = Server::start("");
    let database = first.database();
    let second = first.standby("second");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
        second.port(),
        first.port(),
        database.name()
    );
    block_on(async {
        // A standby that nobody waits for.
        let mut strict = options(&url, None);
        strict.durability = Durability::Strict;
        let Err(Error::Refused(text) | Error::Away(text)) = open(strict.clone()).await else {
            panic!("an asynchronous standby was taken for strict");
        };
        assert!(
            text.contains("commits do not wait for") && text.contains("strict"),
            "{text}"
        );
        first.wait_for_standby("second", "on");

        open(strict).await.unwrap().close().await.unwrap();

        let led = Led::open(options(&url, None)).await;
        let kept = under_load(&led, 1, || {
            first.crash();
            second.promote();
        })
        .await;
        holds_exactly(&led, &kept).await;

        // Both can be written to now; the order of the URL does not matter.
        come_back(&first);
        let mut again = options(
            &format!(
                "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
                first.port(),
                second.port(),
                database.name()
            ),
            None,
        );
        again.node = "another".to_owned();
        let other = Led::open(again).await;
        assert_eq!(other.store.census().await.unwrap().messages, kept.len() as u64);
        other.arrive(1, false).await;
        assert_eq!(
            second.sql(database.name(), "SELECT epoch FROM holdfast.lease"),
            "2",
            "it leads on the new primary"
        );
        other.store.close().await.unwrap();
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_leader_does_not_go_on_where_the_database_has_forgotten_what_it_wrote() {
    let first = Server::start("");
    let database = first.database();
    let second = first.standby("second");
    first.wait_for_standby("second", "on");
    let address = Relay::to(first.port());
    block_on(async {
        let led = Led::open(options(&address.url(&database), None)).await;
        led.arrive(1, false).await;
        // From here on nobody follows, and nobody is waited for.
        first.reset("synchronous_standby_names", "");
        second.crash();
        led.arrive(2, false).await;
        tokio::task::block_in_place(|| {
            first.crash();
            second.start_again();
            second.promote();
            address.switch(second.port());
        });
        finds_out(&led).await;
        let count = second.sql(database.name(), "SELECT count(*) FROM holdfast.s000001_message");
        assert_eq!(count, "1", "what it remembered was not added to");
        // Whoever begins anew goes on with what is there.
        let mut again = options(&address.url(&database), None);
        again.node = "another".to_owned();
        let other = Led::open(again).await;
        other.arrive(4, false).await;
        assert_eq!(other.store.census().await.unwrap().messages, 2);
        other.store.close().await.unwrap();
        led.store.close().await.unwrap();
        first.start_again();
    });
}
