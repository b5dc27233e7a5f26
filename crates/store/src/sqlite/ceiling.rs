//! What SQLite appends at best, see [`crate::ceiling`].

use std::path::Path;

use rusqlite::{Connection, params};

use super::fault::database;
use crate::Error;
use crate::ceiling::{Appended, Load};

const TABLES: &str = "
 PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000;
 CREATE TABLE message (id INTEGER PRIMARY KEY, a, b, c, d, e, f, body);
 CREATE TABLE routed (id INTEGER PRIMARY KEY, a, b, c);
 CREATE TABLE outbound (id INTEGER PRIMARY KEY, a, b, c, d, e, body);
 CREATE TABLE outcome (id INTEGER PRIMARY KEY, a, b, c, d, reply);
 CREATE TABLE disposition (id INTEGER PRIMARY KEY, a, b)";

const MESSAGE: &str =
    "INSERT INTO message VALUES (?1, 1, 1, 1, 'MSG00000001', 'ADT^A01', '127.0.0.1:50000', ?2)";
const ROUTED: &str = "INSERT INTO routed VALUES (?1, ?1, 1, x'02000000')";
const OUTBOUND: &str = "INSERT INTO outbound VALUES (?1, ?1, 2, 3, 0, 1, ?2)";
const OUTCOME: &str = "INSERT INTO outcome VALUES (?1, ?1, 1, 1, 1, ?2)";
const DISPOSITION: &str = "INSERT INTO disposition VALUES (?1, 3, 1)";

/// Appends to a file of its own in `directory`, which must exist, and removes it. Blocks.
pub fn ceiling(directory: &Path, load: &Load) -> Result<Appended, Error> {
    let file = directory.join("ceiling.db");
    let appended = append(&file, load);
    for end in ["", "-wal", "-shm"] {
        // One that is not there is as good as removed.
        let _ = std::fs::remove_file(directory.join(format!("ceiling.db{end}")));
    }
    appended
}

fn append(file: &Path, load: &Load) -> Result<Appended, Error> {
    let failed = || database("measuring what it can append");
    let connection = Connection::open(file).map_err(failed())?;
    connection.execute_batch(TABLES).map_err(failed())?;
    let (body, reply) = (load.body(), Load::reply());
    let changed = load.changed.then_some(&body);
    let batch = |first: i64| -> rusqlite::Result<()> {
        let mut message = connection.prepare_cached(MESSAGE)?;
        let mut routed = connection.prepare_cached(ROUTED)?;
        let mut outbound = connection.prepare_cached(OUTBOUND)?;
        let mut outcome = connection.prepare_cached(OUTCOME)?;
        let mut disposition = connection.prepare_cached(DISPOSITION)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for id in first..first + load.batch.max(1) as i64 {
            message.execute(params![id, body])?;
            routed.execute([id])?;
            for send in 0..load.sends as i64 {
                let send = id * load.sends as i64 + send;
                outbound.execute(params![send, changed])?;
                outcome.execute(params![send, reply])?;
            }
            disposition.execute([id])?;
        }
        connection.execute_batch("COMMIT")
    };
    load.run(|first| batch(first).map_err(failed()))
}
