//! The [`Orders`] on PostgreSQL, over the connection of a [`PostgresBoard`].

use model::Term;
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::PgRow;
use uuid::Uuid;

use super::board::{PostgresBoard, now};
use super::fault::database;
use super::link::arguments;
use crate::Error;
use crate::orders::{Order, Orders, Progress};

/// Microseconds that an order and its answer are kept.
const KEPT: i64 = 24 * 3600 * 1_000_000;
/// An order older than this is not taken up any more: whoever gave it has stopped waiting.
const FRESH: i64 = 60 * 1_000_000;

impl Orders for PostgresBoard {
    fn give(&mut self, order: &Order) -> Result<(), Error> {
        let doing = "writing a command down for the leader";
        let tidy = concat!("DELETE FROM holdfast.command WHERE asked_at < ", now!(), " - $1");
        self.rows(doing, tidy, || arguments!(KEPT))?;
        let sql = concat!(
            "INSERT INTO holdfast.command (id, node, actor, path, body, asked_at) VALUES ($1, $2, $3, $4, $5, ",
            now!(),
            ") ON CONFLICT (id) DO NOTHING"
        );
        let values = || {
            arguments!(
                order.id,
                order.node.as_str(),
                order.actor.as_str(),
                order.path.as_str(),
                order.body.as_str()
            )
        };
        self.rows(doing, sql, values).map(drop)
    }

    fn progress(&mut self, id: Uuid) -> Result<Progress, Error> {
        let doing = "looking for the answer to a command";
        let sql = "SELECT begun_at IS NOT NULL, epoch IS NOT NULL, status, answer FROM holdfast.command WHERE id = $1";
        let read = |row: PgRow| -> Result<Progress, Driver> {
            let (begun, by_a_leader): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
            let (status, answer): (Option<i32>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
            Ok(match (begun, status.zip(answer)) {
                (false, _) => Progress::Open,
                (true, Some((status, answer))) => {
                    Progress::Answered(u16::try_from(status).unwrap_or(500), answer)
                }
                (true, None) if by_a_leader => Progress::Begun,
                (true, None) => Progress::Gone,
            })
        };
        let row = self.row(doing, sql, || arguments!(id))?;
        row.map_or(Ok(Progress::Gone), read).map_err(database(doing))
    }

    fn withdraw(&mut self, id: Uuid) -> Result<bool, Error> {
        let sql = concat!(
            "UPDATE holdfast.command SET begun_at = coalesce(begun_at, ",
            now!(),
            "), ended_at = coalesce(ended_at, ",
            now!(),
            ") WHERE id = $1 AND epoch IS NULL RETURNING 1"
        );
        let row = self.row("withdrawing a command", sql, || arguments!(id))?;
        Ok(row.is_some())
    }

    fn take_up(&mut self, term: Term, limit: usize) -> Result<Vec<Order>, Error> {
        let doing = "looking for commands that other nodes took";
        // The lease row is read, not locked: what the command writes proves the term by itself.
        let sql = concat!(
            "WITH open AS (
                 SELECT id FROM holdfast.command WHERE begun_at IS NULL AND asked_at > ",
            now!(),
            " - $4 AND EXISTS (SELECT FROM holdfast.lease
                     WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released)
                 ORDER BY asked_at LIMIT $3 FOR UPDATE SKIP LOCKED)
             UPDATE holdfast.command AS command SET begun_at = ",
            now!(),
            ", epoch = $1 FROM open WHERE command.id = open.id
             RETURNING command.id, command.node, command.actor, command.path, command.body"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.rows(doing, sql, || {
            arguments!(term.epoch.0 as i32, term.id, limit, FRESH)
        })?;
        let read = |row: &PgRow| -> Result<Order, Driver> {
            Ok(Order {
                id: row.try_get(0)?,
                node: row.try_get(1)?,
                actor: row.try_get(2)?,
                path: row.try_get(3)?,
                body: row.try_get(4)?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(database(doing))
    }

    fn answer(&mut self, id: Uuid, status: u16, answer: &str) -> Result<(), Error> {
        let sql = concat!(
            "UPDATE holdfast.command SET ended_at = ",
            now!(),
            ", status = $2, answer = $3 WHERE id = $1 AND ended_at IS NULL"
        );
        self.rows("answering a command", sql, || {
            arguments!(id, i32::from(status), answer)
        })
        .map(drop)
    }
}
