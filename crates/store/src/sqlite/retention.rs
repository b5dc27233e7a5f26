//! Retention: a segment's file is unlinked, or replaced by a new one that holds what has to stay. No row is ever
//! deleted.
//!
//! The work runs on the caller's blocking thread with connections of its own. Only the change itself, a rename
//! or an unlink, holds the gate that a change of leadership and a close go through.

use std::fs::File;
use std::path::Path;

use model::Term;
use rusqlite::{Connection, params};

use super::control::Control;
use super::fault::{self, database, io};
use super::store::Shared;
use super::{seal, segment, source};
use crate::Error;
use crate::packing::{self, HEAD_BYTES, Place};
use crate::segments::catalog::Segment;
use crate::segments::profile::Profile;
use crate::segments::retention::{Done, Fate, Findings, Remainder, RetentionRules, Retired, SegmentInfo};
use crate::tally::KINDS;

/// The live segments, oldest first.
pub(super) fn list(shared: &Shared) -> Vec<SegmentInfo> {
    let catalog = shared.catalog();
    let info = |segment: &Segment| SegmentInfo {
        number: segment.number,
        opened_at: model::Timestamp(segment.opened_at),
        sealed: segment.sealed,
        bare: segment.bare,
        bytes: shared.layout.segment_bytes(segment.number),
    };
    catalog.segments.iter().map(info).collect()
}

