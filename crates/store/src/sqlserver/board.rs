//! The lease and the list of nodes, as nodes of a cluster read and write them.

use std::time::Duration;

use model::{Epoch, Term};
use uuid::Uuid;

use super::fault::Driver;
use super::link::Link;
use super::options::Options;
use super::sql;
use super::value::Row;
use crate::Error;
use crate::board::{HANDOFF_MAX, Mark};
use crate::server::board::{Cluster, Sql, micros};
use crate::server::value::{Value, values};
use crate::server::{Connection, ServerBoard, check_epoch, orders};

/// The board of a cluster in a SQL Server database.
pub type SqlServerBoard = ServerBoard<Link>;

/// A board on the database at `options.url`. No call takes longer than `patience`; acquiring, which waits for
/// others, may take three times as long.
pub fn board(options: &Options, patience: Duration) -> Result<SqlServerBoard, Error> {
    Ok(ServerBoard::new(
        options.target()?,
        options.node.clone(),
        patience,
    ))
}

impl Cluster for Link {
    const BOARD: Sql = sql::BOARD;
    const ORDERS: orders::Sql = sql::ORDERS;

    /// About leases that there are not: a stand-in takes a second to read a statement that is new to a connection, and a
    /// lease's attempt is shorter. Being late here only makes a lease shorter.
    fn rehearse(&mut self) {
        const REHEARSAL: Duration = Duration::from_secs(10);
        if !self.stand_in {
            return;
        }
        // The nil term is that of a lease which nobody holds.
        let (nobody, other) = (Uuid::new_v4(), Uuid::new_v4());
        let acquiring = values![-1, nobody, -1_i64, other, "", "", 0_i64, 0_i64, 0_i64, nobody];
        self.within(REHEARSAL, |link| {
            let _ = link.rows(sql::LOOK, &values![0_i64, 0_i64]);
            let _ = link.rows(sql::BOARD.renew, &values![-1, nobody, 0_i64]);
            let _ = link.rows(sql::ACQUIRE, &acquiring);
        });
    }

    fn look(&mut self, values: &[Value<'_>; 2]) -> Result<Vec<Row>, Driver> {
        self.rows(sql::LOOK, values)
    }

    /// In one round trip; the session waits for locks for less than a call may take anyway.
    fn take(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
        _patience: Duration,
    ) -> Result<Option<Term>, Error> {
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
        let taken = self.read_first("acquiring leadership", sql::ACQUIRE, &values, |row| row.get(0))?;
        let Some(epoch) = taken else { return Ok(None) };
        check_epoch(epoch)?;
        Ok(Some(Term {
            epoch: Epoch(epoch),
            id,
        }))
    }

    fn give_up(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error> {
        let values = values![term.epoch.0 as i32, term.id, to, micros(hold), reason];
        self.run("releasing the lease", sql::RELEASE, &values)
    }
}
