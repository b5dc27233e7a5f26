//! A database that cannot be trusted with messages is not used: the store says why and what to do.

use store::Store;

use super::support::{Led, open, options};
use crate::scenes::{a_damaged_body, a_missing_table, many_open, refusal};
use crate::support::block_on;

async fn refused(url: &str) -> String {
    refusal(open(options(url, None)).await)
}

#[test]
fn many_that_open_an_empty_database_at_once_make_one_schema() {
    let database = pgtest::server().database();
    block_on(async {
        let url = database.url();
        many_open(async || open(options(&url, None)).await).await;
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
        a_missing_table(&led, |text| drop(database.sql(text))).await;
        database.sql("INSERT INTO holdfast.s000001_outcome VALUES (5, 6, 4, 1, 1, 1)");
    });
}

#[test]
fn a_body_that_is_damaged_is_named_and_not_handed_out() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let damage = || {
            let broken = "overlay(body PLACING '\\xffff'::bytea FROM 8)";
            database.sql(&format!("UPDATE holdfast.s000001_message SET body = {broken}"));
        };
        a_damaged_body(&led, |text| drop(database.sql(text)), damage).await;
    });
}
