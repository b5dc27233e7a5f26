//! What the server says of itself, for measurements.

use super::link::Link;
use super::options::Options;
use super::sql;
use crate::Error;
use crate::server::figures::{ServerFigures, named, parent_of_session};
use crate::server::value::database;
use crate::server::{Connection, Purpose};

/// Reads the figures of the server at `options.url`. Blocks; not inside an asynchronous task. Transactions and log need
/// the right to `VIEW SERVER PERFORMANCE STATE` (2019: `VIEW SERVER STATE`), and are `None` without it.
pub fn server_figures(options: &Options) -> Result<ServerFigures, Error> {
    let doing = database("reading the server's figures");
    let mut link = Link::open(&options.target()?, &options.node, Purpose::Read)?;
    let row = link.row(sql::SERVER, &[]).map_err(&doing)?;
    let version: String = row.get(0).map_err(&doing)?;
    let process: i32 = row.get(1).map_err(&doing)?;
    // Refused to users who may not see them; a stand-in has none.
    let counted = link.row(sql::SERVER_COUNTERS, &[]).ok();
    let count = |column: usize| {
        let row = counted.as_ref()?;
        u64::try_from(row.get::<Option<i64>>(column).ok()??).ok()
    };
    let figures = ServerFigures {
        transactions: count(0),
        log_bytes: count(1),
        version: if link.stand_in {
            format!("{version} (Babelfish)")
        } else {
            version
        },
        process: if link.stand_in {
            parent_of_session(link.backend) // while the session's process lives
        } else {
            named(process, "sqlservr")
        },
    };
    link.close();
    Ok(figures)
}
