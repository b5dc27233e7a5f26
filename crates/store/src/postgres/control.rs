//! What is rare and small: the lease row as others see it, names, what operators want.

use std::collections::HashMap;

use model::{Epoch, NameId, Term, Timestamp};
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::PgArguments;

use super::fault::database;
use super::link::{Link, arguments};
use super::segment::number;
use crate::codes;
use crate::server::not_leading;
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

/// The lease row.
pub(super) fn leader(link: &mut Link) -> Result<Option<Leader>, Error> {
    let doing = database("reading the lease");
    let row = link
        .maybe_row(
            "SELECT epoch, term, node, acquired_at, released FROM holdfast.lease WHERE lease_group = 0 AND epoch > 0",
            PgArguments::default(),
        )
        .map_err(&doing)?;
    let read = |row: sqlx_postgres::PgRow| -> Result<Leader, Driver> {
        Ok(Leader {
            epoch: Epoch(number(&row, 0)?),
            term: row.try_get(1)?,
            node: row.try_get(2)?,
            acquired_at: Timestamp(row.try_get(3)?),
            released: row.try_get(4)?,
        })
    };
    row.map(read).transpose().map_err(&doing)
}

/// Every name.
pub(super) fn names(link: &mut Link) -> Result<Vec<(NameId, NameKind, String)>, Error> {
    let doing = database("reading the names");
    let rows = link
        .rows(
            "SELECT id, kind, name FROM holdfast.name ORDER BY id",
            PgArguments::default(),
        )
        .map_err(&doing)?;
    let mut names = Vec::new();
    for row in rows {
        let id = NameId(number(&row, 0).map_err(&doing)?);
        let name = row.try_get(2).map_err(&doing)?;
        // A kind that only a newer program knows names nothing here.
        names.extend(codes::kind(row.try_get(1).map_err(&doing)?).map(|kind| (id, kind, name)));
    }
    Ok(names)
}

/// Numbers for names, new ones added.
pub(super) fn name_ids(link: &mut Link, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
    let doing = database("numbering names");
    let numbered = |link: &mut Link| -> Result<Option<Vec<NameId>>, Error> {
        let known: HashMap<(NameKind, String), NameId> = self::names(link)?
            .into_iter()
            .map(|(id, kind, name)| ((kind, name), id))
            .collect();
        Ok(names.iter().map(|name| known.get(name).copied()).collect())
    };
    if let Some(ids) = numbered(link)? {
        return Ok(ids);
    }
    link.transaction(|link| {
        // One at a time: numbers are given without gaps.
        link.script("LOCK TABLE holdfast.name IN SHARE ROW EXCLUSIVE MODE")
            .map_err(&doing)?;
        for (kind, name) in names {
            let values = arguments!(codes::of_kind(*kind), name.as_str()).map_err(&doing)?;
            link.rows(
                "INSERT INTO holdfast.name (id, kind, name)
                 SELECT coalesce(max(id), 0) + 1, $1, $2 FROM holdfast.name ON CONFLICT (kind, name) DO NOTHING",
                values,
            )
            .map_err(&doing)?;
        }
        numbered(link)?.ok_or_else(|| Error::Refused("a name could not be numbered".to_owned()))
    })
}

/// Connections that shall not simply run.
pub(super) fn desired(link: &mut Link) -> Result<Vec<(NameId, Desired)>, Error> {
    let doing = database("reading what operators want");
    let rows = link
        .rows(
            "SELECT connection FROM (
                 SELECT DISTINCT ON (connection) connection, desired FROM holdfast.desired ORDER BY connection, id DESC
             ) AS newest WHERE desired <> 0 ORDER BY connection",
            PgArguments::default(),
        )
        .map_err(&doing)?;
    rows.iter()
        .map(|row| Ok((NameId(number(row, 0)?), Desired::Held)))
        .collect::<Result<_, _>>()
        .map_err(&doing)
}

/// Appends what an operator wants, if `term` leads.
pub(super) fn set_desired(
    link: &mut Link,
    term: Term,
    connection: NameId,
    desired: Desired,
    actor: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let doing = database("recording what an operator wants");
    let values = arguments!(
        term.epoch.0 as i32,
        term.id,
        connection.0 as i32,
        codes::of_desired(desired),
        actor,
        now.0
    );
    let rows = link
        .rows(
            "WITH own AS (SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2 FOR UPDATE)
             INSERT INTO holdfast.desired (epoch, connection, desired, actor, at)
             SELECT $1, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM own) RETURNING 1",
            values.map_err(&doing)?,
        )
        .map_err(&doing)?;
    if rows.is_empty() {
        return Err(not_leading());
    }
    Ok(())
}
