//! The board: the lease row and the list of nodes, as the nodes of a cluster read and write them. The rules by
//! which they do stand in the crate `cluster`; here is what each call means.
//!
//! A board owns one connection and uses it for nothing else. Its calls block, and each ends within the
//! time that the board was opened with. An error says nothing about whether the call took effect.
//!
//! Instants that decide something are the database's; see also [`Lease::expired`].

use std::time::Duration;

use model::{Epoch, Term};
use uuid::Uuid;

use crate::Error;

/// No hand-over is kept for longer than this. One that is to last longer was written before the database's clock was
/// set back, and binds nobody.
pub const HANDOFF_MAX: Duration = Duration::from_secs(10);

/// What identifies one state of the lease row. It changes with every renewal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mark {
    /// Which leadership.
    pub epoch: Epoch,
    /// Its term id.
    pub term: Uuid,
    /// How often the row was changed.
    pub renewals: u64,
    /// The database's timeline: a server that took over from another begins a new one. 0 = it does not say.
    pub timeline: u32,
}

/// The lease row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    /// Which state of it this is.
    pub mark: Mark,
    /// Who holds it, or held it last; empty when nobody ever did.
    pub node: String,
    /// Whether it was given up.
    pub released: bool,
    /// Whether it ran out by the database's clock, or says something that no clock in order could lead to. Not
    /// enough to take it over: that clock may jump.
    pub expired: bool,
    /// Until it runs out, by the database's clock; zero when it has.
    pub left: Duration,
    /// How long it lasts from one renewal to the next, as its holder has it.
    pub ttl: Duration,
    /// The only node that may take it now.
    pub handoff_to: Option<String>,
    /// The configuration that was led with last.
    pub fingerprint: Option<String>,
    /// Another configuration that may lead next.
    pub approved: Option<String>,
    /// Whether somebody wants another leader.
    pub asked: Option<Asked>,
}

/// Somebody wants another leader.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Asked {
    /// Who.
    pub by: String,
    /// Which node; `None` = any other.
    pub to: Option<String>,
    /// How long ago.
    pub ago: Duration,
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its id, unique in the cluster.
    pub id: String,
    /// This process of it.
    pub boot: Uuid,
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
    /// Where its API answers.
    pub api: String,
    /// The release.
    pub version: String,
    /// Its configuration.
    pub fingerprint: String,
    /// Its environment.
    pub environment: String,
    /// Whether it may lead.
    pub promotable: bool,
    /// It waits so much longer than others before it takes over.
    pub delay: Duration,
    /// `primary`, `standby`, ...
    pub role: String,
    /// Whether it could lead at once.
    pub ready: bool,
    /// Why not.
    pub detail: String,
}

/// A node as the board knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberView {
    /// What it said of itself last.
    pub member: Member,
    /// How long ago, by the database's clock.
    pub seen_ago: Duration,
    /// For how long its process has run.
    pub up: Duration,
    /// So far it knows the schema.
    pub schema: i64,
}

/// One leadership of the past or the present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// Its number.
    pub epoch: Epoch,
    /// Who led.
    pub node: String,
    /// When it began, in microseconds since 1970 by the database's clock.
    pub acquired_at: i64,
    /// From the last sign of the leader before until it began; `None` for the first.
    pub gap: Option<Duration>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Why it ended.
    pub reason: Option<String>,
}

/// What a renewal found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Renewal {
    /// It is renewed; somebody may want another leader.
    Held(Option<Asked>),
    /// The row names another term, or none: this node leads no longer.
    Lost,
}

/// See the module's text.
pub trait Board: Send {
    /// Reads the lease row. `ttl` is how long a lease lasts.
    fn look(&mut self, ttl: Duration) -> Result<Lease, Error>;

    /// Takes the lease for `node` if its row still is `seen`, on the timeline on which it was, and may be taken: released, or expired by the database's
    /// clock, and not being handed to another. All shard rows take the new term in the same transaction, which waits for
    /// the handoff in flight; sessions of older terms are ended. `None`: it may not be taken now.
    fn acquire(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
    ) -> Result<Option<Term>, Error>;

    /// Keeps the lease for another `ttl`.
    fn renew(&mut self, term: Term, ttl: Duration) -> Result<Renewal, Error>;

    /// Gives the lease up, if `term` holds it; `to` alone may take it within `hold`, which
    /// is no longer than [`HANDOFF_MAX`].
    fn release(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error>;

    /// Writes what a node says of itself; false when another living process goes by its id.
    fn beat(&mut self, member: &Member, alive: Duration) -> Result<bool, Error>;

    /// All nodes that were heard of, by id.
    fn members(&mut self) -> Result<Vec<MemberView>, Error>;

    /// The newest leaderships, newest first.
    fn history(&mut self, limit: usize) -> Result<Vec<Leadership>, Error>;

    /// Asks the leader to make room for `to`, or for anybody else; false when nobody leads.
    fn ask(&mut self, by: &str, to: Option<&str>) -> Result<bool, Error>;

    /// Says that nodes with this configuration may lead next.
    fn approve(&mut self, fingerprint: &str) -> Result<(), Error>;
}
