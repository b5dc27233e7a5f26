//! Opening SQLite files: pragmas, the marks that tell our files from others, and a quick look at a
//! file's health.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault;
use crate::Error;

/// What a file is, as `PRAGMA application_id` marks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Control = 0x4846_6374,
    Segment = 0x4846_7367,
}

/// Bytes of a page: 8 KiB holds several messages.
pub(super) const PAGE_BYTES: u64 = 8192;
/// Pages of write-ahead log after which the writer itself checkpoints; the keeper gets there first.
const WAL_PAGES_MAX: u32 = 16_000;
/// Only a foreign program (a backup tool, a shell) can hold a lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a file for writing, making it when it is missing.
pub(super) fn open_for_writing(file: &Path, kind: Kind) -> Result<Connection, Error> {
    check_header(file)?;
    let fault = fault::opening(file);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(&fault)?;
    let fresh = claim(&connection, file, kind)?;
    // The page size can be chosen only before the file has content.
    if fresh {
        connection
            .pragma_update(None, "page_size", PAGE_BYTES as i64)
            .map_err(&fault)?;
        connection
            .pragma_update(None, "application_id", kind as i32)
            .map_err(&fault)?;
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(&fault)?;
    tune(&connection).map_err(&fault)?;
    Ok(connection)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // FULL: a commit that returned survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES_MAX)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Opens a file for reading only.
pub(super) fn open_for_reading(file: &Path) -> Result<Connection, Error> {
    let fault = fault::opening(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(&fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&fault)?;
    connection
        .pragma_update(None, "cache_size", -1_024)
        .map_err(&fault)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Reads a file's structure back; the answer is what SQLite finds wrong.
pub(super) fn quick_check(connection: &Connection, file: &Path) -> Result<(), Error> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(fault::opening(file))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(damaged(file, &found))
    }
}

/// Refuses a file of another program; true when the file is new.
fn claim(connection: &Connection, file: &Path, kind: Kind) -> Result<bool, Error> {
    let fault = fault::opening(file);
    let pages: i64 = connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .map_err(&fault)?;
    let mark: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(&fault)?;
    match (pages, mark) {
        (0, _) => Ok(true),
        (_, mark) if mark == kind as i32 => Ok(false),
        _ => Err(Error::Refused(format!(
            "{} is a SQLite file of something else: move it aside, or choose another data directory",
            file.display()
        ))),
    }
}

/// SQLite would take a file shorter than its header for a new one and overwrite it.
pub(super) fn check_header(file: &Path) -> Result<(), Error> {
    let Ok(mut opened) = File::open(file) else {
        return Ok(());
    };
    let mut header = [0; 16];
    let length = opened.metadata().map_or(0, |metadata| metadata.len());
    if length == 0 {
        return Ok(());
    }
    match opened.read_exact(&mut header) {
        Ok(()) if &header == b"SQLite format 3\0" => Ok(()),
        _ => Err(damaged(file, "its header is not that of a SQLite file")),
    }
}

fn damaged(file: &Path, found: &str) -> Error {
    Error::Refused(format!(
        "{} is damaged ({found}): nothing was changed; restore the whole data directory from a backup, or move it \
         aside and start with an empty one",
        file.display()
    ))
}
