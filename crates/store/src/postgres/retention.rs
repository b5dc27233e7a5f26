//! Dropping: whole segments go, oldest first, with their tables. No row is ever deleted.

use model::{Term, Timestamp};

use super::control::not_leading;
use super::fault::{self, database};
use super::link::{Link, arguments};
use super::segment;
use super::tables::Tables;
use crate::segments::View;
use crate::segments::retention::Verdict;
use crate::{DropReport, Error};

/// Removes sealed segments, oldest first, as long as everything in the next one is closed and was
/// received before `received_before`. Refused when `term` does not lead.
pub(super) fn drop_segments(
    link: &mut Link,
    term: Term,
    received_before: Timestamp,
    now: Timestamp,
) -> Result<DropReport, Error> {
    let mut report = DropReport::default();
    if !leads(link, term)? {
        return Err(not_leading());
    }
    loop {
        let catalog = segment::catalog(link)?;
        let verdict = View::new(Tables::new(link, catalog)).may_drop_oldest(received_before)?;
        let (number, messages) = match verdict {
            Verdict::Drop(oldest, messages) => (oldest.number, messages),
            Verdict::Keep(why) => {
                report.stopped_by = why;
                return Ok(report);
            }
        };
        let bytes = segment::bytes(link, number)?;
        match drop_one(link, term, number, now) {
            Ok(()) => {}
            Err(error) if fault::state_of(&error).as_deref() == Some("55P03") => {
                report.stopped_by = "somebody reads it at this moment";
                return Ok(report);
            }
            Err(error) => return Err(error),
        }
        report.segments += 1;
        report.messages += messages;
        report.bytes += bytes;
    }
}

fn leads(link: &mut Link, term: Term) -> Result<bool, Error> {
    let doing = database("reading the term");
    let found = link
        .rows(
            "SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2",
            arguments!(term.epoch.0 as i32, term.id).map_err(&doing)?,
        )
        .map_err(&doing)?;
    Ok(!found.is_empty())
}

/// Tables, list and fence in one transaction. The tables are locked first, so that handoffs do not wait
/// behind a reader for the shard's row.
fn drop_one(link: &mut Link, term: Term, number: u32, now: Timestamp) -> Result<(), Error> {
    let doing = database("dropping a segment");
    let tables = segment::tables(number).collect::<Vec<_>>().join(", ");
    link.transaction(|link| {
        link.script(format!(
            "SET LOCAL lock_timeout = '200ms'; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"
        ))
        .map_err(&doing)?;
        let own = link
            .rows(
                "SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2 FOR UPDATE",
                arguments!(term.epoch.0 as i32, term.id).map_err(&doing)?,
            )
            .map_err(&doing)?;
        if own.is_empty() {
            return Err(not_leading());
        }
        link.rows(
            "UPDATE holdfast.segment SET dropped_at = $2 WHERE number = $1",
            arguments!(number as i32, now.0).map_err(&doing)?,
        )
        .map_err(&doing)?;
        link.script(format!("DROP TABLE {tables}")).map_err(&doing)
    })
}
