//! The [`Orders`] on SQL Server, over the connection of a [`SqlServerBoard`].

use model::Term;
use uuid::Uuid;

use super::board::SqlServerBoard;
use super::fault::{Driver, database};
use super::sql;
use super::value::{Row, values};
use crate::Error;
use crate::orders::{Order, Orders, Progress};

/// Microseconds that an order and its answer are kept.
const KEPT: i64 = 24 * 3600 * 1_000_000;
/// An order older than this is not taken up any more: whoever gave it has stopped waiting.
const FRESH: i64 = 60 * 1_000_000;

impl Orders for SqlServerBoard {
    fn give(&mut self, order: &Order) -> Result<(), Error> {
        let doing = "writing a command down for the leader";
        self.rows(doing, sql::TIDY_COMMANDS, &values![KEPT])?;
        let values = values![
            order.id,
            order.node.as_str(),
            order.actor.as_str(),
            order.path.as_str(),
            order.body.as_str()
        ];
        self.rows(doing, sql::GIVE, &values).map(drop)
    }

    fn progress(&mut self, id: Uuid) -> Result<Progress, Error> {
        let doing = "looking for the answer to a command";
        let read = |row: Row| -> Result<Progress, Driver> {
            let (begun, by_a_leader): (bool, bool) = (row.get(0)?, row.get(1)?);
            let (status, answer): (Option<i32>, Option<String>) = (row.get(2)?, row.get(3)?);
            Ok(match (begun, status.zip(answer)) {
                (false, _) => Progress::Open,
                (true, Some((status, answer))) => {
                    Progress::Answered(u16::try_from(status).unwrap_or(500), answer)
                }
                (true, None) if by_a_leader => Progress::Begun,
                (true, None) => Progress::Gone,
            })
        };
        let row = self.row(doing, sql::PROGRESS, &values![id])?;
        row.map_or(Ok(Progress::Gone), read).map_err(database(doing))
    }

    fn withdraw(&mut self, id: Uuid) -> Result<bool, Error> {
        let row = self.row("withdrawing a command", sql::WITHDRAW, &values![id])?;
        Ok(row.is_some())
    }

    fn take_up(&mut self, term: Term, limit: usize) -> Result<Vec<Order>, Error> {
        let doing = "looking for commands that other nodes took";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = values![term.epoch.0 as i32, term.id, limit, FRESH];
        let rows = self.rows(doing, sql::TAKE_UP, &values)?;
        let read = |row: &Row| -> Result<(i64, Order), Driver> {
            let order = Order {
                id: row.get(0)?,
                node: row.get(1)?,
                actor: row.get(2)?,
                path: row.get(3)?,
                body: row.get(4)?,
            };
            Ok((row.get(5)?, order))
        };
        let orders: Result<Vec<(i64, Order)>, Driver> = rows.iter().map(read).collect();
        let mut orders = orders.map_err(database(doing))?;
        // What is changed comes back in no particular order.
        orders.sort_by_key(|(asked_at, _)| *asked_at);
        Ok(orders.into_iter().map(|(_, order)| order).collect())
    }

    fn answer(&mut self, id: Uuid, status: u16, answer: &str) -> Result<(), Error> {
        let values = values![id, i32::from(status), answer];
        self.rows("answering a command", sql::ANSWER, &values).map(drop)
    }
}
