//! The [`Board`] on a server: one connection of its own, made anew whenever it broke.

use std::time::Duration;

use model::Term;

use super::lease::Lease;
use super::link::{DriverOf, Link, Purpose};
use super::orders;
use super::value::{Row, Value, database, values};
use crate::Error;
use crate::board::{
    Asked, Board, HANDOFF_MAX, Leadership, Lease as LeaseRow, Mark, Member, MemberView, Renewal,
};

/// Instants are the server's, in microseconds since 1970, and so are lengths of time.
pub(crate) struct Sql {
    /// Epoch, term, for how long. Answers what is asked: by whom, for whom, how long ago; no row: not held.
    pub(crate) renew: &'static str,
    /// What a node says of itself, fourteen values; for how long another process that goes by its id counts as living. A
    /// word from the future was spoken before the database's clock was set back: whoever lives has spoken since. No row
    /// or 0: another one lives.
    pub(crate) beat: &'static str,
    /// All nodes, by id.
    pub(crate) members: &'static str,
    /// How many. The newest leaderships, newest first.
    pub(crate) history: &'static str,
    /// By whom, for whom. A row where somebody leads who may be asked.
    pub(crate) ask: &'static str,
    /// Which configuration.
    pub(crate) approve: &'static str,
}

/// The lease as nodes of a cluster take it.
pub(crate) trait Cluster: Lease {
    const BOARD: Sql;
    const ORDERS: orders::Sql;

