//! What a server says of its own work, for measurements.

use sqlx_core::row::Row;

use super::link::Link;
use super::options::Options;
use crate::Error;
use crate::server::value::database;
use crate::server::{Connection, Purpose};

const FIGURES: &str = "
 SELECT coalesce((SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), 0)::bigint,
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, current_setting('server_version')";

/// A server's figures at one moment. Two readings' difference is what came between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFigures {
    /// Transactions of this database that committed. A session reports its own late: by a second while it works, by
    /// ten when it has nothing to do.
    pub transactions: u64,
    /// Bytes of write-ahead log, of the whole server.
    pub wal_bytes: u64,
    /// The server's release.
    pub version: String,
    /// The server's first process, where it runs on this machine and its processes can be seen.
    pub process: Option<u32>,
}

/// Reads the figures of the server at `options.url`. Blocks; not inside an asynchronous task.
pub fn server_figures(options: &Options) -> Result<ServerFigures, Error> {
    let failed = || database("reading the server's figures");
    let mut link = Link::open(&options.target()?, &options.node, Purpose::Read)?;
    let row = link.row(FIGURES, &[]).map_err(failed())?;
    let count = |column: usize| -> Result<u64, Error> {
        let value: i64 = row.try_get(column).map_err(failed())?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    let figures = ServerFigures {
        transactions: count(0)?,
        wal_bytes: count(1)?,
        version: row.try_get(2).map_err(failed())?,
        process: first_process(link.backend), // while the session's process lives
    };
    link.close();
    Ok(figures)
}

/// The parent of a session's process, if that is a database server's process of this machine.
fn first_process(backend: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    if !head.ends_with("(postgres") {
        return None;
    }
    rest.split(' ').nth(1)?.parse().ok()
}
