//! On a server: who takes over, log-ins, TLS, and what a node may do. What locks have to do is in `fence.rs`.

use std::io::Write;
use std::path::Path;

use model::{Body, Timestamp};
use store::rows::NewMessage;
use store::{CommitError, Entry, Error, NameKind, Store, Unit};

use super::support::{open, server};
use crate::support::block_on;

fn message(inbound: model::NameId) -> Entry {
    Entry::Message(NewMessage {
        inbound,
        received_at: Timestamp(1),
        control_id: Some("C1".into()),
        kind: Some("ADT^A01".into()),
        source: None,
        parent: None,
        keys: store::Keys::default(),
        body: Body::from(vec![b'x'; 300]),
    })
}

#[test]
fn a_takeover_fences_the_leader_before() {
    let Some(server) = server() else { return };
    let database = server.database();
    block_on(async {
        let old = open(database.options(None)).await.unwrap();
        let term = old.acquire("old").await.unwrap();
        let inbound = old
            .name_ids(&[(NameKind::Inbound, "IB_TEST".to_owned())])
            .await
            .unwrap()[0];
        let unit = || vec![Unit::one(message(inbound))];
        old.submit(term, unit()).await.remove(0).unwrap();
        let new = open(database.options(None)).await.unwrap();
        let newer = new.acquire("new").await.unwrap();
        let late = old.submit(term, unit()).await.remove(0);
        assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
        new.submit(newer, unit()).await.remove(0).unwrap();
        assert_eq!(new.census().await.unwrap().messages, 2);
        old.close().await.unwrap();
        new.close().await.unwrap();
    });
}

#[test]
fn a_wrong_password_or_database_is_refused_with_what_to_do() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut options = database.options(None);
    options.password = Some("not the password".to_owned());
    let error = store::sqlserver::open(options)
        .err()
        .map(|error| error.to_string());
    assert!(
        error
            .as_deref()
            .is_some_and(|text| text.contains("refuses the log-in")),
        "{error:?}"
    );
    let mut options = database.options(None);
    options.url = options.url.replace(&database.name, "no_such_database");
    let error = store::sqlserver::open(options)
        .err()
        .map(|error| error.to_string());
    assert!(
        error
            .as_deref()
            .is_some_and(|text| text.contains("create the database")),
        "{error:?}"
    );
}

/// The authority of the server's certificate; where it is not given, this is left out.
const AUTHORITY: &str = "HOLDFAST_TEST_SQLSERVER_CA";

#[test]
fn the_servers_certificate_is_checked() {
    let Some(server) = server() else { return };
    let Ok(authority) = std::env::var(AUTHORITY) else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: TLS to SQL Server ({AUTHORITY}=<PEM file> names its authority)"
        );
        return;
    };
    assert!(Path::new(&authority).exists(), "{AUTHORITY}");
    let database = server.database();
    let open = |query: &str| {
        let mut options = database.options(None);
        let base = options.url.split('?').next().unwrap_or_default().to_owned();
        options.url = format!("{base}?{query}");
        store::sqlserver::open(options)
    };
    let store = open(&format!("encrypt=on&cacert={authority}"));
    block_on(store.unwrap_or_else(|error| panic!("{error}")).close()).unwrap();
    let refused = |query: &str, said: &str| {
        let error = open(query).err();
        assert!(
            matches!(&error, Some(Error::Refused(text)) if text.contains(said)),
            "{query}: {error:?}"
        );
    };
    refused("encrypt=on", "an authority that is not trusted here");
    let other = format!("encrypt=on&cacert={authority}&certificatehost=another.example.org");
    refused(&other, "for other host names");
}

#[test]
fn a_user_with_no_more_than_the_role_of_the_script_runs_a_store() {
    let Some(server) = server() else { return };
    let database = server.database();
    let user = format!("{}_node", database.name);
    let password = "Made-up-2468";
    server.sql(
        "master",
        &format!("CREATE LOGIN {user} WITH PASSWORD = '{password}'"),
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sqlserver/roles.sql");
    let script = std::fs::read_to_string(script).unwrap();
    for batch in script.split("\nGO\n").filter(|batch| !batch.trim().is_empty()) {
        let batch = batch
            .replace(
                "CREATE USER holdfast FOR LOGIN holdfast",
                &format!("CREATE USER {user} FOR LOGIN {user}"),
            )
            .replace("USER_ID(N'holdfast')", &format!("USER_ID(N'{user}')"))
            .replace("ADD MEMBER holdfast", &format!("ADD MEMBER {user}"));
        // A stand-in knows no rights of a database; whoever owns a schema makes tables in it there.
        if !(server.stand_in && batch.contains("GRANT CREATE TABLE")) {
            database.sql(&batch);
        }
    }
    let mut options = database.options(Some(7));
    options.url = {
        let (before, after) = options.url.split_once('@').unwrap();
        let _ = before;
        format!("sqlserver://{user}@{after}")
    };
    options.password = Some(password.to_owned());
    block_on(async {
        let store = open(options).await.unwrap();
        let term = store.acquire("node").await.unwrap();
        let inbound = store
            .name_ids(&[(NameKind::Inbound, "IB_TEST".to_owned())])
            .await
            .unwrap()[0];
        for _ in 0..30 {
            store
                .submit(term, vec![Unit::one(message(inbound))])
                .await
                .remove(0)
                .unwrap();
        }
        assert_eq!(store.census().await.unwrap().messages, 30);
        store.release(term).await.unwrap();
        store.close().await.unwrap();
    });
    let outside = server.sql_as(&user, password, &database.name, "CREATE TABLE dbo.mine (id int)");
    assert!(outside.is_err(), "it may make tables elsewhere");
    drop(database);
    server.sql("master", &format!("DROP LOGIN {user}"));
}
