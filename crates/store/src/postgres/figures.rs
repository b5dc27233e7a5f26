//! What a server says of its own work, for measurements.

use sqlx_core::row::Row;

use super::link::Link;
use super::options::Options;
use crate::Error;
use crate::server::figures::{ServerFigures, parent_of_session};
use crate::server::value::database;
use crate::server::{Connection, Purpose};

const FIGURES: &str = "
 SELECT coalesce((SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), 0)::bigint,
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, current_setting('server_version')";

/// Reads the figures of the server at `options.url`. Blocks; not inside an asynchronous task.
pub fn server_figures(options: &Options) -> Result<ServerFigures, Error> {
    let failed = || database("reading the server's figures");
    let mut link = Link::open(&options.target()?, &options.node, Purpose::Read)?;
    let row = link.row(FIGURES, &[]).map_err(failed())?;
    let count = |column: usize| -> Result<Option<u64>, Error> {
        let value: i64 = row.try_get(column).map_err(failed())?;
        Ok(u64::try_from(value).ok())
    };
    let figures = ServerFigures {
        transactions: count(0)?,
        log_bytes: count(1)?,
        version: row.try_get(2).map_err(failed())?,
        process: parent_of_session(link.backend), // while the session's process lives
    };
    link.close();
    Ok(figures)
}
