//! Sealing: a segment that takes no more rows gets the indexes that listings and searches use, and a profile
//! of what it holds.

use rusqlite::Connection;

use super::fault::database;
use super::search;
use crate::Error;
use crate::segments::profile::Profile;

const INDEXES: [&str; 6] = [
    "CREATE INDEX IF NOT EXISTS message_control_id ON message (control_id)",
    "CREATE INDEX IF NOT EXISTS message_inbound ON message (inbound, coalesce(kind, ''))",
    "CREATE INDEX IF NOT EXISTS outbound_destination ON outbound (destination, id)",
    "CREATE INDEX IF NOT EXISTS outbound_destination_message ON outbound (destination, message)",
    "CREATE INDEX IF NOT EXISTS disposition_disposition ON disposition (disposition, message)",
    "CREATE INDEX IF NOT EXISTS dead_letter_at_name ON dead_letter (at_name, id)",
];

/// The smallest number that any row refers to. What resolves a dead letter reaches back to it.
const OLDEST_REFERENCE: &str = "SELECT min(reference) FROM (
    SELECT min(message) AS reference FROM routed UNION ALL SELECT min(message) FROM handled
    UNION ALL SELECT min(message) FROM outbound UNION ALL SELECT min(message) FROM outcome
    UNION ALL SELECT min(message) FROM disposition UNION ALL SELECT min(message) FROM dead_letter
    UNION ALL SELECT min(message) FROM event UNION ALL SELECT min(dead_letter) FROM resolved)";

/// Sorts the keys, builds the indexes, empties the log; answers the smallest number that any row refers to
/// (`i64::MAX` when none refers to anything), and the profile.
pub(super) fn seal(connection: &Connection) -> Result<(i64, Profile), Error> {
    let doing = database("sealing a segment");
    search::fill_keys(connection).map_err(&doing)?;
    for index in INDEXES {
        connection.execute_batch(index).map_err(&doing)?;
    }
    let oldest: Option<i64> = connection
        .query_row(OLDEST_REFERENCE, [], |row| row.get(0))
        .map_err(&doing)?;
    let profile = search::profile(connection).map_err(&doing)?;
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(&doing)?;
    // Without a log a file is whole by itself and cheap to open. A reader at work prevents the change;
    // then the file keeps its (empty) log, which harms nothing.
    if let Err(error) = connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())) {
        tracing::debug!(%error, "a sealed segment keeps its log");
    }
    Ok((oldest.unwrap_or(i64::MAX), profile))
}
