//! Leadership: the lease row and the shard's row change in one transaction, so the claims of older terms
//! are void at the same instant. Changing the shard's row waits for the handoff that is in flight.

use model::{Epoch, Term, Timestamp};
use uuid::Uuid;

use super::link::Link;
use super::sql;
use crate::Error;
use crate::server::lead::led_by_a_cluster;
use crate::server::lease::{Lease, Sql};
use crate::server::value::values;
use crate::server::{Connection, Lead, check_epoch};

impl Lease for Link {
    const LEASE: Sql = sql::LEASE;

    fn take_alone(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error> {
        let (id, session) = (Uuid::new_v4(), Uuid::new_v4());
        let values = values![id, node, now.0, session];
        let taken = self.read_first("acquiring leadership", sql::ACQUIRE_ALONE, &values, |row| {
            row.get(0)
        })?;
        let Some(epoch) = taken else {
            return Err(led_by_a_cluster());
        };
        check_epoch(epoch)?;
        Ok(Lead {
            term: Term {
                epoch: Epoch(epoch),
                id,
            },
            session,
        })
    }

    fn release(&mut self, term: Term) -> Result<(), Error> {
        let values = values![term.epoch.0 as i32, term.id];
        self.run("releasing leadership", sql::RELEASE_ALONE, &values)
    }

    fn show_term(&mut self, epoch: u32, _node: &str) {
        // An option of the session, so it takes no values.
        let shown = self.script(sql::SHOW_TERM.replace("@P1", &epoch.to_string()));
        if let Err(error) = shown {
            tracing::debug!(%error, "the session does not show its term");
        }
    }

    fn end_sessions_before(&mut self, epoch: i32) {
        let doing = "looking for sessions of older terms";
        let found = self.read(doing, sql::OLDER_SESSIONS, &values![epoch], |row| row.get(0));
        match found {
            Ok(sessions) => sessions.into_iter().for_each(|session| kill(self, session)),
            Err(error) => tracing::debug!(%error, "sessions of older terms could not be looked for"),
        }
    }
}

/// Ends the session of a connection of ours that was lost, should the server still have it.
pub(super) fn end_session(link: &mut Link, backend: i32) {
    match link.maybe_row(sql::WRITING_SESSION, &values![backend]) {
        Ok(Some(_)) => kill(link, backend),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the lost session could not be looked for"),
    }
}

pub(super) fn kill(link: &mut Link, session: i32) {
    if let Err(error) = link.script(format!("KILL {session}")) {
        tracing::debug!(%error, "a session could not be ended");
    }
}
