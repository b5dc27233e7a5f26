//! Migrations of the schema `holdfast`, in one transaction, under a lock that lets one process at a time
//! make or change tables of the store.

use model::Timestamp;

use super::fault::Driver;
use super::link::Link;
use super::sql;
use super::value::Row;
use crate::Error;
use crate::migration::{self, Migration, Recorded, Schema, pending};
use crate::server::segment::Segments;
use crate::server::value::{database, values};
use crate::server::{Connection, Migrations};

const MIGRATIONS: &[Migration] = &[
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
            link.lock_tables()?;
            // Whoever held the lock before may have done it all.
            let left = left(link, place)?;
            if left.is_empty() {
                return Ok(());
            }
            shuts_out_nobody(link, node, &left)?;
            if !is_there(link, sql::SCHEMA_THERE, None).map_err(&doing)? {
                link.script(sql::MAKE_SCHEMA).map_err(&doing)?;
            }
            if !is_there(link, sql::TABLE_THERE, Some("migration")).map_err(&doing)? {
                link.script(sql::LEDGER).map_err(&doing)?;
            }
            for migration in &left {
                // A batch is compiled before it runs: what one adds, the next may use.
                for batch in migration.sql.split("\nGO\n") {
                    link.script(batch).map_err(&doing)?;
                }
                let values = values![
                    migration.version,
                    migration.name,
                    migration.checksum(),
                    now.0,
                    migration.works_from
                ];
                link.rows(sql::RECORD, &values).map_err(&doing)?;
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

fn shuts_out_nobody(link: &mut Link, node: &str, left: &[&Migration]) -> Result<(), Error> {
    let doing = database("looking who works with the schema as it is");
    let Some(step) = left.iter().max_by_key(|migration| migration.works_from) else {
        return Ok(());
    };
    if !is_there(link, sql::TABLE_THERE, Some("node")).map_err(&doing)? {
        return Ok(());
    }
    let rows = link
        .rows(sql::SHUT_OUT, &values![step.works_from, node, RUNNING])
        .map_err(&doing)?;
    let name = |row: &Row| -> Result<String, Driver> {
        let (id, version, schema): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!("`{id}` (release {version}, knows schema {schema})"))
    };
    let running: Vec<String> = rows.iter().map(name).collect::<Result<_, _>>().map_err(&doing)?;
    if running.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "step {} ({}) of the schema would shut out nodes that run: {}. Stop them first (one that was killed \
         counts for a minute), or bring them to a release that knows schema {}",
        step.version,
        step.name,
        running.join(", "),
        step.works_from
    )))
}

/// A refusal that says what to do, where something can be done.
fn preparing(place: &str) -> impl Fn(Driver) -> Error {
    let place = place.to_owned();
    move |error| match error.number() {
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

fn left(link: &mut Link, place: &str) -> Result<Vec<&'static Migration>, Error> {
    pending(&format!("the store at {place}"), MIGRATIONS, &recorded(link)?)
}

fn is_there(link: &mut Link, sql: &str, table: Option<&str>) -> Result<bool, Driver> {
    let row = match table {
        Some(table) => link.row(sql, &values![table])?,
        None => link.row(sql, &[])?,
    };
    row.get(0)
}

fn recorded(link: &mut Link) -> Result<Vec<Recorded>, Error> {
    let doing = database("reading what was migrated");
    if !is_there(link, sql::TABLE_THERE, Some("migration")).map_err(&doing)? {
        return Ok(Vec::new());
    }
    let rows = link.rows(sql::RECORDED, &[]).map_err(&doing)?;
    let read = |row: &Row| -> Result<Recorded, Driver> {
        Ok(Recorded {
            version: row.get(0)?,
            checksum: row.get(1)?,
            works_from: row.get(2)?,
        })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(doing)
}
