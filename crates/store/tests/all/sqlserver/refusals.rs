//! A database that cannot be trusted with messages is not used: the store says why and what to do. Many may make its
//! schema at once.

use std::time::Duration;

use store::Store;

use super::support::{Database, Led, open, server};
use crate::scenes::{a_damaged_body, a_missing_table, a_newer_schema, many_open, refusal};
use crate::support::block_on;

async fn refused(database: &Database<'_>) -> String {
    refusal(open(database.options(None)).await)
}

#[test]
fn many_that_open_an_empty_database_at_once_make_one_schema() {
    let Some(server) = server() else { return };
    for database in server.databases() {
        block_on(async {
            many_open(async || open(database.options(None)).await).await;
            let versions = database.sql("SELECT version FROM holdfast.migration ORDER BY version");
            assert_eq!(versions, ["1", "2", "3"]);
            let first = database.sql("SELECT number FROM holdfast.segment WHERE first_row = 1");
            assert_eq!(first, ["1"]);
            assert_eq!(database.sql("SELECT number FROM holdfast.segment"), ["1"]);
        });
    }
}

#[test]
fn whoever_opens_an_empty_database_waits_for_its_turn_to_make_tables() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let mut other = database.session();
        other.sql(
            "BEGIN TRANSACTION; EXEC sp_getapplock @Resource = N'holdfast.schema', @LockMode = N'Exclusive',
             @LockOwner = N'Transaction', @LockTimeout = 0",
        );
        let mut opening = tokio::spawn(open(database.options(None)));
        let early = tokio::time::timeout(Duration::from_secs(3), &mut opening).await;
        assert!(early.is_err(), "it did not wait");
        let made = database.sql("SELECT CAST(COUNT(*) AS int) FROM sys.schemas WHERE name = N'holdfast'");
        assert_eq!(made, ["0"]);
        other.let_go();
        opening.await.unwrap().unwrap().close().await.unwrap();
    });
}

#[test]
fn a_newer_or_changed_schema_is_refused() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        open(database.options(None)).await.unwrap().close().await.unwrap();
        database.sql("UPDATE holdfast.migration SET checksum = 'x'");
        assert!(refused(&database).await.contains("another text"));
        database.sql(
            "INSERT INTO holdfast.migration (version, name, checksum, applied_at) VALUES (9, 'later', 'x', 0)",
        );
        assert!(refused(&database).await.contains("newer version"));
    });
}

#[test]
fn a_newer_schema_is_worked_with_where_its_steps_say_so() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let again = async || open(database.options(None)).await;
        a_newer_schema(&led, |text| drop(database.sql(text)), again).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_database_that_may_lose_a_commit_is_refused_by_the_options_name() {
    let test = "refusals::a_database_that_may_lose_a_commit_is_refused_by_the_options_name";
    let Some(server) = server() else { return };
    if !server.can(test, "a stand-in knows no ALTER DATABASE") {
        return;
    }
    let database = server.database();
    let set = |what: &str| {
        let alter = format!("ALTER DATABASE {} SET DELAYED_DURABILITY = {what}", database.name);
        server.sql("master", &alter);
    };
    block_on(async {
        set("FORCED");
        let text = refused(&database).await;
        assert!(text.contains("DELAYED_DURABILITY = FORCED"), "{text}");
        set("DISABLED");
        open(database.options(None)).await.unwrap().close().await.unwrap();
    });
}

#[test]
fn a_table_that_is_gone_is_reported() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        a_missing_table(&led, |text| drop(database.sql(text))).await;
        led.store.close().await.unwrap();
    });
}

#[test]
fn a_body_that_is_damaged_is_named_and_not_handed_out() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let led = Led::open(database.options(None)).await;
        let damage = || {
            let hex = database.sql("SELECT body FROM holdfast.s000001_message");
            let (before, after) = (&hex[0][..14], &hex[0][18..]);
            database.sql(&format!(
                "UPDATE holdfast.s000001_message SET body = 0x{before}FFFF{after}"
            ));
        };
        a_damaged_body(&led, |text| drop(database.sql(text)), damage).await;
        led.store.close().await.unwrap();
    });
}
