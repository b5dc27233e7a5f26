//! Migrations of the schema `holdfast`, in one transaction, under a lock that lets one process at a time
//! make or change tables of the store.

use model::Timestamp;
use sqlx_core::row::Row;
use sqlx_postgres::PgArguments;

use super::fault::{self, database};
use super::link::{Link, arguments};
use crate::Error;
use crate::migration::{Migration, pending};

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "store",
        sql: include_str!("../../migrations/postgres/0001_store.sql"),
    },
    Migration {
        version: 2,
        name: "cluster",
        sql: include_str!("../../migrations/postgres/0002_cluster.sql"),
    },
    Migration {
        version: 3,
        name: "commands",
        sql: include_str!("../../migrations/postgres/0003_commands.sql"),
    },
];

/// The newest version of the schema that this program knows.
pub(super) fn newest() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

const LEDGER: &str = "CREATE SCHEMA IF NOT EXISTS holdfast;
    CREATE TABLE IF NOT EXISTS holdfast.migration (
        version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at bigint NOT NULL)";

/// Waits for its turn; the turn lasts until the transaction ends. The number is this program's own.
pub(super) const LOCK: &str = "SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(5207331104129)";

/// Brings the schema up to date.
pub(super) fn run(link: &mut Link, place: &str, now: Timestamp) -> Result<(), Error> {
    if left(link, place)?.is_empty() {
        return Ok(());
    }
    link.transaction(|link| {
        let doing = preparing(place);
        link.script(LOCK).map_err(&doing)?;
        // Whoever held the lock before may have done it all.
        let left = left(link, place)?;
        if left.is_empty() {
            return Ok(());
        }
        link.script(LEDGER).map_err(&doing)?;
        for migration in left {
            link.script(migration.sql).map_err(&doing)?;
            let values = arguments!(migration.version, migration.name, migration.checksum(), now.0);
            link.rows(
                "INSERT INTO holdfast.migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                values.map_err(&doing)?,
            )
            .map_err(&doing)?;
        }
        Ok(())
    })
}

/// A refusal that says what to do, where something can be done.
fn preparing(place: &str) -> impl Fn(sqlx_core::error::Error) -> Error {
    let place = place.to_owned();
    move |error| match fault::state(&error).as_deref() {
        Some("25006") => Error::Refused(format!(
            "the database at {place} is read-only and has no tables of this program's version yet: point store.url at \
             the primary"
        )),
        Some("42501") => Error::Refused(format!(
            "the database user may not create the schema holdfast at {place}: GRANT CREATE ON DATABASE to it, or \
             create the schema with that user as its owner"
        )),
        _ => database("preparing the schema holdfast")(error),
    }
}

fn left(link: &mut Link, place: &str) -> Result<Vec<&'static Migration>, Error> {
    let doing = database("reading what was migrated");
    let there: bool = link
        .row(
            // Not to_regclass: after a wait for the lock that would answer from what the session saw before.
            "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = 'holdfast' AND c.relname = 'migration')",
            PgArguments::default(),
        )
        .and_then(|row| row.try_get(0))
        .map_err(&doing)?;
    let mut recorded = Vec::new();
    if there {
        let rows = link
            .rows(
                "SELECT version, checksum FROM holdfast.migration",
                PgArguments::default(),
            )
            .map_err(&doing)?;
        for row in rows {
            let version = row.try_get(0).map_err(&doing)?;
            recorded.push((version, row.try_get(1).map_err(&doing)?));
        }
    }
    pending(&format!("the store at {place}"), MIGRATIONS, &recorded)
}
