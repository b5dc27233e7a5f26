//! Numbered migrations, forward only. What was applied is recorded with its checksum; a file that was
//! changed since, or a schema that is newer than this program, is refused.

use std::path::Path;

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::fault;
use crate::Error;

/// One step of a schema.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// The control file's schema.
pub(super) const CONTROL: &[Migration] = &[Migration {
    version: 1,
    name: "control",
    sql: include_str!("../../migrations/sqlite/control/0001_control.sql"),
}];

/// A segment file's schema.
pub(super) const SEGMENT: &[Migration] = &[Migration {
    version: 1,
    name: "segment",
    sql: include_str!("../../migrations/sqlite/segment/0001_segment.sql"),
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
    if is_current(connection, file, migrations)? {
        return Ok(());
    }
    let fault = fault::opening(file);
    let transaction = connection.transaction().map_err(&fault)?;
    transaction.execute_batch(LEDGER).map_err(&fault)?;
    for migration in migrations {
        if recorded(&transaction, migration.version)
            .map_err(&fault)?
            .is_some()
        {
            continue;
        }
        transaction.execute_batch(migration.sql).map_err(&fault)?;
        transaction
            .execute(
                "INSERT INTO migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![migration.version, migration.name, checksum(migration.sql), now.0],
            )
            .map_err(&fault)?;
    }
    transaction.commit().map_err(&fault)
}

/// Checks what was applied; true when nothing is left to apply.
pub(super) fn is_current(
    connection: &Connection,
    file: &Path,
    migrations: &[Migration],
) -> Result<bool, Error> {
    let fault = fault::opening(file);
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'migration'",
            [],
            |row| row.get(0),
        )
        .map_err(&fault)?;
    if tables == 0 {
        return Ok(false);
    }
    let newest: Option<i64> = connection
        .query_row("SELECT max(version) FROM migration", [], |row| row.get(0))
        .map_err(&fault)?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    if newest.is_some_and(|newest| newest > known) {
        return Err(Error::Refused(format!(
            "{} was written by a newer version of this program (schema {}, this one knows {known}): start the newer \
             version, or restore a backup made before the upgrade",
            file.display(),
            newest.unwrap_or_default(),
        )));
    }
    for migration in migrations {
        match recorded(connection, migration.version).map_err(&fault)? {
            None => return Ok(false),
            Some(found) if found != checksum(migration.sql) => {
                return Err(Error::Refused(format!(
                    "{}: migration {} ({}) was applied from another text than this program carries: use the version \
                     that made the file, or restore a backup",
                    file.display(),
                    migration.version,
                    migration.name,
                )));
            }
            Some(_) => {}
        }
    }
    Ok(true)
}

fn recorded(connection: &Connection, version: i64) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT checksum FROM migration WHERE version = ?1",
            [version],
            |row| row.get(0),
        )
        .optional()
}

fn checksum(sql: &str) -> String {
    // Line ends are git's business, not the schema's.
    let digest = Sha256::digest(sql.replace("\r\n", "\n"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration {
        version: 1,
        name: "one",
        sql: "CREATE TABLE one (x)",
    };
    const TWO: Migration = Migration {
        version: 2,
        name: "two",
        sql: "CREATE TABLE two (x)",
    };
    const CHANGED: Migration = Migration {
        version: 1,
        name: "one",
        sql: "CREATE TABLE one (x, y)",
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
                matches!(&error, Error::Refused(text) if text.contains(said)),
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
