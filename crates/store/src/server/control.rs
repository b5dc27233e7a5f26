//! What is rare and small: the lease row as others see it, names, what operators want.

use std::collections::HashMap;

use model::{NameId, Term, Timestamp};

use super::lead::not_leading;
use super::link::Connection;
use super::value::{Row, values};
use crate::codes;
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

pub(crate) struct Sql {
    /// The lease row, once anybody has led.
    pub(crate) leader: &'static str,
    /// Numbers, kinds and names.
    pub(crate) names: &'static str,
    /// Connections of which the newest wish is not that they simply run.
    pub(crate) desired: &'static str,
    /// Epoch, term, connection, what, who, when. No row or 0: the term does not lead.
    pub(crate) set_desired: &'static str,
}

pub(crate) trait Control: Connection {
    const CONTROL: Sql;

    /// Adds names that may be there already, one at a time over all sessions: numbers are given without gaps.
    fn add_names(&mut self, names: &[(NameKind, String)]) -> Result<(), Error>;

    /// The lease row.
    fn leader(&mut self) -> Result<Option<Leader>, Error> {
        self.read_first("reading the lease", Self::CONTROL.leader, &[], |row| {
            Ok(Leader {
                epoch: row.get(0)?,
                term: row.get(1)?,
                node: row.get(2)?,
                acquired_at: row.get(3)?,
                released: row.get(4)?,
            })
        })
    }

    /// Every name.
    fn names(&mut self) -> Result<Vec<(NameId, NameKind, String)>, Error> {
        let names = self.read("reading the names", Self::CONTROL.names, &[], |row| {
            // A kind that only a newer program knows names nothing here.
            let (id, name) = (row.get(0)?, row.get(2)?);
            Ok(codes::kind(row.get(1)?).map(|kind| (id, kind, name)))
        })?;
        Ok(names.into_iter().flatten().collect())
    }

    /// Numbers for names, new ones added.
    fn name_ids(&mut self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
        if let Some(ids) = self.numbered(names)? {
            return Ok(ids);
        }
        self.add_names(names)?;
        self.numbered(names)?
            .ok_or_else(|| Error::Refused("a name could not be numbered".to_owned()))
    }

    /// Numbers for names, if all have one.
    fn numbered(&mut self, names: &[(NameKind, String)]) -> Result<Option<Vec<NameId>>, Error> {
        let known = self.names()?.into_iter();
        let known: HashMap<(NameKind, String), NameId> =
            known.map(|(id, kind, name)| ((kind, name), id)).collect();
        Ok(names.iter().map(|name| known.get(name).copied()).collect())
    }

    /// Connections that shall not simply run.
    fn desired(&mut self) -> Result<Vec<(NameId, Desired)>, Error> {
        let doing = "reading what operators want";
        self.read(doing, Self::CONTROL.desired, &[], |row| {
            Ok((row.get(0)?, Desired::Held))
        })
    }

    /// Appends what an operator wants, if `term` leads.
    fn set_desired(
        &mut self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let values = values![
            term.epoch.0 as i32,
            term.id,
            connection.0 as i32,
            codes::of_desired(desired),
            actor,
            now.0
        ];
        let doing = "recording what an operator wants";
        if self.did(doing, Self::CONTROL.set_desired, &values)? {
            Ok(())
        } else {
            Err(not_leading())
        }
    }
}
