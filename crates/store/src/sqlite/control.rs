//! The control file: lease, names, desired states, the list of segments.

use model::{Epoch, NameId, Term, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::database::{self, Kind};
use super::fault::{self, database};
use super::layout::Layout;
use super::migrate;
use crate::codes;
use crate::segments::catalog::Segment;
use crate::segments::profile::Profile;
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

/// A connection that may write the control file. The writer and the keeper hold one each.
#[derive(Debug)]
pub(super) struct Control {
    connection: Connection,
}

impl Control {
    /// Opens the control file, making and migrating it when needed.
    pub(super) fn open(layout: &Layout, now: Timestamp) -> Result<Control, Error> {
        let file = layout.control();
        let mut connection = database::open_for_writing(&file, Kind::Control)?;
        migrate::run(&mut connection, &file, migrate::CONTROL, now)?;
        connection
            .execute(
                "INSERT OR IGNORE INTO store (one, id, clean) VALUES (1, ?1, 1)",
                [Uuid::new_v4().as_bytes()],
            )
            .map_err(fault::opening(&file))?;
        Ok(Control { connection })
    }

    /// The store's random id.
    pub(super) fn store_id(&self) -> Result<Uuid, Error> {
        let id: [u8; 16] = self
            .connection
            .query_row("SELECT id FROM store", [], |row| row.get(0))
            .map_err(database("reading the store's id"))?;
        Ok(Uuid::from_bytes(id))
    }

    /// Whether the store was closed in order.
    pub(super) fn was_clean(&self) -> Result<bool, Error> {
        self.connection
            .query_row("SELECT clean FROM store", [], |row| row.get(0))
            .map_err(database("asking how the store was closed"))
    }

    /// Notes whether the store is closed in order.
    pub(super) fn mark_clean(&self, clean: bool) -> Result<(), Error> {
        self.connection
            .execute("UPDATE store SET clean = ?1", [clean])
            .map_err(database("noting how the store was closed"))?;
        Ok(())
    }

    pub(super) fn leader(&self) -> Result<Option<Leader>, Error> {
        leader(&self.connection)
    }

    /// The term that leads now, given up or not.
    pub(super) fn term(&self) -> Result<Option<Term>, Error> {
        Ok(self.leader()?.map(|leader| Term {
            epoch: leader.epoch,
            id: leader.term,
        }))
    }

    /// Writes a new leadership.
    pub(super) fn lead(&self, term: Term, node: &str, now: Timestamp) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO lease (lease_group, epoch, term, node, acquired_at, released)
                 VALUES (0, ?1, ?2, ?3, ?4, 0)",
                params![term.epoch.0, term.id.as_bytes(), node, now.0],
            )
            .map_err(database("acquiring leadership"))?;
        Ok(())
    }

    /// Notes that `term` was given up; false when another term leads.
    pub(super) fn release(&self, term: Term) -> Result<bool, Error> {
        let changed = self
            .connection
            .execute(
                "UPDATE lease SET released = 1 WHERE lease_group = 0 AND epoch = ?1 AND term = ?2",
                params![term.epoch.0, term.id.as_bytes()],
            )
            .map_err(database("releasing leadership"))?;
        Ok(changed == 1)
    }

    /// Numbers for names, new ones added, in one transaction.
    pub(super) fn name_ids(&mut self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
        let doing = database("numbering names");
        let transaction = self.connection.transaction().map_err(&doing)?;
        let mut ids = Vec::with_capacity(names.len());
        {
            let mut find = transaction
                .prepare_cached("SELECT id FROM name WHERE kind = ?1 AND name = ?2")
                .map_err(&doing)?;
            let mut add = transaction
                .prepare_cached("INSERT INTO name (kind, name) VALUES (?1, ?2)")
                .map_err(&doing)?;
            for (kind, name) in names {
                let code = codes::of_kind(*kind);
                let found: Option<u32> = find
                    .query_row(params![code, name], |row| row.get(0))
                    .optional()
                    .map_err(&doing)?;
                let id = match found {
                    Some(id) => id,
                    None => u32::try_from(add.insert(params![code, name]).map_err(&doing)?)
                        .map_err(|_| Error::Refused("the dictionary of names is full".to_owned()))?,
                };
                ids.push(NameId(id));
            }
        }
        transaction.commit().map_err(&doing)?;
        Ok(ids)
    }

    /// Appends what an operator wants, if `term` leads.
    pub(super) fn set_desired(
        &mut self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self
            .leader()?
            .is_none_or(|leader| leader.released || leader.term != term.id || leader.epoch != term.epoch)
        {
            return Err(Error::Refused(
                "this node no longer leads: ask the node that does".to_owned(),
            ));
        }
        self.connection
            .execute(
                "INSERT INTO desired (epoch, connection, desired, actor, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    term.epoch.0,
                    connection.0,
                    codes::of_desired(desired),
                    actor,
                    now.0
                ],
            )
            .map_err(database("recording what an operator wants"))?;
        Ok(())
    }

    /// The segments that are not dropped, oldest first.
    pub(super) fn segments(&self) -> Result<Vec<Segment>, Error> {
        let doing = database("reading the list of segments");
        let mut statement = self
            .connection
            .prepare(
                "SELECT number, first_row, opened_at, sealed_at IS NOT NULL, drained_at IS NOT NULL, oldest_reference,
                     coalesce(json_extract(profile, '$.bare'), 0)
                 FROM segment WHERE dropped_at IS NULL ORDER BY number",
            )
            .map_err(&doing)?;
        let segments = statement.query_map([], segment).map_err(&doing)?;
        segments.collect::<rusqlite::Result<_>>().map_err(&doing)
    }

    /// The highest number that a segment ever had; 0 when there was none.
    pub(super) fn newest_number(&self) -> Result<u32, Error> {
        self.connection
            .query_row("SELECT coalesce(max(number), 0) FROM segment", [], |row| {
                row.get(0)
            })
            .map_err(database("reading the list of segments"))
    }

    pub(super) fn add_segment(&self, segment: &Segment) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO segment (number, first_row, opened_at) VALUES (?1, ?2, ?3)",
                params![segment.number, segment.first, segment.opened_at],
            )
            .map_err(database("listing a new segment"))?;
        Ok(())
    }

    pub(super) fn note_sealed(
        &self,
        number: u32,
        oldest_reference: i64,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<(), Error> {
        let profile = text_of(profile)?;
        self.connection
            .execute(
                "UPDATE segment SET sealed_at = ?2, oldest_reference = ?3, profile = ?4 WHERE number = ?1",
                params![number, now.0, oldest_reference, profile],
            )
            .map_err(database("noting that a segment is sealed"))?;
        Ok(())
    }

    pub(super) fn note_drained(&self, number: u32, now: Timestamp) -> Result<(), Error> {
        self.connection
            .execute(
                "UPDATE segment SET drained_at = ?2 WHERE number = ?1",
                params![number, now.0],
            )
            .map_err(database("noting that a segment is drained"))?;
        Ok(())
    }

    pub(super) fn note_dropped(&self, number: u32, now: Timestamp) -> Result<(), Error> {
        self.connection
            .execute(
                "UPDATE segment SET dropped_at = ?2 WHERE number = ?1",
                params![number, now.0],
            )
            .map_err(database("noting that a segment is dropped"))?;
        Ok(())
    }

    pub(super) fn note_rewritten(
        &self,
        number: u32,
        oldest_reference: i64,
        profile: &Profile,
    ) -> Result<(), Error> {
        let profile = text_of(profile)?;
        self.connection
            .execute(
                "UPDATE segment SET oldest_reference = ?2, profile = ?3 WHERE number = ?1",
                params![number, oldest_reference, profile],
            )
            .map_err(database("noting that a segment was made anew"))?;
        Ok(())
    }

    /// Moves the log into the file.
    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(database("closing the control file"))
    }
}

