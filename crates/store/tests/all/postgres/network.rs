//! The network between is slow, stops, forgets connections, or resets them.

use std::time::Duration;

use pgtest::Relay;
use store::{Store, Unit};

use super::support::{Led, options, refused, slow_down, until, written};
use crate::support::block_on;

/// A store by way of a relay, that gives a commit up after a second.
async fn led_by(relay: &Relay, database: &pgtest::Database<'_>) -> Led {
    let mut options = options(&relay.url(database), None);
    options.commit_patience = Duration::from_secs(1);
    Led::open(options).await
}

#[test]
fn a_slow_network_loses_nothing() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let led = led_by(&relay, &database).await;
        let mut written = 0;
        for (delay, count) in [(20, 10), (200, 3)] {
            relay.delay(Duration::from_millis(delay));
            for _ in 0..count {
                led.arrive(1, false).await;
                written += 1;
            }
        }
        relay.delay(Duration::ZERO);
        assert_eq!(led.store.census().await.unwrap().messages, written);
    });
}

#[test]
fn a_network_that_stops_and_goes_on_is_waited_for() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let led = led_by(&relay, &database).await;
        relay.stall();
        let first = led
            .store
            .submit(led.term, vec![Unit::one(led.message(1, "first"))]);
        // Those that come while it is being looked for are told so, and keep their messages.
        let (told, joined) = refused(&led, "a call is told", |_| true).await;
        assert!(told.contains("goes on by itself"), "{told}");
        relay.resume();
        first.await.remove(0).unwrap();
        led.arrive(3, false).await;
        let joined = written(joined).await;
        assert_eq!(led.store.census().await.unwrap().messages, 2 + joined);
    });
}

#[test]
fn connections_that_the_network_forgot_are_given_up_and_made_anew() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let led = led_by(&relay, &database).await;
        led.arrive(1, false).await;
        led.store.census().await.unwrap();
        relay.forget();
        // Nothing ends the old connections, and nothing is ever heard from them.
        led.arrive(2, false).await;
        assert_eq!(led.store.census().await.unwrap().messages, 2);
    });
}

#[test]
fn a_connection_that_is_reset_in_a_commit_leaves_one_message() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let mut options = options(&relay.url(&database), None);
        options.commit_patience = Duration::from_secs(60);
        let led = Led::open(options).await;
        slow_down(&database, 0.7);
        let answer = led
            .store
            .submit(led.term, vec![Unit::one(led.message(1, "slow"))]);
        let waits = "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'";
        until("the commit is in flight", async || database.sql(waits) == "1").await;
        relay.reset();
        answer.await.remove(0).unwrap();
        led.arrive(2, false).await;
        assert_eq!(led.store.census().await.unwrap().messages, 2);
    });
}
