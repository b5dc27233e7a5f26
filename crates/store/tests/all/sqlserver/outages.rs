//! The database goes and comes back, is slow, forgets connections, may not be written to, is full, or has forgotten:
//! everybody is told so, nothing is lost, nothing is there twice.

use std::time::Duration;

use pgtest::Relay;
use store::{CommitError, Store};

use super::support::{Database, Led, holds_exactly, open, server, skipped, under_load, until};
use super::unknown::closed_port;
use crate::scenes::{
    a_network_that_forgets, a_network_that_stops, a_slow_network, down_and_up, finds_out, refused_for_now,
    writes_again,
};
use crate::support::block_on;

/// A store by way of a relay, that gives a commit up after so many seconds.
async fn led_by(relay: &Relay, database: &Database<'_>, patience: u64) -> Led {
    let mut options = database.options_by(relay.port(), Some(200));
    options.commit_patience = Duration::from_secs(patience);
    Led::open(options).await
}

/// Runs `scene` with a store by way of a relay.
fn on_the_way(test: &str, scene: impl AsyncFnOnce(&Led, &Relay)) {
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    let (database, relay) = (server.database(), Relay::to(port));
    // A stand-in takes a second to read a statement that is new to it.
    let patience = if server.stand_in { 5 } else { 1 };
    block_on(async {
        let led = led_by(&relay, &database, patience).await;
        scene(&led, &relay).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_slow_network_loses_nothing() {
    on_the_way("outages::a_slow_network_loses_nothing", async |led, relay| {
        a_slow_network(led, relay).await;
    });
}

#[test]
fn a_network_that_stops_and_goes_on_is_waited_for() {
    let test = "outages::a_network_that_stops_and_goes_on_is_waited_for";
    on_the_way(test, async |led, relay| a_network_that_stops(led, relay).await);
}

#[test]
fn connections_that_the_network_forgot_are_given_up_and_made_anew() {
    let test = "outages::connections_that_the_network_forgot_are_given_up_and_made_anew";
    on_the_way(test, async |led, relay| a_network_that_forgets(led, relay).await);
}

#[test]
fn connections_that_break_under_load_lose_nothing_and_repeat_nothing() {
    let test = "outages::connections_that_break_under_load_lose_nothing_and_repeat_nothing";
    on_the_way(test, async |led, relay| {
        let kept = under_load(led, 4, || relay.reset()).await;
        holds_exactly(led, &kept).await;
    });
}

#[test]
fn sessions_that_are_ended_under_load_lose_nothing_and_repeat_nothing() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(Some(200))).await;
        let mut administrator = database.session();
        let kept = under_load(&led, 4, || {
            for writer in administrator.writers() {
                // One that has gone meanwhile is none to end.
                let _ = administrator.ask(&format!("KILL {writer}"));
            }
        })
        .await;
        holds_exactly(&led, &kept).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn while_the_database_is_away_calls_are_told_what_to_do_and_later_ones_succeed() {
    let test = "outages::while_the_database_is_away_calls_are_told_what_to_do_and_later_ones_succeed";
    let Some(server) = server() else { return };
    let Some(port) = server.local_port(test) else {
        return;
    };
    let (database, relay, nobody) = (server.database(), Relay::to(port), closed_port());
    let options = database.options_by(relay.port(), None);
    block_on(async {
        let led = Led::open(options.clone()).await;
        let place = format!(":{}", relay.port());
        let again = async || open(options.clone()).await;
        down_and_up(
            &led,
            &place,
            || relay.switch(nobody),
            again,
            || relay.switch(port),
        )
        .await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_leader_does_not_go_on_where_the_database_has_forgotten_what_it_wrote() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let kept = led.arrive(1, false).await;
        let mut administrator = database.session();
        let snapshot = Snapshot::of(&database);
        let forgotten = led.arrive(2, false).await;
        match snapshot {
            Some(snapshot) => snapshot.restore(),
            // What an older copy of the database looks like.
            None => {
                administrator.sql(&format!(
                    "DELETE FROM holdfast.s000001_message WHERE id = {}",
                    forgotten.raw()
                ));
                for writer in administrator.writers() {
                    administrator.kill(writer);
                }
            }
        }
        finds_out(&led).await;
        let rows = database.sql("SELECT id FROM holdfast.s000001_message");
        assert_eq!(
            rows,
            [kept.raw().to_string()],
            "what it remembered was not added to"
        );
        // Whoever begins anew goes on with what is there.
        let mut again = database.options(None);
        again.node = "another".to_owned();
        let other = Led::open(again).await;
        other.arrive(4, false).await;
        assert_eq!(other.store.census().await.unwrap().messages, 2);
        other.store.close().await.unwrap();
        led.store.close().await.unwrap();
    });
}

/// The database as it was at a moment. A stand-in has none.
struct Snapshot<'d> {
    database: &'d Database<'d>,
    name: String,
}

impl<'d> Snapshot<'d> {
    fn of(database: &'d Database<'d>) -> Option<Snapshot<'d>> {
        if database.server.stand_in {
            skipped(
                "outages, the restoring of a snapshot",
                "a stand-in has none; there the row that was written last is taken away",
            );
            return None;
        }
        let name = format!("{}_snapshot", database.name);
        let files = "SELECT N'(NAME = [' + name + N'], FILENAME = N''' + physical_name + N'.snapshot'')'
                     FROM sys.database_files WHERE type = 0";
        let files = database.sql(files).join(", ");
        let made = format!(
            "CREATE DATABASE {name} ON {files} AS SNAPSHOT OF {}",
            database.name
        );
        database.server.sql("master", &made);
        Some(Snapshot { database, name })
    }

    fn restore(self) {
        let of = &self.database.name;
        self.database.server.sql(
            "master",
            &format!(
                "ALTER DATABASE {of} SET SINGLE_USER WITH ROLLBACK IMMEDIATE;
                 RESTORE DATABASE {of} FROM DATABASE_SNAPSHOT = N'{name}';
                 ALTER DATABASE {of} SET MULTI_USER; DROP DATABASE {name}",
                name = self.name
            ),
        );
    }
}