/// The lease row, on any connection to the control file.
pub(super) fn leader(connection: &Connection) -> Result<Option<Leader>, Error> {
    connection
        .query_row(
            "SELECT epoch, term, node, acquired_at, released FROM lease WHERE lease_group = 0",
            [],
            |row: &Row<'_>| {
                Ok(Leader {
                    epoch: Epoch(row.get(0)?),
                    term: Uuid::from_bytes(row.get(1)?),
                    node: row.get(2)?,
                    acquired_at: Timestamp(row.get(3)?),
                    released: row.get(4)?,
                })
            },
        )
        .optional()
        .map_err(database("reading the lease"))
}

/// Every name, on any connection to the control file.
pub(super) fn names(connection: &Connection) -> Result<Vec<(NameId, NameKind, String)>, Error> {
    let doing = database("reading the names");
    let mut statement = connection
        .prepare_cached("SELECT id, kind, name FROM name ORDER BY id")
        .map_err(&doing)?;
    let rows = statement
        .query_map([], |row| {
            Ok((
                NameId(row.get(0)?),
                row.get::<_, i16>(1)?,
                row.get::<_, String>(2)?,
            ))
        })
        .map_err(&doing)?;
    let mut names = Vec::new();
    for row in rows {
        let (id, code, name) = row.map_err(&doing)?;
        // A kind that only a newer program knows names nothing here.
        names.extend(codes::kind(code).map(|kind| (id, kind, name)));
    }
    Ok(names)
}

/// Connections that shall not simply run, on any connection to the control file.
pub(super) fn desired(connection: &Connection) -> Result<Vec<(NameId, Desired)>, Error> {
    let doing = database("reading what operators want");
    let mut statement = connection
        .prepare_cached(
            "SELECT connection, desired FROM desired AS d
             WHERE id = (SELECT max(id) FROM desired WHERE connection = d.connection) AND desired <> 0
             ORDER BY connection",
        )
        .map_err(&doing)?;
    let rows = statement
        .query_map([], |row| Ok((NameId(row.get(0)?), Desired::Held)))
        .map_err(&doing)?;
    rows.collect::<rusqlite::Result<_>>().map_err(&doing)
}

fn segment(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(Segment {
        number: row.get(0)?,
        first: row.get(1)?,
        opened_at: row.get(2)?,
        sealed: row.get(3)?,
        drained: row.get(4)?,
        oldest_reference: row.get(5)?,
        bare: row.get(6)?,
    })
}

/// A profile as it is noted.
fn text_of(profile: &Profile) -> Result<String, Error> {
    serde_json::to_string(profile).map_err(|source| Error::Database {
        doing: "noting what a segment holds",
        source: Box::new(source),
    })
}
