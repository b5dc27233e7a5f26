//! Searching: the numbers of the messages of one segment that something is said of, and what is noted of a
//! segment when it is sealed. A sealed segment has an index for each statement here (seal.rs); in an open one
//! they walk the rows from the newest backwards.

use model::NameId;
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::{PgArguments, PgRow};

use super::fault::database;
use super::link::{Link, arguments};
use super::segment::{number, text};
use super::tables::Tables;
use crate::Error;
use crate::packing;
use crate::segments::profile::{BLOCKS, Profile, Share};
use crate::segments::search::Profiles;
use crate::segments::source::{Between, By};

impl Tables<'_> {
    pub(super) fn messages_by(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        let (low, before, limit) = (between.low, between.before, limit as i64);
        let (sql, values) = match by {
            By::Time(since, until) => (
                "SELECT id FROM {s}message WHERE id >= $1 AND id < $2 AND received_at >= $4 AND received_at < $5
                 ORDER BY id DESC LIMIT $3",
                arguments!(low, before, limit, since.0, until.0),
            ),
            By::Key(key, true) => (
                "SELECT message FROM {s}key WHERE entry = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
                arguments!(low, before, limit, key.entry()),
            ),
            By::Key(key, false) => (
                "SELECT id FROM {s}message WHERE id >= $1 AND id < $2
                   AND strpos(chr(31) || keys || chr(31), chr(31) || $4::text || chr(31)) > 0
                 ORDER BY id DESC LIMIT $3",
                arguments!(low, before, limit, key.entry()),
            ),
            By::ControlId(id) => (
                "SELECT id FROM {s}message WHERE control_id = $4 AND id >= $1 AND id < $2
                 ORDER BY id DESC LIMIT $3",
                arguments!(low, before, limit, id),
            ),
            By::Kinds(kinds) => {
                let (inbounds, kinds): (Vec<i32>, Vec<&str>) = kinds
                    .iter()
                    .map(|(inbound, kind)| (inbound.0 as i32, *kind))
                    .unzip();
                (
                    "SELECT m.id FROM unnest($4::integer[], $5::text[]) AS wanted (inbound, kind)
                     CROSS JOIN LATERAL (SELECT id FROM {s}message
                         WHERE inbound = wanted.inbound AND coalesce(kind, '') = wanted.kind COLLATE \"C\"
                           AND id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS m
                     ORDER BY m.id DESC LIMIT $3",
                    arguments!(low, before, limit, inbounds, kinds),
                )
            }
            By::Scan(inbound, kind, since, until) => (
                // Everything that begins with the text sorts before the text and the last character there is.
                "SELECT id FROM {s}message WHERE id >= $1 AND id < $2 AND ($4 = 0 OR inbound = $4)
                   AND ($5::text IS NULL OR kind >= $5 AND kind < $5 || chr(1114111))
                   AND received_at >= $6 AND received_at < $7 ORDER BY id DESC LIMIT $3",
                arguments!(
                    low,
                    before,
                    limit,
                    inbound.map_or(0, |inbound| inbound.0 as i32),
                    kind,
                    since.0,
                    until.0
                ),
            ),
            By::Destination(name) => (
                "SELECT message FROM {s}outbound WHERE destination = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
                arguments!(low, before, limit, name.0 as i32),
            ),
            By::Disposition(disposition) => (
                "SELECT message FROM {s}disposition WHERE disposition = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
                arguments!(low, before, limit, disposition.code() as i16),
            ),
            By::Undisposed => (
                "SELECT id FROM {s}message AS m WHERE id >= $1 AND id < $2
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = m.id)
                 ORDER BY id DESC LIMIT $3",
                arguments!(low, before, limit),
            ),
        };
        self.rows(index, sql, values, |row| row.try_get(0))
    }
}

/// Fills the table of the keys from the messages' own texts, in the order of its index.
const FILL_KEYS: &str = "INSERT INTO {s}key (entry, message)
    SELECT entry, id FROM {s}message CROSS JOIN LATERAL unnest(string_to_array(keys, chr(31))) AS entry
    WHERE keys IS NOT NULL";

