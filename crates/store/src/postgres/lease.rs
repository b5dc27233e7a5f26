//! Leadership: the lease row and the shard's row change in one transaction, so the claims of older terms
//! are void at the same instant. Changing the shard's row waits for the handoff that is in flight.

use model::{Epoch, Term, Timestamp};
use uuid::Uuid;

use super::link::Link;
use crate::Error;
use crate::server::lead::led_by_a_cluster;
use crate::server::lease::{Lease, Sql};
use crate::server::value::{Row, values};
use crate::server::{Connection, Lead, Purpose, check_epoch, session_name};

macro_rules! leads {
    ($lock:expr) => {
        concat!(
            "SELECT 1 FROM holdfast.lease WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released ",
            $lock
        )
    };
}
/// Whether a term leads; nobody takes it from it before the transaction ends.
pub(super) const PROVE: &str = leads!("FOR SHARE");

impl Lease for Link {
    const LEASE: Sql = Sql {
        claim: "UPDATE holdfast.shard SET session = $3 WHERE shard = 0 AND epoch = $1 AND term = $2 RETURNING 1",
        holds: "SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE",
        leads: leads!(""),
    };

    fn take_alone(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error> {
        self.transaction(|link| {
            let (id, session) = (Uuid::new_v4(), Uuid::new_v4());
            let taken = link.read_first(
                "acquiring leadership",
                "UPDATE holdfast.lease SET epoch = epoch + 1, term = $1, node = $2, acquired_at = $3, released = false,
                 renewals = renewals + 1, expires_at = 0
             WHERE lease_group = 0
                 AND (released OR expires_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
             RETURNING epoch",
                &values![id, node, now.0],
                |row| row.get(0),
            )?;
            let Some(epoch) = taken else {
                return Err(led_by_a_cluster());
            };
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

    fn release(&mut self, term: Term) -> Result<(), Error> {
        let doing = "releasing leadership";
        self.transaction(|link| {
            let (epoch, id) = (term.epoch.0 as i32, term.id);
            let released = link.did(
                doing,
                "UPDATE holdfast.lease SET released = true, renewals = renewals + 1 WHERE lease_group = 0 AND epoch = $1 AND term = $2 RETURNING 1",
                &values![epoch, id],
            )?;
            if !released {
                return Ok(());
            }
            link.run(
                doing,
                "UPDATE holdfast.shard SET term = $3, session = $3 WHERE epoch = $1 AND term = $2",
                &values![epoch, id, Uuid::nil()],
            )
        })
    }

    fn show_term(&mut self, epoch: u32, node: &str) {
        let name = session_name(Purpose::Write, Some(epoch), node);
        let _ = self.rows("SELECT set_config('application_name', $1, false)", &values![name]);
    }

    fn end_sessions_before(&mut self, epoch: i32) {
        let ended = self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND substring(application_name FROM '^holdfast-writer ([0-9]{1,7}) ')::integer < $1",
            &values![epoch],
        );
        if let Err(error) = ended {
            tracing::debug!(%error, "sessions of older terms could not be ended");
        }
    }
}

/// Voids the claims of all older terms. Waits for the handoff that is in flight.
pub(super) fn rewrite_shards(link: &mut Link, epoch: u32, term: Uuid, session: Uuid) -> Result<(), Error> {
    link.run(
        "acquiring leadership",
        "UPDATE holdfast.shard SET epoch = $1, term = $2, session = $3",
        &values![epoch as i32, term, session],
    )
}

/// Ends the session of a connection of ours that was lost, should the server still have it.
pub(super) fn end_session(link: &mut Link, backend: i32) {
    let ended = link.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid = $1 AND datname = current_database() AND application_name LIKE 'holdfast-writer %'",
        &values![backend],
    );
    if let Err(error) = ended {
        tracing::debug!(%error, "the lost session could not be ended");
    }
}
