//! Retention: a segment's tables are dropped, or replaced by new ones that hold what has to stay. No row is ever
//! deleted.
//!
//! The new tables are made and filled beforehand, under names of this leadership's own: a sealed segment does not change.
//! What drops the old ones, gives the new ones their names and proves the term on the lease row is one transaction
//! in one round trip, so no lock outlives a node that is cut off in it. The old tables are locked without waiting, so
//! nobody queues behind a wait for a long reader; handoffs touch neither these tables nor the lease row.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use model::{Term, Timestamp};

use super::fault::{self, Driver};
use super::link::Link;
use super::seal;
use super::segment::tables_like;
use super::sql;
use super::value::{Row, list};
use crate::Error;
use crate::packing::{self, HEAD_BYTES, Place, REMOVED};
use crate::segments::retention::Remainder;
use crate::segments::revision::Revision;
use crate::server::retention::Retention;
use crate::server::seal::Sealing;
use crate::server::segment::{Segments, kinds, tables, text};
use crate::server::value::{database, values};
use crate::server::{Connection, not_leading};

/// Attempts to lock a segment's tables, and the pause between two.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Numbers in one go.
const CHUNK: usize = 10_000;
/// What `sql::PROVE` throws.
const NOT_LEADING: u32 = 50_001;

impl Retention for Link {
    fn drop_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        let note = format!(
            "UPDATE holdfast.segment SET dropped_at = {} WHERE number = {number};",
            now.0
        );
        change(revision, self, term, &format!("{}\n {note}", dropping(number)))
    }

    fn shrink_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        remainder: &Remainder,
    ) -> Result<(), Error> {
        shrink(revision, self, term, number, remainder)
    }
}

fn dropping(number: u32) -> String {
    let tables = tables::<Link>(number).collect::<Vec<_>>().join(", ");
    format!("DROP TABLE {tables};")
}

/// A transaction that changes segments, and proves the term when all is done: what proves it keeps the lease from being
/// renewed until the transaction has ended. Readers who looked at several segments while it ended look again.
fn change(revision: &Revision, link: &mut Link, term: Term, work: &str) -> Result<(), Error> {
    let batch = format!(
        "DECLARE @epoch int, @term uniqueidentifier;
 SET @epoch = {};
 SET @term = '{}';
 BEGIN TRANSACTION;
 {work}
 {}
 COMMIT TRANSACTION;",
        term.epoch.0,
        term.id,
        sql::PROVE
    );
    let doing = database("changing a segment");
    link.waiting(0, |link| {
        for tries in 1.. {
            match revision.change(|| link.script(batch.as_str())) {
                Ok(_) => break,
                Err(error) if error.number() == Some(NOT_LEADING) => return Err(not_leading()),
                Err(error) => {
                    let error = doing(error);
                    if tries >= LOCK_TRIES || !fault::is_lock_timeout(&error) {
                        return Err(error);
                    }
                    std::thread::sleep(LOCK_PAUSE);
                }
            }
        }
        Ok(())
    })
}

/// Lists the messages that lose their bodies, those of the segment with how long their bodies are.
fn note_remnants(link: &mut Link, number: u32, bare: &[i64]) -> Result<(), Error> {
    const { assert!(REMOVED == 2, "the statements name it") };
    const { assert!(HEAD_BYTES == 18, "the statement names it") };
    let doing = database("measuring bodies that go");
    for chunk in bare.chunks(CHUNK) {
        let sql = text(sql::BODY_SIZES, number);
        let rows = link.rows(&sql, &values![list(chunk)]).map_err(&doing)?;
        let mut sizes: HashMap<i64, u64> = HashMap::with_capacity(chunk.len());
        for row in rows {
            let (id, size) = remnant(&row).map_err(&doing)?;
            sizes.insert(id, size);
        }
        let mut remnants = Vec::new();
        let rows: Vec<String> = chunk
            .iter()
            .map(|id| match sizes.get(id) {
                Some(size) => {
                    let place = remnants.len() + 1;
                    remnants.extend(packing::remnant(*size));
                    format!("[{id},{place}]")
                }
                None => format!("[{id},null]"),
            })
            .collect();
        let rows = format!("[{}]", rows.join(","));
        link.rows(sql::BARE, &values![rows, remnants]).map_err(&doing)?;
    }
    Ok(())
}

fn remnant(row: &Row) -> Result<(i64, u64), Driver> {
    let id = row.get(0)?;
    let (enc, length, head): (i16, i64, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let size = packing::size(Place::Message(id), enc.into(), &head, length as u64)
        .map_err(|fault| Driver::Decode(Box::new(fault)))?;
    Ok((id, size))
}

/// Fills new tables with what has to stay and puts them in the place of the old ones.
fn shrink(
    revision: &Revision,
    link: &mut Link,
    term: Term,
    number: u32,
    remainder: &Remainder,
) -> Result<(), Error> {
    // What a leadership that ended left half made; one that is about to end may still fill tables of its own name.
    for left in tables_like(link, &format!("r{number:06}_"))? {
        link.script(format!("DROP TABLE holdfast.{left}"))
            .map_err(database("clearing away what was left half made"))?;
    }
    // Names that no table had before, nor its indexes, whose names a stand-in (Babelfish) keeps when a table gets another.
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let new = format!("holdfast.r{number:06}_{}_{made}_", term.epoch.0);
    fill(link, number, &new, remainder)?;
    seal::add_indexes(link, &new)?;
    let (oldest, profile) = link.contents(&new)?;
    let renaming: Vec<String> = kinds::<Link>()
        .map(|kind| format!("EXEC sp_rename N'{new}{kind}', N's{number:06}_{kind}', N'OBJECT';"))
        .collect();
    let note = format!(
        "UPDATE holdfast.segment SET oldest_reference = {oldest}, profile = N'{}' WHERE number = {number};",
        profile.replace('\'', "''")
    );
    let work = format!("{}\n {}\n {note}", dropping(number), renaming.join("\n "));
    change(revision, link, term, &work)
}

/// Makes the new tables and copies what has to stay.
fn fill(link: &mut Link, number: u32, new: &str, remainder: &Remainder) -> Result<(), Error> {
    let doing = database("copying what has to stay of a segment");
    link.script("DROP TABLE IF EXISTS #stays; DROP TABLE IF EXISTS #letter; DROP TABLE IF EXISTS #bare")
        .map_err(&doing)?;
    link.script(sql::REMAINDER).map_err(&doing)?;
    for (sql, numbers) in [
        (sql::STAYS, &remainder.messages),
        (sql::LETTERS_STAY, &remainder.letters),
    ] {
        for chunk in numbers.chunks(CHUNK) {
            link.rows(sql, &values![list(chunk)]).map_err(&doing)?;
        }
    }
    note_remnants(link, number, &remainder.bare)?;
    link.script(text(sql::OWN_LETTERS_STAY, number)).map_err(&doing)?;
    link.script(Link::MAKE_TABLES.replace("{s}", new))
        .map_err(&doing)?;
    for copy in sql::COPIES {
        let copy = copy.replace("{n}", new);
        link.script(text(&copy, number)).map_err(&doing)?;
    }
    Ok(())
}