    /// Asks once, with no consequence, what will have to be answered quickly, where that helps.
    fn rehearse(&mut self) {}
    /// Reads the lease row, in the order of [`lease`]; `values`: how long a lease lasts, and a hand-over at most.
    fn look(&mut self, values: &[Value<'_>; 2]) -> Result<Vec<Self::Row>, DriverOf<Self>>;
    /// The transaction of [`Board::acquire`], waiting for locks for less than `patience`.
    fn take(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Option<Term>, Error>;
    /// The transaction of [`Board::release`], in one round trip: while it is under way nobody leads. The lease row comes
    /// first, as in a takeover.
    fn give_up(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error>;
}

/// The board of a cluster in a database on a server.
#[expect(private_bounds, reason = "what a server has to do is the backends' business")]
pub struct ServerBoard<L: Link> {
    target: L::Target,
    node: String,
    patience: Duration,
    link: Option<L>,
}

#[expect(private_bounds, reason = "what a server has to do is the backends' business")]
impl<L: Link> ServerBoard<L> {
    /// No call takes longer than `patience`; acquiring, which waits for others, may take three times as long.
    pub(crate) fn new(target: L::Target, node: String, patience: Duration) -> ServerBoard<L> {
        ServerBoard {
            target,
            node,
            patience,
            link: None,
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut L) -> Result<T, Error>) -> Result<T, Error> {
        if !self.link.as_ref().is_some_and(L::is_whole) {
            self.link = None;
            let mut link = L::open(&self.target, &self.node, Purpose::Lead(self.patience))?;
            link.rehearse();
            self.link = Some(link);
        }
        let Some(link) = &mut self.link else {
            return Err(Error::Away("there is no connection".to_owned()));
        };
        let done = work(link);
        if done.as_ref().is_err_and(L::is_worth_another_try) {
            // The next call tries a new connection: this one may lead to a server that cannot write.
            self.link = None;
        }
        done
    }

    /// What may be repeated without harm: once more on a new connection if the old one turns out to be gone.
    pub(super) fn repeat<T>(&mut self, work: impl Fn(&mut L) -> Result<T, Error>) -> Result<T, Error> {
        let connected = self.link.as_ref().is_some_and(L::is_whole);
        match self.with(&work) {
            Err(error) if connected && L::is_worth_another_try(&error) => self.with(work),
            other => other,
        }
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The columns of an asked switchover, from `first` on.
fn asked<R: Row>(row: &R, first: usize) -> Result<Option<Asked>, R::Driver> {
    let by: Option<String> = row.get(first)?;
    let Some(by) = by else { return Ok(None) };
    Ok(Some(Asked {
        by,
        to: row.get(first + 1)?,
        ago: duration(row.get::<Option<i64>>(first + 2)?.unwrap_or(0)),
    }))
}

fn lease<R: Row>(row: &R) -> Result<LeaseRow, R::Driver> {
    Ok(LeaseRow {
        mark: Mark {
            epoch: row.get(0)?,
            term: row.get(1)?,
            renewals: row.get::<i64>(2)?.unsigned_abs(),
            timeline: row.get::<i32>(3)?.unsigned_abs(),
        },
        node: row.get(4)?,
        released: row.get(5)?,
        expired: row.get(6)?,
        left: duration(row.get(7)?),
        handoff_to: row.get(8)?,
        fingerprint: row.get(9)?,
        approved: row.get(10)?,
        ttl: duration(row.get(11)?),
        asked: asked(row, 12)?,
    })
}

fn member<R: Row>(row: &R) -> Result<MemberView, R::Driver> {
    Ok(MemberView {
        member: Member {
            id: row.get(0)?,
            boot: row.get(1)?,
            host: row.get(2)?,
            pid: row.get::<i32>(3)?.cast_unsigned(),
            api: row.get(4)?,
            version: row.get(5)?,
            fingerprint: row.get(6)?,
            environment: row.get(7)?,
            promotable: row.get(8)?,
            delay: Duration::from_millis(row.get::<i32>(9)?.unsigned_abs().into()),
            role: row.get(10)?,
            ready: row.get(11)?,
            detail: row.get(12)?,
        },
        seen_ago: duration(row.get(13)?),
        up: duration(row.get(14)?),
        schema: row.get(15)?,
    })
}

fn leadership<R: Row>(row: &R) -> Result<Leadership, R::Driver> {
    Ok(Leadership {
        epoch: row.get(0)?,
        node: row.get(1)?,
        acquired_at: row.get(2)?,
        gap: row.get::<Option<i64>>(3)?.map(duration),
        ended_at: row.get(4)?,
        reason: row.get(5)?,
    })
}

impl<L: Link> Board for ServerBoard<L> {
    fn look(&mut self, ttl: Duration) -> Result<LeaseRow, Error> {
        let values = values![micros(ttl), micros(HANDOFF_MAX)];
        let row = self.repeat(|link| {
            let rows = link.look(&values);
            rows.and_then(|rows| rows.first().map(lease).transpose())
                .map_err(database("reading the lease"))
        })?;
        row.ok_or_else(|| Error::Refused("the store has no lease row: restore it from a backup".to_owned()))
    }

    fn acquire(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
    ) -> Result<Option<Term>, Error> {
        let patience = self.patience;
        self.with(|link| {
            let taken = link.insist(|link| link.take(seen, node, fingerprint, ttl, patience))?;
            if let Some(term) = taken {
                link.end_sessions_before(term.epoch.0 as i32);
            }
            Ok(taken)
        })
    }

    fn renew(&mut self, term: Term, ttl: Duration) -> Result<Renewal, Error> {
        // Losing a renewal in a failover of the database only makes the lease shorter.
        let values = values![term.epoch.0 as i32, term.id, micros(ttl)];
        let row = self.repeat(|link| {
            link.read_first("renewing the lease", L::BOARD.renew, &values, |row| asked(row, 0))
        })?;
        Ok(row.map_or(Renewal::Lost, Renewal::Held))
    }

    fn release(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error> {
        self.with(|link| link.give_up(term, to, hold, reason))
    }

    fn beat(&mut self, member: &Member, alive: Duration) -> Result<bool, Error> {
        let values = values![
            member.id.as_str(),
            member.boot,
            member.host.as_str(),
            member.pid.cast_signed(),
            member.api.as_str(),
            member.version.as_str(),
            L::newest_schema(),
            member.fingerprint.as_str(),
            member.environment.as_str(),
            member.promotable,
            i32::try_from(member.delay.as_millis()).unwrap_or(i32::MAX),
            member.role.as_str(),
            member.ready,
            member.detail.as_str(),
            micros(alive),
        ];
        self.repeat(|link| link.did("writing what this node is", L::BOARD.beat, &values))
    }

    fn members(&mut self) -> Result<Vec<MemberView>, Error> {
        self.repeat(|link| link.read("reading the nodes", L::BOARD.members, &[], member))
    }

    fn history(&mut self, limit: usize) -> Result<Vec<Leadership>, Error> {
        let values = values![i64::try_from(limit).unwrap_or(i64::MAX)];
        let doing = "reading the history of leaderships";
        self.repeat(|link| link.read(doing, L::BOARD.history, &values, leadership))
    }

    fn ask(&mut self, by: &str, to: Option<&str>) -> Result<bool, Error> {
        let doing = "asking for another leader";
        let asked = self.repeat(|link| link.read_first(doing, L::BOARD.ask, &values![by, to], |_| Ok(())))?;
        Ok(asked.is_some())
    }

    fn approve(&mut self, fingerprint: &str) -> Result<(), Error> {
        let values = values![fingerprint];
        self.repeat(|link| link.run("approving a configuration", L::BOARD.approve, &values))
    }
}
