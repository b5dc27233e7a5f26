//! What reading asks of one segment in a way of this server's own.

use model::MessageId;

use super::fault::Driver;
use super::link::Link;
use super::value::Row;
use super::{search, sql};
use crate::segments::catalog::Segment;
use crate::segments::source::{Between, By, Candidates};
use crate::server::Connection;
use crate::server::segment::text;
use crate::server::tables::{Reading, Sql};
use crate::server::value::values;
use crate::views::DeadLetterFilter;

impl Reading for Link {
    const TABLES: Sql = sql::TABLES;

    fn routed_of_all(&mut self, number: u32, of: Candidates) -> Result<Vec<Row>, Driver> {
        let values = values![of.after, of.upto, of.limit as i64];
        self.rows(&text(sql::ROUTED_ALL, number), &values)
    }

    fn list_letters(
        &mut self,
        number: u32,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Row>, Driver> {
        let values = values![
            after,
            limit as i64,
            filter.stage.map_or(-1, |stage| stage.code() as i16),
            filter.at_name.map_or(0, |name| name.0 as i32),
            filter.message.map_or(0, MessageId::raw),
            filter.since.map_or(i64::MIN, |since| since.0),
            filter.until.map_or(i64::MAX, |until| until.0),
        ];
        self.rows(&text(sql::LIST_LETTERS, number), &values)
    }

    fn count_delivered(&mut self, number: u32, lowest: i64) -> Result<Vec<Row>, Driver> {
        self.rows(&text(sql::COUNT_DELIVERED, number), &values![lowest])
    }

    fn messages_by(
        &mut self,
        segment: &Segment,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<Row>, Driver> {
        search::messages_by(self, segment, by, between, limit)
    }
}
