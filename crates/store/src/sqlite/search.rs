//! Searching: the numbers of the messages of one segment that something is said of, and what is noted of a
//! segment when it is sealed. A sealed segment has an index for each statement here (seal.rs); in an open one
//! they walk the rows from the newest backwards.

use model::NameId;
use rusqlite::{Connection, ToSql};

use super::fault::database;
use crate::Error;
use crate::keys::entries;
use crate::packing;
use crate::segments::profile::{BLOCKS, Profile, Share};
use crate::segments::search::Profiles;
use crate::segments::source::{Between, By};

pub(super) fn messages_by(
    connection: &Connection,
    by: By<'_>,
    between: Between,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let ids = |sql: &str, values: &[&dyn ToSql]| -> rusqlite::Result<Vec<i64>> {
        let bounds: [&dyn ToSql; 3] = [&between.low, &between.before, &(limit as i64)];
        let mut statement = connection.prepare_cached(sql)?;
        let all: Vec<&dyn ToSql> = bounds.iter().chain(values).copied().collect();
        statement.query_map(&all[..], |row| row.get(0))?.collect()
    };
    match by {
        By::Time(since, until) => ids(
            "SELECT id FROM message WHERE id >= ?1 AND id < ?2 AND received_at >= ?4 AND received_at < ?5
             ORDER BY id DESC LIMIT ?3",
            &[&since.0, &until.0],
        ),
        By::Key(key, true) => ids(
            "SELECT message FROM key WHERE entry = ?4 AND message >= ?1 AND message < ?2
             ORDER BY message DESC LIMIT ?3",
            &[&key.entry()],
        ),
        By::Key(key, false) => ids(
            "SELECT id FROM message WHERE id >= ?1 AND id < ?2
               AND instr(char(31) || keys || char(31), char(31) || ?4 || char(31)) > 0
             ORDER BY id DESC LIMIT ?3",
            &[&key.entry()],
        ),
        By::ControlId(id) => ids(
            "SELECT id FROM message WHERE control_id = ?4 AND id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
            &[&id],
        ),
        By::Kinds(kinds) => {
            let mut found = Vec::new();
            for (inbound, kind) in kinds {
                found.extend(ids(
                    "SELECT id FROM message WHERE inbound = ?4 AND coalesce(kind, '') = ?5
                       AND id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
                    &[&inbound.0, kind],
                )?);
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.truncate(limit);
            Ok(found)
        }
        By::Scan(inbound, kind, since, until) => ids(
            // Everything that begins with the text sorts before the text and the last character there is.
            "SELECT id FROM message WHERE id >= ?1 AND id < ?2 AND (?4 = 0 OR inbound = ?4)
               AND (?5 IS NULL OR kind >= ?5 AND kind < ?5 || char(1114111))
               AND received_at >= ?6 AND received_at < ?7 ORDER BY id DESC LIMIT ?3",
            &[&inbound.map_or(0, |inbound| inbound.0), &kind, &since.0, &until.0],
        ),
        By::Destination(name) => ids(
            "SELECT message FROM outbound WHERE destination = ?4 AND message >= ?1 AND message < ?2
             ORDER BY message DESC LIMIT ?3",
            &[&name.0],
        ),
        By::Disposition(disposition) => ids(
            "SELECT message FROM disposition WHERE disposition = ?4 AND message >= ?1 AND message < ?2
             ORDER BY message DESC LIMIT ?3",
            &[&disposition.code()],
        ),
        By::Undisposed => ids(
            "SELECT id FROM message AS m WHERE id >= ?1 AND id < ?2
               AND NOT EXISTS (SELECT 1 FROM disposition WHERE message = m.id)
             ORDER BY id DESC LIMIT ?3",
            &[],
        ),
    }
}

/// Writes the table of the keys anew, in its own order: a sealing that was cut short may have left some of it.
pub(super) fn fill_keys(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("DELETE FROM key", [])?;
    let mut keys: Vec<(String, i64)> = Vec::new();
    {
        let mut statement =
            transaction.prepare("SELECT keys, id FROM message WHERE keys IS NOT NULL ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (text, id) = (row.get_ref(0)?.as_str()?, row.get(1)?);
            keys.extend(entries(text).map(|entry| (entry.to_owned(), id)));
        }
        keys.sort_unstable();
        let mut insert = transaction.prepare("INSERT OR IGNORE INTO key (entry, message) VALUES (?1, ?2)")?;
        for (entry, message) in &keys {
            insert.execute((entry, message))?;
        }
    }
    transaction.commit()
}

/// Counts what a segment holds.
pub(super) fn profile(connection: &Connection) -> rusqlite::Result<Profile> {
    let ends: (Option<i64>, Option<i64>) = connection.query_row(
        "SELECT (SELECT min(id) FROM message), (SELECT max(id) FROM message)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (first, last) = (ends.0.unwrap_or(0), ends.1.unwrap_or(0));
    let width = (last - first) / BLOCKS + 1;
    let mut statement = connection.prepare(
        "SELECT (id - ?1) / ?2, inbound, coalesce(kind, ''), count(*), min(id), min(received_at), max(received_at)
         FROM message GROUP BY 1, 2, 3",
    )?;
    let shares = statement.query_map([first, width], |row| {
        Ok(Share {
            block: row.get(0)?,
            inbound: NameId(row.get(1)?),
            kind: row.get(2)?,
            count: row.get::<_, i64>(3)? as u64,
            first: row.get(4)?,
            oldest: row.get(5)?,
            newest: row.get(6)?,
        })
    })?;
    let shares = shares.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare("SELECT destination, count(*) FROM outbound GROUP BY 1")?;
    let destinations =
        statement.query_map([], |row| Ok((NameId(row.get(0)?), row.get::<_, i64>(1)? as u64)))?;
    let destinations = destinations.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare("SELECT disposition, count(*) FROM disposition GROUP BY 1")?;
    let dispositions = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    let dispositions = dispositions.collect::<rusqlite::Result<_>>()?;
    const { assert!(packing::REMOVED == 2, "the statement below names it") };
    let bare = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM message WHERE enc <> 2)
            AND NOT EXISTS (SELECT 1 FROM outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM outcome WHERE reply IS NOT NULL AND enc <> 2)",
        [],
        |row| row.get(0),
    )?;
    Ok(Profile::new(shares, destinations, dispositions, bare))
}

/// The profiles of the segments that live, from the control file.
pub(super) fn profiles(control: &Connection) -> Result<Profiles, Error> {
    let doing = database("reading what segments hold");
    let read = || {
        let mut statement = control.prepare_cached(
            "SELECT number, profile FROM segment WHERE profile IS NOT NULL AND dropped_at IS NULL",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<(u32, String)>>>()
    };
    let profiles = read().map_err(&doing)?.into_iter().map(|(number, text)| {
        let profile = serde_json::from_str(&text).map_err(|source| Error::Database {
            doing: "reading what segments hold",
            source: Box::new(source),
        })?;
        Ok((number, profile))
    });
    profiles.collect()
}
