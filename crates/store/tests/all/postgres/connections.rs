//! A server whose connections are all taken by others: said clearly, tried again, over once one is free.

use pgtest::{Running, Server};
use store::{CommitError, Error, Store};

use super::support::{Led, open, options, until};
use crate::support::block_on;

const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

/// Sessions of others, until only those are free that are kept for administrators.
fn crowd<'a>(database: &pgtest::Database<'a>, crowd: &mut Vec<Running>) {
    let others = || database.sql(OTHERS).parse::<usize>().unwrap();
    while others() < 9 {
        let before = others();
        crowd.push(database.begin_sql("SELECT pg_sleep(3600)"));
        let begun = std::time::Instant::now();
        while others() <= before && begun.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn a_server_without_free_connections_is_named_as_such_until_one_is_free() {
    let server = Server::start("max_connections = 12\nsuperuser_reserved_connections = 3");
    let database = server.database();
    database.sql(&format!(
        "CREATE ROLE app LOGIN; ALTER DATABASE {} OWNER TO app",
        database.name()
    ));
    let url = database.url().replace("postgres@", "app@");
    block_on(async {
        let led = Led::open(options(&url, None)).await;
        led.arrive(1, false).await;
        let mut sessions = Vec::new();
        crowd(&database, &mut sessions);
        let Err(Error::Away(text)) = open(options(&url, None)).await else {
            panic!("a connection was free");
        };
        assert!(text.contains("takes no more connections"), "{text}");
        let writers = "FROM pg_stat_activity WHERE application_name LIKE 'holdfast-writer %'";
        database.sql(&format!("SELECT pg_terminate_backend(pid) {writers}"));
        until("the writer's session is gone", async || {
            database.sql(&format!("SELECT count(*) {writers}")) == "0"
        })
        .await;
        crowd(&database, &mut sessions);
        let mut told = String::new();
        until("a write is refused", async || {
            match tokio::time::timeout(
                std::time::Duration::from_secs(1),
                led.commit(vec![led.message(2, "C")]),
            )
            .await
            {
                Ok(Err(CommitError::Unavailable(text))) => told = text,
                // It connected anew before the crowd had taken the last one.
                Ok(Ok(_)) => {
                    database.sql(&format!("SELECT pg_terminate_backend(pid) {writers}"));
                    crowd(&database, &mut sessions);
                }
                Ok(other) => panic!("{other:?}"),
                // The first is in flight until the outcome is known.
                Err(_) => {}
            }
            !told.is_empty()
        })
        .await;
        assert!(
            told.contains("max_connections") && told.contains("goes on by itself"),
            "{told}"
        );
        let readers = "FROM pg_stat_activity WHERE application_name LIKE 'holdfast-reader %'";
        database.sql(&format!("SELECT pg_terminate_backend(pid) {readers}"));
        until("the readers' sessions are gone", async || {
            database.sql(&format!("SELECT count(*) {readers}")) == "0"
        })
        .await;
        crowd(&database, &mut sessions);
        let begun = std::time::Instant::now();
        let Err(Error::Away(text)) = led.store.names().await else {
            panic!("a connection for reading was free");
        };
        assert!(text.contains("takes no more connections"), "{text}");
        // As soon as it is known, not when patience ends.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND pid <> pg_backend_pid()");
        until("it writes again", async || {
            led.commit(vec![led.message(3, "again")]).await.is_ok()
        })
        .await;
        open(options(&url, None)).await.unwrap();
        led.store.close().await.unwrap();
    });
}
