//! The [`Board`] on SQL Server: one connection of its own, made anew whenever it broke.

use std::time::Duration;

use model::{Epoch, Term};
use uuid::Uuid;

use super::Target;
use super::fault::{self, Driver, database};
use super::lease;
use super::link::Link;
use super::migrate;
use super::options::Options;
use super::sql;
use super::value::{Row, Value, values};
use crate::Error;
use crate::board::{Asked, Board, HANDOFF_MAX, Leadership, Lease, Mark, Member, MemberView, Renewal};
use crate::server::{Purpose, check_epoch};

/// See the module's text.
pub struct SqlServerBoard {
    target: Target,
    node: String,
    patience: Duration,
    link: Option<Link>,
}

/// A board on the database at `options.url`. No call takes longer than `patience`; acquiring, which waits for
/// others, may take three times as long.
pub fn board(options: &Options, patience: Duration) -> Result<SqlServerBoard, Error> {
    Ok(SqlServerBoard {
        target: options.target()?,
        node: options.node.clone(),
        patience,
        link: None,
    })
}

impl SqlServerBoard {
    fn with<T>(&mut self, work: impl FnOnce(&mut Link) -> Result<T, Error>) -> Result<T, Error> {
        if !self.link.as_ref().is_some_and(Link::is_whole) {
            self.link = None;
            let purpose = Purpose::Lead(self.patience);
            let mut link = Link::open(&self.target, &self.node, purpose)?;
            if link.stand_in {
                rehearse(&mut link);
            }
            self.link = Some(link);
        }
        let Some(link) = &mut self.link else {
            return Err(Error::Away("there is no connection".to_owned()));
        };
        let done = work(link);
        if done.as_ref().is_err_and(fault::is_worth_another_try) {
            // The next call tries a new connection: this one may lead to a server that cannot write.
            self.link = None;
        }
        done
    }

    /// One statement that may be repeated without harm: once more on a new connection if the old one turns out to be
    /// gone.
    pub(super) fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        let doing = database(doing);
        let ask = |link: &mut Link| link.rows(sql, values).map_err(&doing);
        let connected = self.link.as_ref().is_some_and(Link::is_whole);
        match self.with(ask) {
            Err(error) if connected && fault::is_worth_another_try(&error) => self.with(ask),
            other => other,
        }
    }

    pub(super) fn row(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, Error> {
        Ok(self.rows(doing, sql, values)?.into_iter().next())
    }
}