const SHARES: &str = "SELECT (id - $1) / $2 AS block, inbound, coalesce(kind, '') AS kind, count(*), min(id),
        min(received_at), max(received_at)
    FROM {s}message GROUP BY 1, 2, 3";

/// Writes the table of the keys anew: a sealing that was cut short may have left some of it.
pub(super) fn fill_keys(link: &mut Link, number: u32) -> Result<(), Error> {
    let doing = database("sorting a segment's search keys");
    link.transaction(|link| {
        link.script("SET LOCAL enable_seqscan = on").map_err(&doing)?;
        link.script(text("TRUNCATE {s}key", number).0).map_err(&doing)?;
        link.script(text(FILL_KEYS, number).0).map_err(&doing)
    })
}

/// Counts what a sealed segment holds.
pub(super) fn profile(link: &mut Link, number: u32) -> Result<Profile, Error> {
    let doing = database("counting what a segment holds");
    link.transaction(|link| {
        link.script("SET LOCAL enable_seqscan = on").map_err(&doing)?;
        counted(link, number).map_err(&doing)
    })
}

fn counted(link: &mut Link, number: u32) -> Result<Profile, Driver> {
    let ends = link.row(
        text("SELECT min(id), max(id) FROM {s}message", number),
        PgArguments::default(),
    )?;
    let (first, last): (Option<i64>, Option<i64>) = (ends.try_get(0)?, ends.try_get(1)?);
    let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
    let width = (last - first) / BLOCKS + 1;
    let shares = link.rows(text(SHARES, number), arguments!(first, width)?)?;
    let destinations = link.rows(
        text("SELECT destination, count(*) FROM {s}outbound GROUP BY 1", number),
        PgArguments::default(),
    )?;
    let dispositions = link.rows(
        text(
            "SELECT disposition, count(*) FROM {s}disposition GROUP BY 1",
            number,
        ),
        PgArguments::default(),
    )?;
    const { assert!(packing::REMOVED == 2, "the statement below names it") };
    let bare = link.row(
        text(
            "SELECT NOT EXISTS (SELECT FROM {s}message WHERE enc <> 2)
                AND NOT EXISTS (SELECT FROM {s}outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL)
                AND NOT EXISTS (SELECT FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2)",
            number,
        ),
        PgArguments::default(),
    )?;
    let shares: Result<_, Driver> = shares.iter().map(share).collect();
    let destinations: Result<_, Driver> = destinations
        .iter()
        .map(|row| Ok((name(row, 0)?, row.try_get::<i64, _>(1)? as u64)))
        .collect();
    let dispositions: Result<_, Driver> = dispositions
        .iter()
        .map(|row| {
            Ok((
                i64::from(row.try_get::<i16, _>(0)?),
                row.try_get::<i64, _>(1)? as u64,
            ))
        })
        .collect();
    Ok(Profile::new(
        shares?,
        destinations?,
        dispositions?,
        bare.try_get(0)?,
    ))
}

fn share(row: &PgRow) -> Result<Share, Driver> {
    Ok(Share {
        block: row.try_get(0)?,
        inbound: name(row, 1)?,
        kind: row.try_get(2)?,
        count: row.try_get::<i64, _>(3)? as u64,
        first: row.try_get(4)?,
        oldest: row.try_get(5)?,
        newest: row.try_get(6)?,
    })
}

fn name(row: &PgRow, column: usize) -> Result<NameId, Driver> {
    number(row, column).map(NameId)
}

/// The profiles of the segments that live.
pub(super) fn profiles(link: &mut Link) -> Result<Profiles, Error> {
    let doing = database("reading what segments hold");
    let rows = link
        .rows(
            "SELECT number, profile FROM holdfast.segment WHERE profile IS NOT NULL AND dropped_at IS NULL",
            PgArguments::default(),
        )
        .map_err(&doing)?;
    let read = |row: &PgRow| -> Result<_, Driver> {
        let profile: String = row.try_get(1)?;
        let profile = serde_json::from_str(&profile).map_err(|error| Driver::Decode(Box::new(error)))?;
        Ok((number(row, 0)?, profile))
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(&doing)
}