#[test]
fn a_read_only_database_is_named_as_such_until_it_is_none() {
    let test = "outages::a_read_only_database_is_named_as_such_until_it_is_none";
    let Some(server) = server() else { return };
    if !server.can(test, "a stand-in knows no ALTER DATABASE") {
        return;
    }
    let database = server.database();
    let set = |what: &str| {
        let alter = format!(
            "ALTER DATABASE {} SET {what} WITH ROLLBACK IMMEDIATE",
            database.name
        );
        server.sql("master", &alter);
    };
    block_on(async {
        let led = Led::open(database.options(None)).await;
        set("READ_ONLY");
        refused_for_now(&led, &["read-only", "primary"]).await;
        // Reading goes on.
        led.store.census().await.unwrap();
        set("READ_WRITE");
        writes_again(&led).await;
        led.store.close().await.unwrap();
    });
}

/// Writes large messages until one is refused, makes room, and shows that nothing was lost.
async fn fills_and_goes_on(led: &Led, make_room: impl FnOnce()) {
    let mut kept = Vec::new();
    let error = loop {
        match led.commit(vec![led.large_message(1_000_000)]).await {
            Ok(receipt) => kept.push(model::MessageId(receipt.rows[0])),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "the files are larger than they were made");
    };
    assert!(
        matches!(&error, CommitError::Unavailable(text) if text.contains("is full") && text.contains("goes on by itself")),
        "{error}"
    );
    holds_exactly(led, &kept).await;
    make_room();
    until("there is room again", async || {
        match led.commit(vec![led.large_message(10)]).await {
            Ok(receipt) => kept.push(model::MessageId(receipt.rows[0])),
            Err(CommitError::Unavailable(_)) => return false,
            Err(other) => panic!("{other}"),
        }
        true
    })
    .await;
    holds_exactly(led, &kept).await;
}

/// The logical name of the file of this type: 0 = rows, 1 = log.
fn file(database: &Database<'_>, of: u8) -> String {
    let asked = format!("SELECT name FROM sys.database_files WHERE type = {of}");
    database.sql(&asked).remove(0)
}

/// How large a file may become, in MB, beyond what it is now.
fn limit(database: &Database<'_>, file: &str, more: Option<u32>) {
    let size = format!("SELECT CAST(size / 128 AS int) FROM sys.database_files WHERE name = N'{file}'");
    let size: u32 = database.sql(&size)[0].parse().unwrap();
    let limit = more.map_or("UNLIMITED".to_owned(), |more| format!("{} MB", size + more));
    database.server.sql(
        "master",
        &format!(
            "ALTER DATABASE {} MODIFY FILE (NAME = [{file}], MAXSIZE = {limit}, FILEGROWTH = 1 MB)",
            database.name
        ),
    );
}

#[test]
fn a_database_that_is_full_refuses_writes_and_takes_them_again_once_there_is_room() {
    let test = "outages::a_database_that_is_full_refuses_writes_and_takes_them_again_once_there_is_room";
    let Some(server) = server() else { return };
    if !server.can(test, "a stand-in has no files with a largest size") {
        return;
    }
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let rows = file(&database, 0);
        limit(&database, &rows, Some(8));
        fills_and_goes_on(&led, || limit(&database, &rows, None)).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_log_that_is_full_refuses_writes_and_takes_them_again_once_there_is_room() {
    let test = "outages::a_log_that_is_full_refuses_writes_and_takes_them_again_once_there_is_room";
    let Some(server) = server() else { return };
    if !server.can(test, "a stand-in has no log of its own to be full") {
        return;
    }
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let log = file(&database, 1);
        limit(&database, &log, Some(8));
        // Somebody's transaction keeps the log from being used again.
        let mut other = database.session();
        other.sql("CREATE TABLE dbo.ballast (id int); BEGIN TRANSACTION; INSERT INTO dbo.ballast VALUES (1)");
        fills_and_goes_on(&led, || {
            other.let_go();
            limit(&database, &log, None);
        })
        .await;
        led.store.close().await.unwrap();
    });
}