/// Asks once, about a lease that there is not, what must be answered quickly later: a stand-in takes a second to read a
/// statement that is new to a connection, and a lease's attempt is shorter. Being late here only makes a lease shorter.
fn rehearse(link: &mut Link) {
    const REHEARSAL: Duration = Duration::from_secs(10);
    let nobody = Uuid::new_v4(); // that of no lease; of one that was never held it is nil
    let acquiring = values![-1, nobody, -1_i64, nobody, "", "", 0_i64, 0_i64, 0, nobody];
    link.within(REHEARSAL, |link| {
        let _ = link.rows(sql::LOOK, &values![0_i64, 0_i64]);
        let _ = link.rows(sql::RENEW, &values![-1, nobody, 0_i64]);
        let _ = link.rows(sql::ACQUIRE, &acquiring);
    });
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The columns of an asked switchover, from `first` on.
fn asked(row: &Row, first: usize) -> Result<Option<Asked>, Driver> {
    let by: Option<String> = row.get(first)?;
    let Some(by) = by else { return Ok(None) };
    Ok(Some(Asked {
        by,
        to: row.get(first + 1)?,
        ago: duration(row.get::<Option<i64>>(first + 2)?.unwrap_or(0)),
    }))
}

impl Board for SqlServerBoard {
    fn look(&mut self, ttl: Duration) -> Result<Lease, Error> {
        let doing = "reading the lease";
        let row = self.row(doing, sql::LOOK, &values![micros(ttl), micros(HANDOFF_MAX)])?;
        let row = row.ok_or_else(|| {
            Error::Refused("the store has no lease row: restore it from a backup".to_owned())
        })?;
        let read = || -> Result<Lease, Driver> {
            Ok(Lease {
                mark: Mark {
                    epoch: Epoch(row.get(0)?),
                    term: row.get(1)?,
                    renewals: row.get::<i64>(2)?.unsigned_abs(),
                    timeline: row.get(3)?,
                },
                node: row.get(4)?,
                released: row.get(5)?,
                expired: row.get(6)?,
                left: duration(row.get(7)?),
                handoff_to: row.get(8)?,
                fingerprint: row.get(9)?,
                approved: row.get(10)?,
                ttl: duration(row.get(11)?),
                asked: asked(&row, 12)?,
            })
        };
        read().map_err(database(doing))
    }

    fn acquire(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
    ) -> Result<Option<Term>, Error> {
        self.with(|link| {
            let take = |link: &mut Link| take(link, seen, node, fingerprint, ttl);
            let taken = match take(link) {
                Err(error) if fault::is_lock_timeout(&error) => {
                    tracing::warn!("an older leader's session holds the shard; it is ended");
                    lease::end_sessions_before(link, i32::MAX);
                    take(link)?
                }
                other => other?,
            };
            if let Some(term) = taken {
                lease::end_sessions_before(link, term.epoch.0 as i32);
            }
            Ok(taken)
        })
    }

    fn renew(&mut self, term: Term, ttl: Duration) -> Result<Renewal, Error> {
        let doing = "renewing the lease";
        let values = values![term.epoch.0 as i32, term.id, micros(ttl)];
        match self.row(doing, sql::RENEW, &values)? {
            None => Ok(Renewal::Lost),
            Some(row) => Ok(Renewal::Held(asked(&row, 0).map_err(database(doing))?)),
        }
    }

    fn release(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error> {
        let values = values![
            term.epoch.0 as i32,
            term.id,
            to.unwrap_or_default(),
            micros(hold),
            reason
        ];
        self.with(|link| {
            link.rows(sql::RELEASE, &values)
                .map_err(database("releasing the lease"))
                .map(drop)
        })
    }

    fn beat(&mut self, member: &Member, alive: Duration) -> Result<bool, Error> {
        let doing = "writing what this node is";
        let values = values![
            member.id.as_str(),
            member.boot,
            member.host.as_str(),
            member.pid.cast_signed(),
            member.api.as_str(),
            member.version.as_str(),
            migrate::newest(),
            member.fingerprint.as_str(),
            member.environment.as_str(),
            member.promotable,
            i32::try_from(member.delay.as_millis()).unwrap_or(i32::MAX),
            member.role.as_str(),
            member.ready,
            member.detail.as_str(),
            micros(alive),
        ];
        let row = self.row(doing, sql::BEAT, &values)?;
        let written = row.map_or(Ok(false), |row| row.get(0));
        written.map_err(database(doing))
    }

    fn members(&mut self) -> Result<Vec<MemberView>, Error> {
        let doing = "reading the nodes";
        let rows = self.rows(doing, sql::MEMBERS, &[])?;
        let read = |row: &Row| -> Result<MemberView, Driver> {
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
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(database(doing))
    }

    fn history(&mut self, limit: usize) -> Result<Vec<Leadership>, Error> {
        let doing = "reading the history of leaderships";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.rows(doing, sql::HISTORY, &values![limit])?;
        let read = |row: &Row| -> Result<Leadership, Driver> {
            Ok(Leadership {
                epoch: Epoch(row.get(0)?),
                node: row.get(1)?,
                acquired_at: row.get(2)?,
                gap: row.get::<Option<i64>>(3)?.map(duration),
                ended_at: row.get(4)?,
                reason: row.get(5)?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(database(doing))
    }

    fn ask(&mut self, by: &str, to: Option<&str>) -> Result<bool, Error> {
        let values = values![by, to.unwrap_or_default()];
        Ok(self
            .row("asking for another leader", sql::ASK, &values)?
            .is_some())
    }

    fn approve(&mut self, fingerprint: &str) -> Result<(), Error> {
        self.row("approving a configuration", sql::APPROVE, &values![fingerprint])
            .map(drop)
    }
}

/// The transaction of [`Board::acquire`], in one round trip.
fn take(
    link: &mut Link,
    seen: &Mark,
    node: &str,
    fingerprint: &str,
    ttl: Duration,
) -> Result<Option<Term>, Error> {
    let doing = database("acquiring leadership");
    let id = Uuid::new_v4();
    let values = values![
        seen.epoch.0 as i32,
        seen.term,
        seen.renewals.cast_signed(),
        id,
        node,
        fingerprint,
        micros(ttl),
        micros(HANDOFF_MAX),
        seen.timeline.cast_signed(),
        Uuid::new_v4()
    ];
    let Some(row) = link.maybe_row(sql::ACQUIRE, &values).map_err(&doing)? else {
        return Ok(None);
    };
    let epoch = row.get(0).map_err(&doing)?;
    check_epoch(epoch)?;
    Ok(Some(Term {
        epoch: Epoch(epoch),
        id,
    }))
}
