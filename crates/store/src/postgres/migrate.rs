//! Migrations of the schema `holdfast`.

use model::Timestamp;
use sqlx_core::error::Error as Driver;

use super::fault;
use super::link::Link;
use crate::Error;
use crate::migration::Migration;
use crate::server::Connection;
use crate::server::migrate::{Migrations, RUNNING};
use crate::server::value::{Row, database, values};

const LEDGER: &str = "CREATE SCHEMA IF NOT EXISTS holdfast;
    CREATE TABLE IF NOT EXISTS holdfast.migration (
        version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at bigint NOT NULL)";

/// From this step on there is a column for it.
const RECORDS_WORKS_FROM: i64 = 3;

impl Migrations for Link {
    const MIGRATIONS: &'static [Migration] = &[
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

    // The column came with a later step than the table.
    const RECORDED: &'static str =
        "SELECT version, checksum, (to_jsonb(step) ->> 'works_from')::bigint FROM holdfast.migration AS step";

    fn has_table(&mut self, name: &str) -> Result<bool, Driver> {
        // Not to_regclass: after a wait for the lock that would answer from what the session saw before.
        let sql = "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'holdfast' AND c.relname = $1)";
        self.row(sql, &values![name]).and_then(|row| row.get(0))
    }

    fn make_ledger(&mut self) -> Result<(), Driver> {
        self.script(LEDGER)
    }

    fn apply(&mut self, steps: &[&Migration], now: Timestamp) -> Result<(), Driver> {
        for step in steps {
            self.script(step.sql)?;
            self.rows(
                "INSERT INTO holdfast.migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                &values![step.version, step.name, step.checksum(), now.0],
            )?;
        }
        for step in steps.iter().filter(|step| step.version >= RECORDS_WORKS_FROM) {
            self.rows(
                "UPDATE holdfast.migration SET works_from = $2 WHERE version = $1",
                &values![step.version, step.works_from],
            )?;
        }
        Ok(())
    }

    fn running_before(&mut self, schema: i64, node: &str) -> Result<Option<String>, Driver> {
        let sql = "SELECT string_agg(format('`%s` (release %s, knows schema %s)', id, version, schema), ', ' ORDER BY id)
        FROM holdfast.node WHERE schema < $1 AND id <> $2 AND role <> 'left'
            AND seen_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $3";
        let row = self.row(sql, &values![schema, node, RUNNING]);
        row.and_then(|row| row.get(0))
    }

    fn preparing(place: &str, error: Driver) -> Error {
        match fault::state(&error).as_deref() {
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
}
