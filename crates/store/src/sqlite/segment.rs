//! One segment's file: making it, opening it, its shard row.

use std::path::Path;

use model::{Epoch, Term, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::database::{self, Kind};
use super::fault;
use super::migrate;
use crate::Error;
use crate::segments::catalog::Segment;

/// Makes the file of a new segment, with the shard row of `term`.
pub(super) fn create(
    file: &Path,
    store: Uuid,
    segment: &Segment,
    term: Option<Term>,
    now: Timestamp,
) -> Result<Connection, Error> {
    let mut connection = database::open_for_writing(file, Kind::Segment)?;
    migrate::run(&mut connection, file, migrate::SEGMENT, now)?;
    let fault = fault::opening(file);
    connection
        .execute(
            "INSERT INTO segment (one, store, number, first_row) VALUES (1, ?1, ?2, ?3)",
            params![store.as_bytes(), segment.number, segment.first],
        )
        .map_err(&fault)?;
    write_term(&connection, term).map_err(&fault)?;
    Ok(connection)
}

/// Opens a segment that exists and checks that it is the one the control file means.
pub(super) fn open(file: &Path, store: Uuid, segment: &Segment, now: Timestamp) -> Result<Connection, Error> {
    must_exist(file)?;
    let mut connection = database::open_for_writing(file, Kind::Segment)?;
    migrate::run(&mut connection, file, migrate::SEGMENT, now)?;
    check_identity(&connection, file, store, segment)?;
    Ok(connection)
}

fn must_exist(file: &Path) -> Result<(), Error> {
    if file.exists() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} is missing: restore the whole data directory from a backup (messages in that file are not elsewhere)",
        file.display()
    )))
}

/// Looks at a sealed segment: it must be there, ours, and of a schema that this program reads.
pub(super) fn verify(file: &Path, store: Uuid, segment: &Segment, now: Timestamp) -> Result<(), Error> {
    must_exist(file)?;
    database::check_header(file)?;
    let connection = database::open_for_reading(file)?;
    if !migrate::is_current(&connection, file, migrate::SEGMENT)? {
        drop(connection);
        return open(file, store, segment, now).map(drop);
    }
    check_identity(&connection, file, store, segment)
}

fn check_identity(connection: &Connection, file: &Path, store: Uuid, segment: &Segment) -> Result<(), Error> {
    let found: Option<([u8; 16], u32, i64)> = connection
        .query_row("SELECT store, number, first_row FROM segment", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(fault::opening(file))?;
    if found != Some((*store.as_bytes(), segment.number, segment.first)) {
        return Err(Error::Refused(format!(
            "{} does not belong to this store or was renamed: restore the whole data directory from one backup",
            file.display()
        )));
    }
    Ok(())
}

/// Rewrites the shard row: every claim of an older term is void from here on. No term = nobody leads.
pub(super) fn write_term(connection: &Connection, term: Option<Term>) -> rusqlite::Result<()> {
    let (epoch, id) = term.map_or((0, Uuid::nil()), |term| (term.epoch.0, term.id));
    connection.execute(
        "INSERT OR REPLACE INTO shard (shard, epoch, term) VALUES (0, ?1, ?2)",
        params![epoch, id.as_bytes()],
    )?;
    Ok(())
}

/// The shard row. Under the write lock this is the fence.
pub(super) fn read_term(connection: &Connection) -> rusqlite::Result<Option<Term>> {
    let mut statement = connection.prepare_cached("SELECT epoch, term FROM shard WHERE shard = 0")?;
    let term = statement.query_row([], |row| {
        Ok(Term {
            epoch: Epoch(row.get(0)?),
            id: Uuid::from_bytes(row.get(1)?),
        })
    });
    Ok(term.optional()?.filter(|term| !term.id.is_nil()))
}

/// The highest number of any row in the file.
pub(super) fn newest_row(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row(
        "SELECT max(id) FROM (
             SELECT max(id) AS id FROM message UNION ALL SELECT max(id) FROM routed
             UNION ALL SELECT max(id) FROM handled UNION ALL SELECT max(id) FROM outbound
             UNION ALL SELECT max(id) FROM outcome UNION ALL SELECT max(id) FROM disposition
             UNION ALL SELECT max(id) FROM dead_letter UNION ALL SELECT max(id) FROM resolved
             UNION ALL SELECT max(id) FROM event)",
        [],
        |row| row.get(0),
    )
}

/// Whether the file holds no row at all.
pub(super) fn is_empty(file: &Path) -> Result<bool, Error> {
    let connection = database::open_for_reading(file)?;
    let fault = fault::opening(file);
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'event'",
            [],
            |row| row.get(0),
        )
        .map_err(&fault)?;
    if tables == 0 {
        return Ok(true);
    }
    Ok(newest_row(&connection).map_err(&fault)?.is_none())
}

/// Rows of all kinds in the file.
pub(super) fn count_rows(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 = connection.query_row(
        "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM routed) + (SELECT count(*) FROM handled)
              + (SELECT count(*) FROM outbound) + (SELECT count(*) FROM outcome) + (SELECT count(*) FROM disposition)
              + (SELECT count(*) FROM dead_letter) + (SELECT count(*) FROM resolved) + (SELECT count(*) FROM event)",
        [],
        |row| row.get(0),
    )?;
    Ok(rows as u64)
}
