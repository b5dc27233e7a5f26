//! Retention: a segment's tables are dropped, or replaced by new ones that hold what has to stay. No row is ever
//! deleted.
//!
//! All of it is one transaction on a connection of its own: a crash leaves the old tables and nothing else. The
//! old tables are locked without waiting, so nobody queues behind a wait for a long reader; handoffs touch
//! neither these tables nor the lease row, which is what proves the term here.

use std::collections::HashMap;
use std::time::Duration;

use model::{Term, Timestamp};
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::PgRow;

use super::fault;
use super::lease::PROVE;
use super::link::{Link, arguments};
use super::seal;
use super::segment::KEY;
use crate::Error;
use crate::packing::{self, HEAD_BYTES, Place, REMOVED};
use crate::segments::retention::Remainder;
use crate::segments::revision::Revision;
use crate::server::retention::Retention;
use crate::server::segment::{kinds, prefix, tables, text};
use crate::server::value::{database, values};
use crate::server::{Connection, not_leading};

/// Attempts to lock a segment's tables, and the pause between two.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Tables with values that may lie out of line.
const WITH_TOAST: [&str; 5] = ["message", "outbound", "outcome", "dead_letter", "event"];

impl Retention for Link {
    fn drop_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        change(revision, self, term, |link| {
            drop_tables(link, number)?;
            let sql = "UPDATE holdfast.segment SET dropped_at = $2 WHERE number = $1";
            link.run(
                "noting what became of a segment",
                sql,
                &values![number as i32, now.0],
            )
        })
    }

    fn shrink_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        remainder: &Remainder,
    ) -> Result<(), Error> {
        change(revision, self, term, |link| shrink(link, number, remainder))
    }
}

/// A transaction that changes segments, and proves the term when all is done: what proves it keeps the lease from being
/// renewed until the transaction has ended. Readers who looked at several segments while it ended look again.
fn change(
    revision: &Revision,
    link: &mut Link,
    term: Term,
    work: impl FnOnce(&mut Link) -> Result<(), Error>,
) -> Result<(), Error> {
    let proven = |link: &mut Link| {
        work(link)?;
        if link.did("reading the term", PROVE, &values![term.epoch.0 as i32, term.id])? {
            Ok(())
        } else {
            Err(not_leading())
        }
    };
    link.transaction_ending(proven, |commit| revision.change(commit))
}

