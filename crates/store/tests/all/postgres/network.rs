//! The network between is slow, stops, forgets connections, or resets them.

use std::time::Duration;

use pgtest::Relay;
use store::{Store, Unit};

use super::support::{Led, options, slow_down, until};
use crate::scenes::{a_network_that_forgets, a_network_that_stops, a_slow_network};
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
        a_slow_network(&led, &relay).await;
    });
}

#[test]
fn a_network_that_stops_and_goes_on_is_waited_for() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let led = led_by(&relay, &database).await;
        a_network_that_stops(&led, &relay).await;
    });
}

#[test]
fn connections_that_the_network_forgot_are_given_up_and_made_anew() {
    let database = pgtest::server().database();
    let relay = Relay::to(pgtest::server().port());
    block_on(async {
        let led = led_by(&relay, &database).await;
        a_network_that_forgets(&led, &relay).await;
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
