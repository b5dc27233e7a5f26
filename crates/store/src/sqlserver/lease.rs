//! Leadership: the lease row and the shard's row change in one transaction, so the claims of older terms
//! are void at the same instant. Changing the shard's row waits for the handoff that is in flight.

use model::{Epoch, Term, Timestamp};
use uuid::Uuid;

use super::fault::{self, Driver, database};
use super::link::Link;
use super::sql;
use super::value::{Value, values};
use crate::Error;
use crate::server::lead::led_by_a_cluster;
use crate::server::{Lead, check_epoch};

/// The statement by which a session shows its term; an option of the session, so it takes no values.
pub(super) fn show_term(epoch: u32) -> String {
    sql::SHOW_TERM.replace("@P1", &epoch.to_string())
}

/// Takes leadership. Sessions of older terms are ended, where this user may, when they keep it waiting and
/// once it is taken.
pub(super) fn acquire(link: &mut Link, node: &str, now: Timestamp) -> Result<Lead, Error> {
    let lead = match take(link, node, now) {
        Err(error) if fault::is_lock_timeout(&error) => {
            tracing::warn!("an older leader's session holds the shard; it is ended");
            end_sessions_before(link, i32::MAX);
            take(link, node, now)?
        }
        other => other?,
    };
    let epoch = lead.term.epoch.0;
    end_sessions_before(link, epoch as i32);
    link.show_term(epoch);
    Ok(lead)
}

fn take(link: &mut Link, node: &str, now: Timestamp) -> Result<Lead, Error> {
    let doing = database("acquiring leadership");
    let (id, session) = (Uuid::new_v4(), Uuid::new_v4());
    let row = link
        .maybe_row(sql::ACQUIRE_ALONE, &values![id, node, now.0, session])
        .map_err(&doing)?;
    let Some(row) = row else {
        return Err(led_by_a_cluster());
    };
    let epoch = row.get(0).map_err(&doing)?;
    check_epoch(epoch)?;
    Ok(Lead {
        term: Term {
            epoch: Epoch(epoch),
            id,
        },
        session,
    })
}

/// Gives `term` up, if it leads.
pub(super) fn release(link: &mut Link, term: Term) -> Result<(), Error> {
    link.rows(sql::RELEASE_ALONE, &values![term.epoch.0 as i32, term.id])
        .map_err(database("releasing leadership"))
        .map(drop)
}

pub(super) fn of_lead(lead: &Lead) -> [Value<'static>; 3] {
    values![lead.term.epoch.0 as i32, lead.term.id, lead.session]
}

/// Makes `session` the only one of the term that may write; false when another term leads. Waits for the
/// session before.
pub(super) fn claim(link: &mut Link, lead: &Lead) -> Result<bool, Driver> {
    Ok(!link.rows(sql::CLAIM, &of_lead(lead))?.is_empty())
}

/// Whether the shard's row still bears this lead, waiting for whoever has it locked.
pub(super) fn holds(link: &mut Link, lead: &Lead) -> Result<bool, Driver> {
    Ok(!link.rows(sql::HOLDS, &of_lead(lead))?.is_empty())
}

/// Ends writing sessions of terms before `epoch`. That they may not be ended is no fault: they are fenced.
pub(super) fn end_sessions_before(link: &mut Link, epoch: i32) {
    let found = link.rows(sql::OLDER_SESSIONS, &values![epoch]);
    let sessions: Result<Vec<i32>, Driver> =
        found.and_then(|rows| rows.iter().map(|row| row.get(0)).collect());
    match sessions {
        Ok(sessions) => sessions.into_iter().for_each(|session| kill(link, session)),
        Err(error) => tracing::debug!(%error, "sessions of older terms could not be looked for"),
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
