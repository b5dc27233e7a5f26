//! Migrations of the files of a store: what is left to apply is applied in one transaction.

use std::path::Path;

use model::Timestamp;
use rusqlite::{Connection, params};

use super::fault;
use crate::Error;
use crate::migration::{self, Migration, Recorded, Schema, pending};

/// The control file's schema.
pub(super) const CONTROL: &[Migration] = &[Migration {
    version: 1,
    name: "control",
    sql: include_str!("../../migrations/sqlite/control/0001_control.sql"),
    works_from: 1,
}];

/// A segment file's schema.
pub(super) const SEGMENT: &[Migration] = &[Migration {
    version: 1,
    name: "segment",
    sql: include_str!("../../migrations/sqlite/segment/0001_segment.sql"),
    works_from: 1,
}];

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS migration (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT";

/// Brings a file's schema up to date, in one transaction.
pub(super) fn run(
    connection: &mut Connection,
    file: &Path,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<(), Error> {
    let left = left(connection, file, migrations)?;
    if left.is_empty() {
        return Ok(());
    }
    let fault = fault::opening(file);
    let transaction = connection.transaction().map_err(&fault)?;
    transaction.execute_batch(LEDGER).map_err(&fault)?;
    for migration in left {
        transaction.execute_batch(migration.sql).map_err(&fault)?;
        transaction
            .execute(
                "INSERT INTO migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![migration.version, migration.name, migration.checksum(), now.0],
            )
            .map_err(&fault)?;
    }
    transaction.commit().map_err(&fault)
}

/// How far the control file's schema is.
pub(super) fn schema(connection: &Connection) -> Result<Schema, Error> {
    let recorded = recorded(connection).map_err(fault::database("reading what was migrated"))?;
    Ok(migration::schema(CONTROL, &recorded))
}

/// Checks what was applied; true when nothing is left to apply.
pub(super) fn is_current(
    connection: &Connection,
    file: &Path,
    migrations: &[Migration],
) -> Result<bool, Error> {
    Ok(left(connection, file, migrations)?.is_empty())
}

fn left<'m>(
    connection: &Connection,
    file: &Path,
    migrations: &'m [Migration],
) -> Result<Vec<&'m Migration>, Error> {
    let recorded = recorded(connection).map_err(fault::opening(file))?;
    pending(&file.display().to_string(), migrations, &recorded)
}

/// What was applied. One process uses a file: nobody older has to work with what a newer one made of it.
fn recorded(connection: &Connection) -> rusqlite::Result<Vec<Recorded>> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'migration'",
        [],
        |row| row.get(0),
    )?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT version, checksum FROM migration")?;
    statement
        .query_map([], |row| {
            Ok(Recorded {
                version: row.get(0)?,
                checksum: row.get(1)?,
                works_from: None,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration {
        version: 1,
        name: "one",
        sql: "CREATE TABLE one (x)",
        works_from: 1,
    };
    const TWO: Migration = Migration {
        version: 2,
        name: "two",
        sql: "CREATE TABLE two (x)",
        works_from: 2,
    };
    const CHANGED: Migration = Migration {
        version: 1,
        name: "one",
        sql: "CREATE TABLE one (x, y)",
        works_from: 1,
    };

    fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
        run(connection, Path::new("x.db"), migrations, Timestamp(1))
    }

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[ONE]).unwrap();
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        let count: i64 = connection
            .query_row("SELECT count(*) FROM migration", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 2);
    }

    #[test]
    fn a_newer_schema_and_a_changed_step_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        for (migrations, said) in [
            (&[ONE][..], "newer version"),
            (&[CHANGED, TWO][..], "another text"),
        ] {
            let error = migrate(&mut connection, migrations).unwrap_err();
            assert!(
                matches!(&error, Error::Refused(text) | Error::Outdated(text) if text.contains(said)),
                "{error}"
            );
        }
    }

    #[test]
    fn the_schemas_in_this_program_apply() {
        for migrations in [CONTROL, SEGMENT] {
            migrate(&mut Connection::open_in_memory().unwrap(), migrations).unwrap();
        }
    }
}
