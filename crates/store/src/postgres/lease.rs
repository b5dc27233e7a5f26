//! Leadership: the lease row and the shard's row change in one transaction, so the claims of older terms
//! are void at the same instant. Changing the shard's row waits for the handoff that is in flight.

use model::{Epoch, Term, Timestamp};
use sqlx_core::error::Error as Driver;
use uuid::Uuid;

use super::fault::{self, database};
use super::link::{Link, arguments};
use super::segment::number;
use crate::Error;
use crate::server::lead::led_by_a_cluster;
use crate::server::{Lead, Purpose, check_epoch, session_name};

/// Takes leadership. Sessions of older terms are ended, where this user may, when they keep it waiting and
/// once it is taken.
pub(super) fn acquire(link: &mut Link, node: &str, now: Timestamp) -> Result<Lead, Error> {
    let lead = match take(link, node, now) {
        Err(error) if fault::state_of(&error).as_deref() == Some("55P03") => {
            tracing::warn!("an older leader's session holds the shard; it is ended");
            end_sessions_before(link, i32::MAX);
            take(link, node, now)?
        }
        other => other?,
    };
    let epoch = lead.term.epoch.0;
    end_sessions_before(link, epoch as i32);
    // A courtesy for others; the fence is the row.
    let _ = link.name_session(&session_name(Purpose::Write, Some(epoch), node));
    Ok(lead)
}

fn take(link: &mut Link, node: &str, now: Timestamp) -> Result<Lead, Error> {
    let doing = database("acquiring leadership");
    link.transaction(|link| {
        let (id, session) = (Uuid::new_v4(), Uuid::new_v4());
        let row = link.maybe_row(
            "UPDATE holdfast.lease SET epoch = epoch + 1, term = $1, node = $2, acquired_at = $3, released = false,
                 renewals = renewals + 1, expires_at = 0
             WHERE lease_group = 0
                 AND (released OR expires_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
             RETURNING epoch",
            arguments!(id, node, now.0).map_err(&doing)?,
        );
        let Some(row) = row.map_err(&doing)? else {
            return Err(led_by_a_cluster());
        };
        let epoch = number(&row, 0).map_err(&doing)?;
        check_epoch(epoch)?;
        rewrite_shards(link, epoch, id, session)?;
        Ok(Lead {
            term: Term {
                epoch: Epoch(epoch),
                id,
            },
            session,
        })
    })
}

/// Voids the claims of all older terms. Waits for the handoff that is in flight.
pub(super) fn rewrite_shards(link: &mut Link, epoch: u32, term: Uuid, session: Uuid) -> Result<(), Error> {
    let doing = database("acquiring leadership");
    link.rows(
        "UPDATE holdfast.shard SET epoch = $1, term = $2, session = $3",
        arguments!(epoch as i32, term, session).map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}

/// Voids the claims of a term that is given up.
pub(super) fn void(link: &mut Link, term: Term) -> Result<(), Error> {
    let doing = database("releasing leadership");
    link.rows(
        "UPDATE holdfast.shard SET term = $3, session = $3 WHERE epoch = $1 AND term = $2",
        arguments!(term.epoch.0 as i32, term.id, Uuid::nil()).map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}

/// Gives `term` up, if it leads.
pub(super) fn release(link: &mut Link, term: Term) -> Result<(), Error> {
    let doing = database("releasing leadership");
    link.transaction(|link| {
        let (epoch, id) = (term.epoch.0 as i32, term.id);
        let released = link
            .rows(
                "UPDATE holdfast.lease SET released = true, renewals = renewals + 1 WHERE lease_group = 0 AND epoch = $1 AND term = $2 RETURNING 1",
                arguments!(epoch, id).map_err(&doing)?,
            )
            .map_err(&doing)?;
        if released.is_empty() {
            return Ok(());
        }
        void(link, term)
    })
}

/// Makes `session` the only one of the term that may write; false when another term leads. Waits for the
/// session before.
pub(super) fn claim(link: &mut Link, lead: &Lead) -> Result<bool, Driver> {
    let values = arguments!(lead.term.epoch.0 as i32, lead.term.id, lead.session)?;
    let claimed = link.rows(
        "UPDATE holdfast.shard SET session = $3 WHERE shard = 0 AND epoch = $1 AND term = $2 RETURNING 1",
        values,
    )?;
    Ok(!claimed.is_empty())
}

/// Whether the shard's row still bears this lead, waiting for whoever has it locked.
pub(super) fn holds(link: &mut Link, lead: &Lead) -> Result<bool, Driver> {
    let values = arguments!(lead.term.epoch.0 as i32, lead.term.id, lead.session)?;
    let held = link.rows(
        "SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE",
        values,
    )?;
    Ok(!held.is_empty())
}

/// Ends writing sessions of terms before `epoch`. That they may not be ended is no fault: they are fenced.
pub(super) fn end_sessions_before(link: &mut Link, epoch: i32) {
    let ended = arguments!(epoch).and_then(|values| {
        link.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND substring(application_name FROM '^holdfast-writer ([0-9]{1,7}) ')::integer < $1",
            values,
        )
    });
    if let Err(error) = ended {
        tracing::debug!(%error, "sessions of older terms could not be ended");
    }
}

/// Ends the session of a connection of ours that was lost, should the server still have it.
pub(super) fn end_session(link: &mut Link, backend: i32) {
    let ended = arguments!(backend).and_then(|values| {
        link.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid = $1 AND datname = current_database() AND application_name LIKE 'holdfast-writer %'",
            values,
        )
    });
    if let Err(error) = ended {
        tracing::debug!(%error, "the lost session could not be ended");
    }
}
