//! TLS to the database: who it is, is proved by its certificate; who this node is, by its own.

use pgtest::{Authority, Server};
use store::postgres::Options;
use store::{Error, Store};

use super::support::{Led, open, options};
use crate::support::block_on;

async fn refused(options: Options) -> String {
    match open(options).await {
        Err(Error::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn with(url: &str, parameters: &str) -> Options {
    options(&format!("{url}?{parameters}"), None)
}

#[test]
fn the_database_is_used_only_if_its_certificate_and_host_name_are_right() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let trusted = format!("sslmode=verify-full&sslrootcert={}", authority.file().display());
    let server = Server::start("");
    let database = server.database();
    let url = database.url();
    block_on(async {
        let text = refused(with(&url, &trusted)).await;
        assert!(text.contains("does not offer TLS"), "{text}");

        server.secure(&authority.server(&["127.0.0.1", "localhost"]), None);
        let by_name = url.replace("127.0.0.1", "localhost");
        for url in [&url, &by_name] {
            let led = Led::open(with(url, &trusted)).await;
            led.arrive(1, true).await;
            let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name LIKE 'holdfast-%' AND NOT ssl";
            assert_eq!(database.sql(plain), "0");
            led.store.close().await.unwrap();
        }
        let strange = format!("sslmode=verify-full&sslrootcert={}", stranger.file().display());
        for parameters in [strange.as_str(), "sslmode=verify-full"] {
            let text = refused(with(&url, parameters)).await;
            assert!(
                text.contains("not trusted here") && text.contains("sslrootcert="),
                "{text}"
            );
        }
    });
}

#[test]
fn a_certificate_for_another_host_is_refused_unless_only_its_authority_is_asked_for() {
    let authority = Authority::new();
    let server = Server::start("");
    server.secure(&authority.server(&["db.example.org"]), None);
    let database = server.database();
    let parameters = |mode| format!("sslmode={mode}&sslrootcert={}", authority.file().display());
    block_on(async {
        let text = refused(with(&database.url(), &parameters("verify-full"))).await;
        assert!(text.contains("for other host names"), "{text}");
        open(with(&database.url(), &parameters("verify-ca")))
            .await
            .unwrap();
    });
}

#[test]
fn a_node_proves_by_its_certificate_who_it_is() {
    let authority = Authority::new();
    let server = Server::start("");
    server.admit("hostssl all all 127.0.0.1/32 cert");
    server.secure(&authority.server(&["127.0.0.1"]), Some(&authority));
    let database = server.database();
    let trusted = format!("sslmode=verify-full&sslrootcert={}", authority.file().display());
    block_on(async {
        let text = refused(with(&database.url(), &trusted)).await;
        assert!(text.contains("client certificate"), "{text}");
        let (certificate, key) = authority.client("postgres");
        let own = format!(
            "{trusted}&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        );
        let led = Led::open(with(&database.url(), &own)).await;
        led.arrive(1, true).await;
        // A certificate of somebody else's is none.
        let (certificate, key) = Authority::new().client("postgres");
        let strange = format!(
            "{trusted}&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        );
        assert!(open(with(&database.url(), &strange)).await.is_err());
    });
}
