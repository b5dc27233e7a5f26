//! Migrations of the schema `holdfast`.

use model::Timestamp;

use super::fault::Driver;
use super::link::Link;
use super::sql;
use crate::Error;
use crate::migration::Migration;
use crate::server::Connection;
use crate::server::migrate::{Migrations, RUNNING};
use crate::server::value::{database, values};

impl Migrations for Link {
    const MIGRATIONS: &'static [Migration] = &[
        Migration {
            version: 1,
            name: "store",
            sql: include_str!("../../migrations/sqlserver/0001_store.sql"),
            works_from: 1,
        },
        Migration {
            version: 2,
            name: "cluster",
            sql: include_str!("../../migrations/sqlserver/0002_cluster.sql"),
            works_from: 2,
        },
        Migration {
            version: 3,
            name: "commands",
            sql: include_str!("../../migrations/sqlserver/0003_commands.sql"),
            works_from: 2,
        },
    ];

    const RECORDED: &'static str = sql::RECORDED;

    fn has_table(&mut self, name: &str) -> Result<bool, Driver> {
        self.row(sql::TABLE_THERE, &values![name])?.get(0)
    }

    fn make_ledger(&mut self) -> Result<(), Driver> {
        let schema_there: bool = self.row(sql::SCHEMA_THERE, &[])?.get(0)?;
        if !schema_there {
            self.script(sql::MAKE_SCHEMA)?;
        }
        if !self.has_table("migration")? {
            self.script(sql::LEDGER)?;
        }
        Ok(())
    }

    fn apply(&mut self, steps: &[&Migration], now: Timestamp) -> Result<(), Driver> {
        for step in steps {
            // A batch is compiled before it runs: what one adds, the next may use.
            for batch in step.sql.split("\nGO\n") {
                self.script(batch)?;
            }
            let values = values![step.version, step.name, step.checksum(), now.0, step.works_from];
            self.rows(sql::RECORD, &values)?;
        }
        Ok(())
    }

    fn running_before(&mut self, schema: i64, node: &str) -> Result<Option<String>, Driver> {
        let rows = self.rows(sql::SHUT_OUT, &values![schema, node, RUNNING])?;
        let mut running = Vec::new();
        for row in &rows {
            let (id, version, schema): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            running.push(format!("`{id}` (release {version}, knows schema {schema})"));
        }
        Ok((!running.is_empty()).then(|| running.join(", ")))
    }

    fn preparing(place: &str, error: Driver) -> Error {
        match error.number() {
            Some(3906 | 978) => Error::Refused(format!(
                "the database at {place} is read-only and has no tables of this program's version yet: point store.url at \
                 the primary"
            )),
            Some(262 | 2759 | 2760 | 15247) => Error::Refused(format!(
                "the database user may not make the schema holdfast or its tables at {place}: create the schema with that user \
                 as its owner and GRANT CREATE TABLE to it, as deploy/sqlserver does"
            )),
            _ => database("preparing the schema holdfast")(error),
        }
    }
}
