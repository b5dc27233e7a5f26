//! Leadership on a server: the lease row and the shard's row change in one transaction, so the claims of older terms are
//! void at the same instant. Changing the shard's row waits for the handoff that is in flight.

use model::{Term, Timestamp};

use super::lead::Lead;
use super::link::{Connection, Trouble};
use super::value::{Value, database, values};
use crate::Error;

/// The values of each: epoch, term and, but for `leads`, session.
pub(crate) struct Sql {
    /// Puts a session into the shard's row; a row where the term leads.
    pub(crate) claim: &'static str,
    /// Reads the shard's row under a lock; a row where it bears all three.
    pub(crate) holds: &'static str,
    /// A row where the term leads.
    pub(crate) leads: &'static str,
}

/// The lease as one node alone takes it, and the shard's row.
pub(crate) trait Lease: Connection {
    const LEASE: Sql;

    /// Takes the lease for one node alone, unless a cluster's is running, and all shards' rows with it, in one
    /// transaction.
    fn take_alone(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error>;
    /// Gives `term` up, if it leads, and voids its claims, in one transaction.
    fn release(&mut self, term: Term) -> Result<(), Error>;
    /// Shows others under which term the session writes. A courtesy: the fence is the row.
    fn show_term(&mut self, epoch: u32, node: &str);
    /// Ends writing sessions of terms before `epoch`. That they may not be ended is no fault: they are fenced.
    fn end_sessions_before(&mut self, epoch: i32);

    /// Takes leadership for one node alone.
    fn acquire(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error> {
        let lead = self.insist(|link| link.take_alone(node, now))?;
        let epoch = lead.term.epoch.0;
        self.end_sessions_before(epoch as i32);
        self.show_term(epoch, node);
        Ok(lead)
    }

    /// Takes leadership. Sessions of older terms are ended, where this user may, when they keep it waiting.
    fn insist<T>(&mut self, take: impl Fn(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        match take(self) {
            Err(error) if Self::is_lock_timeout(&error) => {
                tracing::warn!("an older leader's session holds the shard; it is ended");
                self.end_sessions_before(i32::MAX);
                take(self)
            }
            other => other,
        }
    }

    /// Makes `lead`'s session the only one of the term that may write; false when another term leads. Waits for the
    /// session before.
    fn claim(&mut self, lead: &Lead) -> Result<bool, Trouble> {
        let claimed = self.rows(Self::LEASE.claim, &of_lead(lead));
        claimed.map(|rows| !rows.is_empty()).map_err(Self::trouble)
    }

    /// Whether the shard's row still bears this lead, waiting for whoever has it locked.
    fn holds(&mut self, lead: &Lead) -> Result<bool, Trouble> {
        let held = self.rows(Self::LEASE.holds, &of_lead(lead));
        held.map(|rows| !rows.is_empty()).map_err(Self::trouble)
    }

    /// Whether a term leads, as of now.
    fn leads(&mut self, term: Term) -> Result<bool, Error> {
        let found = self.rows(Self::LEASE.leads, &values![term.epoch.0 as i32, term.id]);
        found
            .map(|rows| !rows.is_empty())
            .map_err(database("reading the term"))
    }
}

/// The values by which a statement claims the shard's row.
pub(crate) fn of_lead(lead: &Lead) -> [Value<'static>; 3] {
    values![lead.term.epoch.0 as i32, lead.term.id, lead.session]
}