/// Looks through a segment; `None` when it is not sealed and live.
pub(super) fn examine(
    shared: &Shared,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<(Segment, Findings, Remainder)>, Error> {
    let mut view = shared.view();
    let segments = &view.catalog().segments;
    let place = segments.iter().position(|segment| segment.number == number);
    let Some(index) = place.filter(|&index| segments[index].sealed) else {
        return Ok(None);
    };
    let segment = segments[index].clone();
    let (findings, remainder) = view.examine(index, rules)?;
    Ok(Some((segment, findings, remainder)))
}

/// Drops a segment or makes it anew, as the rules say.
pub(super) fn retire(
    shared: &Shared,
    term: Term,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<Retired>, Error> {
    // One at a time: what one judges, another must not change.
    let _alone = shared.retiring.lock();
    let now = shared.options.clock.now();
    let control = Control::open(&shared.layout, now)?;
    must_lead(&control, term)?;
    let Some((segment, findings, remainder)) = examine(shared, number, rules)? else {
        return Ok(None);
    };
    let layout = &shared.layout;
    let before = layout.segment_bytes(number);
    let done = match findings.fate {
        Fate::Stay => Done::Kept,
        Fate::Drop => {
            shared.change_files(|| {
                must_lead(&control, term)?;
                // The list first: a start after a crash in between removes the file.
                control.note_dropped(number, now)?;
                shared.change_catalog(|catalog| catalog.segments.retain(|segment| segment.number != number));
                shared.readers.forget(number);
                layout
                    .remove_segment(number)
                    .map_err(io("removing a dropped segment"))
            })?;
            Done::Dropped(before)
        }
        Fate::Shrink => {
            let file = layout.rewritten(number);
            let (oldest_reference, profile) = rewrite(shared, &control, term, &segment, &remainder, &file)?;
            shared.change_files(|| {
                must_lead(&control, term)?;
                // Either file is right by itself, and so are the old oldest reference and profile, which
                // only promise more, with the new file.
                layout
                    .replace_segment(number)
                    .map_err(io("replacing a segment"))?;
                shared.readers.forget(number);
                control.note_rewritten(number, oldest_reference, &profile)?;
                shared.change_segment(number, |segment| {
                    segment.oldest_reference = Some(oldest_reference);
                    segment.bare = profile.bare;
                });
                Ok(())
            })?;
            Done::Shrunk(before.saturating_sub(layout.segment_bytes(number)))
        }
    };
    Ok(Some(Retired { findings, done }))
}

fn must_lead(control: &Control, term: Term) -> Result<(), Error> {
    let leader = control.leader()?;
    let leads =
        leader.is_some_and(|leader| !leader.released && leader.term == term.id && leader.epoch == term.epoch);
    if leads {
        return Ok(());
    }
    Err(Error::Refused(
        "this node no longer leads: ask the node that does".to_owned(),
    ))
}

/// Writes what has to stay of a segment to `file`, durably; answers the smallest number that it refers to, and its
/// profile.
fn rewrite(
    shared: &Shared,
    control: &Control,
    term: Term,
    segment: &Segment,
    remainder: &Remainder,
    file: &Path,
) -> Result<(i64, Profile), Error> {
    let layout = &shared.layout;
    layout
        .remove_rewritten()
        .map_err(io("removing an unfinished segment"))?;
    let now = shared.options.clock.now();
    let connection = segment::create(file, control.store_id()?, segment, Some(term), now)?;
    copy(&connection, &layout.segment(segment.number), remainder)
        .map_err(database("copying what has to stay of a segment"))?;
    let sealed = seal::seal(&connection)?;
    connection
        .close()
        .map_err(|(_, error)| fault::database("closing a segment")(error))?;
    File::open(file)
        .and_then(|file| file.sync_all())
        .map_err(io("writing a segment"))?;
    Ok(sealed)
}

/// What is copied of rows whose bodies may have to go, by table: the columns, and their values. `b.id` is there when
/// they have to, and `b.remnant` is what stays of a message's own body.
const BODIED: [(&str, &str, &str); 3] = [
    (
        "message",
        "id, epoch, inbound, received_at, at, control_id, kind, source, parent, keys, enc, body",
        "o.id, epoch, inbound, received_at, at, control_id, kind, source, parent, iif(b.id IS NULL, keys, NULL),
         iif(b.id IS NULL, enc, 2), iif(b.id IS NULL, body, b.remnant)",
    ),
    (
        "outbound",
        "id, epoch, message, handler, destination, priority, partition_key, at, enc, body",
        "o.id, epoch, message, handler, destination, priority, iif(b.id IS NULL, partition_key, NULL), at,
         iif(b.id IS NULL OR body IS NULL, enc, 2), iif(b.id IS NULL OR body IS NULL, body, x'')",
    ),
    (
        "outcome",
        "send, id, epoch, message, result, attempts, at, enc, reply",
        "send, o.id, epoch, message, result, attempts, at,
         iif(b.id IS NULL OR reply IS NULL, enc, 2), iif(b.id IS NULL OR reply IS NULL, reply, x'')",
    ),
];

fn copy(connection: &Connection, from: &Path, remainder: &Remainder) -> rusqlite::Result<()> {
    connection.execute("ATTACH ?1 AS old", [from.to_string_lossy()])?;
    connection.execute_batch(
        "BEGIN; CREATE TEMP TABLE stays (id INTEGER PRIMARY KEY); CREATE TEMP TABLE letter (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE bare (id INTEGER PRIMARY KEY, remnant BLOB)",
    )?;
    for (table, numbers) in [("stays", &remainder.messages), ("letter", &remainder.letters)] {
        let mut add = connection.prepare(&format!("INSERT OR IGNORE INTO temp.{table} (id) VALUES (?1)"))?;
        for number in numbers {
            add.execute(params![number])?;
        }
    }
    connection.execute_batch(
        "INSERT OR IGNORE INTO temp.letter SELECT id FROM old.dead_letter WHERE message IN (SELECT id FROM temp.stays)",
    )?;
    note_remnants(connection, &remainder.bare)?;
    const { assert!(packing::REMOVED == 2, "the statements above name it") };
    for table in KINDS {
        let (column, of) = match table {
            "message" => ("id", "stays"),
            "resolved" => ("dead_letter", "letter"),
            _ => ("message", "stays"),
        };
        let bodied = BODIED.iter().find(|(of, _, _)| *of == table);
        let sql = match bodied {
            Some((_, columns, values)) => format!(
                "INSERT INTO main.{table} ({columns}) SELECT {values} FROM old.{table} AS o
                 LEFT JOIN temp.bare AS b ON b.id = o.{column} WHERE o.{column} IN (SELECT id FROM temp.{of})"
            ),
            None => format!(
                "INSERT INTO main.{table} SELECT * FROM old.{table} WHERE {column} IN (SELECT id FROM temp.{of})"
            ),
        };
        connection.execute_batch(&sql)?;
    }
    connection.execute_batch(
        "COMMIT; DROP TABLE temp.stays; DROP TABLE temp.letter; DROP TABLE temp.bare; DETACH old",
    )
}

/// Lists the messages that lose their bodies, those of the old file with how long their bodies are.
fn note_remnants(connection: &Connection, bare: &[i64]) -> rusqlite::Result<()> {
    const { assert!(HEAD_BYTES == 18, "the statement below names it") };
    let mut look =
        connection.prepare("SELECT enc, length(body), substr(body, 1, 18) FROM old.message WHERE id = ?1")?;
    let mut add = connection.prepare("INSERT INTO temp.bare (id, remnant) VALUES (?1, ?2)")?;
    for number in bare {
        let mut rows = look.query([number])?;
        let remnant = match rows.next()? {
            Some(row) => {
                // The beginning of an empty body is NULL to SQLite.
                let head = row.get_ref(2)?.as_blob_or_null()?.unwrap_or_default();
                let length = row.get::<_, i64>(1)? as u64;
                let size = packing::size(Place::Message(*number), row.get(0)?, head, length);
                Some(packing::remnant(size.map_err(source::conversion)?))
            }
            None => None,
        };
        add.execute(params![number, remnant])?;
    }
    Ok(())
}

/// Removes files that the list says are dropped, and copies that were not finished: a crash came between.
pub(super) fn finish_drops(shared: &Shared, control: &Control) -> Result<(), Error> {
    let doing = io("removing a dropped segment");
    shared.layout.remove_rewritten().map_err(&doing)?;
    let listed = shared.catalog();
    let newest = control.newest_number()?;
    for number in shared.layout.segments_on_disk()? {
        let live = listed.segments.iter().any(|segment| segment.number == number);
        if !live && number <= newest {
            shared.layout.remove_segment(number).map_err(&doing)?;
        }
    }
    Ok(())
}
