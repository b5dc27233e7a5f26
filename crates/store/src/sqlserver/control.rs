//! What is rare and small: the lease row as others see it, names, what operators want.

use std::collections::HashMap;

use model::{Epoch, NameId, Term, Timestamp};

use super::fault::{Driver, database};
use super::link::Link;
use super::sql;
use super::value::{Row, values};
use crate::codes;
use crate::server::not_leading;
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

/// The lease row.
pub(super) fn leader(link: &mut Link) -> Result<Option<Leader>, Error> {
    let doing = database("reading the lease");
    let row = link.maybe_row(sql::LEADER, &[]).map_err(&doing)?;
    let read = |row: Row| -> Result<Leader, Driver> {
        Ok(Leader {
            epoch: Epoch(row.get(0)?),
            term: row.get(1)?,
            node: row.get(2)?,
            acquired_at: Timestamp(row.get(3)?),
            released: row.get(4)?,
        })
    };
    row.map(read).transpose().map_err(&doing)
}

/// Every name.
pub(super) fn names(link: &mut Link) -> Result<Vec<(NameId, NameKind, String)>, Error> {
    let doing = database("reading the names");
    let rows = link.rows(sql::NAMES, &[]).map_err(&doing)?;
    let mut names = Vec::new();
    for row in rows {
        let id = NameId(row.get(0).map_err(&doing)?);
        let name = row.get(2).map_err(&doing)?;
        // A kind that only a newer program knows names nothing here.
        names.extend(codes::kind(row.get(1).map_err(&doing)?).map(|kind| (id, kind, name)));
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
    for (kind, name) in names {
        link.rows(sql::ADD_NAME, &values![codes::of_kind(*kind), name.as_str()])
            .map_err(&doing)?;
    }
    numbered(link)?.ok_or_else(|| Error::Refused("a name could not be numbered".to_owned()))
}

/// Connections that shall not simply run.
pub(super) fn desired(link: &mut Link) -> Result<Vec<(NameId, Desired)>, Error> {
    let doing = database("reading what operators want");
    let rows = link.rows(sql::DESIRED, &[]).map_err(&doing)?;
    rows.iter()
        .map(|row| Ok((NameId(row.get(0)?), Desired::Held)))
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
    let values = values![
        term.epoch.0 as i32,
        term.id,
        connection.0 as i32,
        codes::of_desired(desired),
        actor,
        now.0
    ];
    let written: bool = link
        .row(sql::SET_DESIRED, &values)
        .and_then(|row| row.get(0))
        .map_err(&doing)?;
    if written { Ok(()) } else { Err(not_leading()) }
}
