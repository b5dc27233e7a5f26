//! Retention: a segment's tables are dropped, or replaced by new ones that hold what has to stay. No row is ever
//! deleted.
//!
//! All of it is one transaction on a connection of its own: a crash leaves the old tables and nothing else. The
//! old tables are locked without waiting, so nobody queues behind a wait for a long reader; handoffs touch
//! neither these tables nor the lease row, which is what proves the term here.

use std::time::Duration;

use model::Term;

use super::control::not_leading;
use super::fault::{self, database};
use super::link::{Link, Purpose, arguments};
use super::store::Shared;
use super::tables::Tables;
use super::{seal, segment};
use crate::Error;
use crate::segments::View;
use crate::segments::retention::{Done, Fate, Findings, Remainder, RetentionRules, Retired};
use crate::tally::KINDS;

/// Attempts to lock a segment's tables, and the pause between two.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Tables with values that may lie out of line.
const WITH_TOAST: [&str; 5] = ["message", "outbound", "outcome", "dead_letter", "event"];

/// Looks through a segment; `None` when it is not sealed and live.
pub(super) fn examine(
    link: &mut Link,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<(Findings, Remainder)>, Error> {
    let catalog = segment::catalog(link)?;
    let mut segments = catalog.segments.iter();
    let Some(index) = segments.position(|segment| segment.number == number && segment.sealed) else {
        return Ok(None);
    };
    View::new(Tables::new(link, catalog))
        .examine(index, rules)
        .map(Some)
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
    let mut link = Link::open(&shared.target, &shared.options.node, Purpose::Keep)?;
    let retired = retire_over(&mut link, shared, term, number, rules);
    link.close();
    retired
}

fn retire_over(
    link: &mut Link,
    shared: &Shared,
    term: Term,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<Retired>, Error> {
    if !leads(link, term, "")? {
        return Err(not_leading());
    }
    let Some((findings, remainder)) = examine(link, number, rules)? else {
        return Ok(None);
    };
    let before = segment::bytes(link, number)?;
    let now = shared.options.clock.now();
    let done = match findings.fate {
        Fate::Stay => Ok(Done::Kept),
        Fate::Drop => change(shared, link, term, |link| {
            drop_tables(link, number)?;
            note(link, "dropped_at", number, now.0)
        })
        .map(|()| Done::Dropped(before)),
        Fate::Shrink => shrink(shared, link, term, number, &remainder).and_then(|()| {
            let after = segment::bytes(link, number)?;
            Ok(Done::Shrunk(before.saturating_sub(after)))
        }),
    };
    let done = match done {
        Err(error) if fault::state_of(&error).as_deref() == Some("55P03") => Done::Busy,
        other => other?,
    };
    Ok(Some(Retired { findings, done }))
}

/// A transaction that changes segments, and proves the term when all is done: what proves it keeps the lease from being
/// renewed until the transaction has ended. Readers who looked at several segments while it ended look again.
fn change(
    shared: &Shared,
    link: &mut Link,
    term: Term,
    work: impl FnOnce(&mut Link) -> Result<(), Error>,
) -> Result<(), Error> {
    let proven = |link: &mut Link| {
        work(link)?;
        if leads(link, term, "FOR SHARE")? {
            Ok(())
        } else {
            Err(not_leading())
        }
    };
    link.transaction_ending(proven, |commit| shared.revision.change(commit))
}

/// Whether a term leads; with `FOR SHARE` nobody takes it from it before the transaction ends.
fn leads(link: &mut Link, term: Term, lock: &str) -> Result<bool, Error> {
    let doing = database("reading the term");
    let sql = format!(
        "SELECT 1 FROM holdfast.lease WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released {lock}"
    );
    let values = arguments!(term.epoch.0 as i32, term.id).map_err(&doing)?;
    let found = link
        .rows(sqlx_core::sql_str::AssertSqlSafe(sql), values)
        .map_err(&doing)?;
    Ok(!found.is_empty())
}

/// Drops the tables once nobody reads them.
fn drop_tables(link: &mut Link, number: u32) -> Result<(), Error> {
    let doing = database("dropping a segment");
    let tables = segment::tables(number).collect::<Vec<_>>().join(", ");
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

fn note(link: &mut Link, column: &str, number: u32, value: i64) -> Result<(), Error> {
    let doing = database("noting what became of a segment");
    let sql = format!("UPDATE holdfast.segment SET {column} = $2 WHERE number = $1");
    let values = arguments!(number as i32, value).map_err(&doing)?;
    link.rows(sqlx_core::sql_str::AssertSqlSafe(sql), values)
        .map_err(&doing)
        .map(drop)
}

/// Fills new tables with what has to stay and puts them in the place of the old ones.
fn shrink(
    shared: &Shared,
    link: &mut Link,
    term: Term,
    number: u32,
    remainder: &Remainder,
) -> Result<(), Error> {
    let doing = database("copying what has to stay of a segment");
    let old = segment::prefix(number);
    let new = format!("holdfast.r{number:06}_");
    change(shared, link, term, |link| {
        link.script(
            "CREATE TEMP TABLE stays (id bigint PRIMARY KEY) ON COMMIT DROP;
             CREATE TEMP TABLE letter (id bigint PRIMARY KEY) ON COMMIT DROP",
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
            link.rows(sql, arguments!(numbers).map_err(&doing)?)
                .map_err(&doing)?;
        }
        link.script(format!(
            "INSERT INTO pg_temp.letter SELECT id FROM {old}dead_letter
             WHERE message IN (SELECT id FROM pg_temp.stays) ON CONFLICT DO NOTHING;
             ANALYZE pg_temp.stays; ANALYZE pg_temp.letter"
        ))
        .map_err(&doing)?;
        let tables = || KINDS.into_iter().chain([segment::KEY]);
        for table in tables() {
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
            link.script(format!(
                "CREATE TABLE {new}{table} (LIKE {old}{table} INCLUDING ALL) WITH (autovacuum_enabled = off{toast});
                 INSERT INTO {new}{table} SELECT * FROM {old}{table} WHERE {column} IN (SELECT id FROM pg_temp.{of});
                 ANALYZE {new}{table}"
            ))
            .map_err(&doing)?;
        }
        drop_tables(link, number)?;
        for table in tables() {
            link.script(format!("ALTER TABLE {new}{table} RENAME TO s{number:06}_{table}"))
                .map_err(&doing)?;
        }
        seal::note_contents(link, number)
    })
}
