//! Migrations of the schema `holdfast`, in one transaction, under a lock that lets one process at a time
//! make or change tables of the store.

use model::Timestamp;

use super::fault;
use super::link::Link;
use crate::Error;
use crate::migration::{self, Migration, Recorded, Schema, pending};
use crate::server::value::{Row, database, values};
use crate::server::{Connection, Migrations};

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "store",
        sql: include_str!("../../migrations/postgres/0001_store.sql"),
        works_from: 1,
    },
    Migration {
        version: 2,
        name: "cluster",
        sql: include_str!("../../migrations/postgres/0002_cluster.sql"),
        works_from: 2,
    },
    Migration {
        version: 3,
        name: "commands",
        sql: include_str!("../../migrations/postgres/0003_commands.sql"),
        works_from: 2,
    },
];

const LEDGER: &str = "CREATE SCHEMA IF NOT EXISTS holdfast;
    CREATE TABLE IF NOT EXISTS holdfast.migration (
        version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at bigint NOT NULL)";

/// Waits for its turn; the turn lasts until the transaction ends. The number is this program's own.
pub(super) const LOCK: &str = "SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(5207331104129)";

/// Microseconds since a node was heard of that still count as running.
const RUNNING: i64 = 60 * 1_000_000;

impl Migrations for Link {
    /// Refused where that would shut out a node that runs: other than `node`, heard of lately, and too old for what a step
    /// leaves behind.
    fn migrate(&mut self, place: &str, node: &str, now: Timestamp) -> Result<(), Error> {
        if left(self, place)?.is_empty() {
            return Ok(());
        }
        self.transaction(|link| {
        let doing = preparing(place);
        link.script(LOCK).map_err(&doing)?;
        // Whoever held the lock before may have done it all.
        let left = left(link, place)?;
        if left.is_empty() {
            return Ok(());
        }
        shuts_out_nobody(link, node, &left)?;
        link.script(LEDGER).map_err(&doing)?;
        for migration in &left {
            link.script(migration.sql).map_err(&doing)?;
            link.rows(
                "INSERT INTO holdfast.migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                &values![migration.version, migration.name, migration.checksum(), now.0],
            )
            .map_err(&doing)?;
        }
        for migration in left.iter().filter(|migration| migration.version >= RECORDS_WORKS_FROM) {
            link.rows(
                "UPDATE holdfast.migration SET works_from = $2 WHERE version = $1",
                &values![migration.version, migration.works_from],
            )
            .map_err(&doing)?;
        }
        Ok(())
    })
    }

    fn check_schema(&mut self, place: &str) -> Result<(), Error> {
        left(self, place).map(drop)
    }

    fn schema(&mut self) -> Result<Schema, Error> {
        Ok(migration::schema(MIGRATIONS, &recorded(self)?))
    }

    fn newest_schema() -> i64 {
        migration::newest(MIGRATIONS)
    }
}

/// From this step on there is a column for it.
const RECORDS_WORKS_FROM: i64 = 3;

fn shuts_out_nobody(link: &mut Link, node: &str, left: &[&Migration]) -> Result<(), Error> {
    let doing = database("looking who works with the schema as it is");
    let Some(step) = left.iter().max_by_key(|migration| migration.works_from) else {
        return Ok(());
    };
    if !exists(link, "node").map_err(&doing)? {
        return Ok(());
    }
    let sql = "SELECT string_agg(format('`%s` (release %s, knows schema %s)', id, version, schema), ', ' ORDER BY id)
        FROM holdfast.node WHERE schema < $1 AND id <> $2 AND role <> 'left'
            AND seen_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $3";
    let running: Option<String> = link
        .row(sql, &values![step.works_from, node, RUNNING])
        .and_then(|row| row.get(0))
        .map_err(&doing)?;
    match running {
        None => Ok(()),
        Some(running) => Err(Error::Refused(format!(
            "step {} ({}) of the schema would shut out nodes that run: {running}. Stop them first (one that was killed \
             counts for a minute), or bring them to a release that knows schema {}",
            step.version, step.name, step.works_from
        ))),
    }
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
    pending(&format!("the store at {place}"), MIGRATIONS, &recorded(link)?)
}

/// Whether there is a table of that name.
fn exists(link: &mut Link, table: &str) -> Result<bool, sqlx_core::error::Error> {
    // Not to_regclass: after a wait for the lock that would answer from what the session saw before.
    let sql = "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'holdfast' AND c.relname = $1)";
    link.row(sql, &values![table]).and_then(|row| row.get(0))
}

fn recorded(link: &mut Link) -> Result<Vec<Recorded>, Error> {
    let doing = database("reading what was migrated");
    if !exists(link, "migration").map_err(&doing)? {
        return Ok(Vec::new());
    }
    // The column came with a later step than the table.
    let sql =
        "SELECT version, checksum, (to_jsonb(step) ->> 'works_from')::bigint FROM holdfast.migration AS step";
    let rows = link.rows(sql, &[]).map_err(&doing)?;
    let read = |row: &sqlx_postgres::PgRow| -> Result<Recorded, sqlx_core::error::Error> {
        Ok(Recorded {
            version: row.get(0)?,
            checksum: row.get(1)?,
            works_from: row.get(2)?,
        })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(doing)
}
