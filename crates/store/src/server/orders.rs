//! The [`Orders`] on a server, over the connection of a [`ServerBoard`].

use model::Term;
use uuid::Uuid;

use super::board::ServerBoard;
use super::link::Link;
use super::value::{Row, values};
use crate::Error;
use crate::orders::{Order, Orders, Progress};

/// Microseconds that an order and its answer are kept.
const KEPT: i64 = 24 * 3600 * 1_000_000;
/// An order older than this is not taken up any more: whoever gave it has stopped waiting.
const FRESH: i64 = 60 * 1_000_000;

pub(crate) struct Sql {
    /// Clears orders away; how old.
    pub(crate) tidy: &'static str,
    /// Id, node, actor, path, body. Nothing where the id is there already.
    pub(crate) give: &'static str,
    /// Id. Answers whether it was begun, and by a leader, its status and its answer.
    pub(crate) progress: &'static str,
    /// Id. A row unless a leader took it up.
    pub(crate) withdraw: &'static str,
    /// Epoch, term, how many, how old at most. Orders nobody has locked or begun, where the term leads; the lease row is
    /// not kept locked, since what an order writes proves the term by itself.
    pub(crate) take_up: &'static str,
    /// Id, status, answer.
    pub(crate) answer: &'static str,
}

fn progress<R: Row>(row: &R) -> Result<Progress, R::Driver> {
    let (begun, by_a_leader): (bool, bool) = (row.get(0)?, row.get(1)?);
    let (status, answer): (Option<i32>, Option<String>) = (row.get(2)?, row.get(3)?);
    Ok(match (begun, status.zip(answer)) {
        (false, _) => Progress::Open,
        (true, Some((status, answer))) => Progress::Answered(u16::try_from(status).unwrap_or(500), answer),
        (true, None) if by_a_leader => Progress::Begun,
        (true, None) => Progress::Gone,
    })
}

fn order<R: Row>(row: &R) -> Result<Order, R::Driver> {
    Ok(Order {
        id: row.get(0)?,
        node: row.get(1)?,
        actor: row.get(2)?,
        path: row.get(3)?,
        body: row.get(4)?,
    })
}

impl<L: Link> Orders for ServerBoard<L> {
    fn give(&mut self, order: &Order) -> Result<(), Error> {
        let doing = "writing a command down for the leader";
        self.repeat(|link| link.run(doing, L::ORDERS.tidy, &values![KEPT]))?;
        let values = values![
            order.id,
            order.node.as_str(),
            order.actor.as_str(),
            order.path.as_str(),
            order.body.as_str()
        ];
        self.repeat(|link| link.run(doing, L::ORDERS.give, &values))
    }

    fn progress(&mut self, id: Uuid) -> Result<Progress, Error> {
        let doing = "looking for the answer to a command";
        let found = self.repeat(|link| link.read_first(doing, L::ORDERS.progress, &values![id], progress))?;
        Ok(found.unwrap_or(Progress::Gone))
    }

    fn withdraw(&mut self, id: Uuid) -> Result<bool, Error> {
        let doing = "withdrawing a command";
        let row = self.repeat(|link| link.read_first(doing, L::ORDERS.withdraw, &values![id], |_| Ok(())))?;
        Ok(row.is_some())
    }

    fn take_up(&mut self, term: Term, limit: usize) -> Result<Vec<Order>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = values![term.epoch.0 as i32, term.id, limit, FRESH];
        self.repeat(|link| {
            let doing = "looking for commands that other nodes took";
            // What is changed comes back in no particular order.
            let read = |row: &L::Row| Ok((row.get::<i64>(5)?, order(row)?));
            let mut orders = link.read(doing, L::ORDERS.take_up, &values, read)?;
            orders.sort_by_key(|(asked_at, _)| *asked_at);
            Ok(orders.into_iter().map(|(_, order)| order).collect())
        })
    }

    fn answer(&mut self, id: Uuid, status: u16, answer: &str) -> Result<(), Error> {
        let values = values![id, i32::from(status), answer];
        self.repeat(|link| link.run("answering a command", L::ORDERS.answer, &values))
    }
}
