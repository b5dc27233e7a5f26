//! A schema that other releases took further, and closing while the housekeeping is at work.

use std::time::{Duration, Instant};

use store::postgres::PostgresStore;
use store::{Error, Store};

use super::support::{Led, open, options, until};
use crate::scenes::a_newer_schema;
use crate::support::block_on;

async fn opened(database: &pgtest::Database<'_>) -> Result<PostgresStore, Error> {
    open(options(&database.url(), None)).await
}

#[test]
fn a_newer_schema_is_worked_with_where_its_steps_say_so() {
    let database = pgtest::server().database();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        a_newer_schema(
            &led,
            |text| drop(database.sql(text)),
            async || opened(&database).await,
        )
        .await;
    });
}

#[test]
fn a_step_that_would_shut_out_a_node_that_runs_is_not_taken() {
    let database = pgtest::server().database();
    block_on(async { opened(&database).await.unwrap().close().await.unwrap() });
    // As an older release left it, of which a node runs.
    let node = |id: &str, schema: u32, ago: u32| {
        database.sql(&format!(
            "INSERT INTO holdfast.node VALUES ('{id}', '00000000-0000-0000-0000-000000000000', 'h', 1, 'a', '0.0.9', {schema},
                 'f', 'dev', true, 0, 'standby', true, '', 0,
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - {ago} * 1000000::bigint)"
        ));
    };
    database.sql(
        "DROP TABLE holdfast.command; ALTER TABLE holdfast.migration DROP works_from;
         DELETE FROM holdfast.migration WHERE version = 3",
    );
    node("node-x", 1, 0);
    node("node-y", 1, 61); // not heard of for long
    node("node-z", 2, 0); // works with it as well
    let refused = block_on(opened(&database));
    assert!(
        matches!(&refused, Err(Error::Refused(text))
            if text.contains("`node-x` (release 0.0.9, knows schema 1)") && !text.contains("node-y") && !text.contains("node-z")),
        "{refused:?}"
    );
    assert_eq!(
        database.sql("SELECT max(version) FROM holdfast.migration"),
        "2",
        "nothing was changed"
    );
    database.sql("DELETE FROM holdfast.node WHERE id = 'node-x'");
    block_on(async { opened(&database).await.unwrap().close().await.unwrap() });
}

#[test]
fn closing_does_not_wait_for_an_index_and_the_next_one_builds_it() {
    let database = pgtest::server().database();
    // An index takes a minute.
    database.sql(
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN IF position('message_by_control_id' in current_query()) > 0 THEN PERFORM pg_sleep(60); END IF; END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION slow()",
    );
    let sleeping = || {
        database.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
    };
    block_on(async {
        let led = Led::open(options(&database.url(), Some(20))).await;
        for number in 0..40 {
            led.arrive(number, true).await;
        }
        until("an index is being built", async || sleeping() == "1").await;
        let begun = Instant::now();
        led.store.close().await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "closing took {took:?}");
        until("the server has left off", async || sleeping() == "0").await;
        database.sql("DROP EVENT TRIGGER slow");
        let led = Led::open(options(&database.url(), Some(20))).await;
        led.arrive(41, true).await;
        for number in 0..20 {
            led.arrive(number, true).await;
        }
        until("all full segments are sealed", async || {
            let segments = led.store.segments().await.unwrap();
            segments.len() > 2
                && segments[..segments.len() - 1]
                    .iter()
                    .all(|segment| segment.sealed)
        })
        .await;
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    });
}
