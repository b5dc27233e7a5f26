//! A database that cannot be trusted with messages is not used: the store says why and what to do.

use futures::future::join_all;
use store::{Error, Store};

use super::support::{Led, open, options};
use crate::support::block_on;

async fn refused(url: &str) -> String {
    match open(options(url, None)).await {
        Err(Error::Refused(text) | Error::Outdated(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_that_open_an_empty_database_at_once_make_one_schema() {
    let database = pgtest::server().database();
    block_on(async {
        let url = database.url();
        let opened = join_all((0..6).map(|_| open(options(&url, None)))).await;
        for store in opened {
            store.unwrap().close().await.unwrap();
        }
        let versions = "SELECT string_agg(version::text, ' ' ORDER BY version) FROM holdfast.migration";
        assert_eq!(database.sql(versions), "1 2 3");
        assert_eq!(
            database.sql("SELECT number, first_row FROM holdfast.segment"),
            "1|1"
        );
    });
}

#[test]
fn a_newer_or_changed_schema_is_refused() {
    let database = pgtest::server().database();
    block_on(async {
        open(options(&database.url(), None))
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        database.sql("UPDATE holdfast.migration SET checksum = 'x'");
        assert!(refused(&database.url()).await.contains("another text"));
        database.sql("INSERT INTO holdfast.migration VALUES (9, 'later', 'x', 0)");
        assert!(refused(&database.url()).await.contains("newer version"));
    });
}

#[test]
fn a_database_that_may_lose_a_commit_is_refused_by_the_settings_name() {
    let database = pgtest::server().database();
    block_on(async {
        database.sql(&format!(
            "ALTER DATABASE {} SET synchronous_commit = off",
            database.name()
        ));
        let text = refused(&database.url()).await;
        assert!(
            text.contains("synchronous_commit = off") && text.contains("switch it on"),
            "{text}"
        );
        database.sql(&format!(
            "ALTER DATABASE {} RESET synchronous_commit",
            database.name()
        ));
        open(options(&database.url(), None)).await.unwrap();
    });
}

#[test]
fn a_database_that_does_not_exist_or_may_not_be_changed_is_refused_with_what_to_do() {
    let database = pgtest::server().database();
    block_on(async {
        let url = database.url();
        let text = refused(&url.replace(database.name(), "nowhere")).await;
        assert!(text.contains("create it"), "{text}");
        let role = format!("reader_of_{}", database.name());
        database.sql(&format!("CREATE ROLE {role} LOGIN"));
        let text = refused(&url.replace("postgres@", &format!("{role}@"))).await;
        assert!(text.contains("GRANT CREATE"), "{text}");
        database.sql(&format!("DROP ROLE {role}"));
    });
}

#[test]
fn a_table_that_is_gone_is_reported() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        led.arrive(1, true).await;
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        database.sql("DROP TABLE holdfast.s000001_event");
        let faults = led.store.check_integrity().await.unwrap();
        assert_eq!(faults, ["segment 1: the table event is missing"]);
        database.sql("INSERT INTO holdfast.s000001_outcome VALUES (5, 6, 4, 1, 1, 1)");
    });
}

#[test]
fn a_body_that_is_damaged_is_named_and_not_handed_out() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let message = led.arrive(1, true).await;
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        database
            .sql("UPDATE holdfast.s000001_message SET body = overlay(body PLACING '\\xffff'::bytea FROM 8)");
        let text = format!("segment 1: the body of message {message} cannot be read: its bytes are damaged");
        let error = led
            .store
            .messages_for_work(&[message])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&text), "{error}");
        let faults = led.store.check_integrity().await.unwrap();
        assert!(faults.len() == 1 && faults[0].starts_with(&text), "{faults:?}");
        database.sql("UPDATE holdfast.s000001_message SET enc = 99");
        let error = led.store.message(message).await.unwrap_err().to_string();
        assert!(error.contains("(99)") && error.contains("newer"), "{error}");
    });
}