/// Drops the tables once nobody reads them.
fn drop_tables(link: &mut Link, number: u32) -> Result<(), Error> {
    let doing = database("dropping a segment");
    let tables = tables::<Link>(number).collect::<Vec<_>>().join(", ");
    link.script("SET LOCAL lock_timeout = '2s'").map_err(&doing)?;
    for tries in 1.. {
        link.script("SAVEPOINT unlocked").map_err(&doing)?;
        match link.script(format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE NOWAIT")) {
            Ok(()) => break,
            Err(error) if tries < LOCK_TRIES && fault::state(&error).as_deref() == Some("55P03") => {
                link.script("ROLLBACK TO unlocked").map_err(&doing)?;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(doing(error)),
        }
    }
    link.script(format!("DROP TABLE {tables}")).map_err(&doing)
}

/// What is copied of rows whose bodies may have to go, by table: the columns, and their values. `b.id` is there when
/// they have to, and `b.remnant` is what stays of a message's own body.
const BODIED: [(&str, &str, &str); 3] = [
    (
        "message",
        "id, inbound, received_at, at, control_id, kind, source, parent, keys, enc, body",
        "o.id, inbound, received_at, at, control_id, kind, source, parent, CASE WHEN b.id IS NULL THEN keys END,
         CASE WHEN b.id IS NULL THEN enc ELSE 2 END, CASE WHEN b.id IS NULL THEN body ELSE b.remnant END",
    ),
    (
        "outbound",
        "id, message, handler, destination, priority, partition_key, at, enc, body",
        "o.id, message, handler, destination, priority, CASE WHEN b.id IS NULL THEN partition_key END, at,
         CASE WHEN b.id IS NULL OR body IS NULL THEN enc ELSE 2 END,
         CASE WHEN b.id IS NULL OR body IS NULL THEN body ELSE '' END",
    ),
    (
        "outcome",
        "send, id, message, result, attempts, at, enc, reply",
        "send, o.id, message, result, attempts, at, CASE WHEN b.id IS NULL OR reply IS NULL THEN enc ELSE 2 END,
         CASE WHEN b.id IS NULL OR reply IS NULL THEN reply ELSE '' END",
    ),
];
/// Messages whose bodies are measured in one go.
const REMNANTS: usize = 10_000;

/// Lists the messages that lose their bodies, those of the segment with how long their bodies are.
fn note_remnants(link: &mut Link, number: u32, bare: &[i64]) -> Result<(), Error> {
    const { assert!(REMOVED == 2, "the statements above name it") };
    const { assert!(HEAD_BYTES == 18, "the statement below names it") };
    let doing = database("measuring bodies that go");
    for chunk in bare.chunks(REMNANTS) {
        let sql =
            "SELECT id, enc, octet_length(body), substring(body FOR 18) FROM {s}message WHERE id = ANY ($1)";
        let rows = link.rows(&text(sql, number), &values![chunk]);
        let mut remnants: HashMap<i64, Vec<u8>> = HashMap::with_capacity(chunk.len());
        for row in rows.map_err(&doing)? {
            let (id, remnant) = remnant(&row).map_err(&doing)?;
            remnants.insert(id, remnant);
        }
        let remnants: Vec<Option<Vec<u8>>> = chunk.iter().map(|id| remnants.remove(id)).collect();
        let values = arguments!(chunk, remnants).map_err(&doing)?;
        let sql = "INSERT INTO pg_temp.bare SELECT * FROM unnest($1::bigint[], $2::bytea[])";
        link.rows_with(sql, values).map_err(&doing)?;
    }
    Ok(())
}

fn remnant(row: &PgRow) -> Result<(i64, Vec<u8>), Driver> {
    let id = row.try_get(0)?;
    let (enc, length): (i16, i32) = (row.try_get(1)?, row.try_get(2)?);
    let size = packing::size(Place::Message(id), enc.into(), row.try_get(3)?, length as u64)
        .map_err(|fault| Driver::Decode(Box::new(fault)))?;
    Ok((id, packing::remnant(size)))
}

/// Fills new tables with what has to stay and puts them in the place of the old ones.
fn shrink(link: &mut Link, number: u32, remainder: &Remainder) -> Result<(), Error> {
    let doing = database("copying what has to stay of a segment");
    let old = prefix(number);
    let new = format!("holdfast.r{number:06}_");
    link.script(
        "CREATE TEMP TABLE stays (id bigint PRIMARY KEY) ON COMMIT DROP;
             CREATE TEMP TABLE letter (id bigint PRIMARY KEY) ON COMMIT DROP;
             CREATE TEMP TABLE bare (id bigint PRIMARY KEY, remnant bytea) ON COMMIT DROP",
    )
    .map_err(&doing)?;
    for (sql, numbers) in [
        (
            "INSERT INTO pg_temp.stays SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING",
            &remainder.messages,
        ),
        (
            "INSERT INTO pg_temp.letter SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING",
            &remainder.letters,
        ),
    ] {
        link.rows(sql, &values![&numbers[..]]).map_err(&doing)?;
    }
    note_remnants(link, number, &remainder.bare)?;
    link.script(format!(
        "INSERT INTO pg_temp.letter SELECT id FROM {old}dead_letter
             WHERE message IN (SELECT id FROM pg_temp.stays) ON CONFLICT DO NOTHING;
             ANALYZE pg_temp.stays; ANALYZE pg_temp.letter; ANALYZE pg_temp.bare"
    ))
    .map_err(&doing)?;
    for table in kinds::<Link>() {
        let (column, of) = match table {
            "message" => ("id", "stays"),
            "resolved" => ("dead_letter", "letter"),
            _ => ("message", "stays"),
        };
        let toast = if WITH_TOAST.contains(&table) {
            ", toast.autovacuum_enabled = off"
        } else {
            ""
        };
        let (columns, values) = BODIED
            .iter()
            .find(|(of, _, _)| *of == table)
            .map_or((String::new(), "o.*"), |(_, columns, values)| {
                (format!("({columns})"), values)
            });
        // The keys of messages without bodies are not copied; of all other tables every row is.
        let but = if table == KEY { "AND b.id IS NULL" } else { "" };
        link.script(format!(
                "CREATE TABLE {new}{table} (LIKE {old}{table} INCLUDING ALL) WITH (autovacuum_enabled = off{toast});
                 INSERT INTO {new}{table} {columns} SELECT {values} FROM {old}{table} AS o
                     LEFT JOIN pg_temp.bare AS b ON b.id = o.{column}
                     WHERE o.{column} IN (SELECT id FROM pg_temp.{of}) {but};
                 ANALYZE {new}{table}"
            ))
            .map_err(&doing)?;
    }
    drop_tables(link, number)?;
    for table in kinds::<Link>() {
        link.script(format!("ALTER TABLE {new}{table} RENAME TO s{number:06}_{table}"))
            .map_err(&doing)?;
    }
    seal::note_contents(link, number)
}
