//! Pages for people: messages newest first, dead letters oldest first.
//!
//! A page looks at a bounded number of rows; it may therefore be short, even empty, and still name a
//! next one.

use model::{Disposition, MessageId, RowId, SendId, Stage, Timestamp};
use rusqlite::Row;
use rusqlite::types::Value;

use super::fault::database;
use super::view::{self, View};
use crate::Error;
use crate::views::{DeadLetter, DeadLetterFilter, MessageFilter, Page, Summary};

/// Rows that one page looks at.
const EXAMINED_MAX: usize = 50_000;
/// Clocks may step back: a segment is passed over only when it was done this long before, in microseconds.
const CLOCK_SLACK_MICROS: i64 = 60 * 60 * 1_000_000;

/// A `WHERE` that grows with the fields of a filter that are set.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn new(sql: &str, values: Vec<Value>) -> Where {
        Where {
            sql: sql.to_owned(),
            values,
        }
    }

    fn and(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            self.sql
                .push_str(&condition.replace('?', &format!("?{}", self.values.len())));
        }
    }
}

impl View {
    /// Messages by filter, newest first.
    pub(super) fn messages(&mut self, filter: &MessageFilter) -> Result<Page<Summary>, Error> {
        let limit = filter.limit.clamp(1, 1_000);
        let mut before = filter.before.unwrap_or(RowId::MAX).0;
        let mut items = Vec::new();
        let mut examined = 0;
        let start = self
            .catalog
            .home(before.saturating_sub(1))
            .map_or(0, |index| index + 1);
        for index in (0..start).rev() {
            if self.is_older_than(index, filter.since) {
                continue;
            }
            loop {
                let chunk = (limit - items.len()).max(64);
                let rows = self.message_rows(index, filter, before, chunk)?;
                let full = rows.len() == chunk;
                for mut summary in rows {
                    if items.len() == limit || examined == EXAMINED_MAX {
                        return Ok(Page {
                            items,
                            next: Some(RowId(before)),
                        });
                    }
                    examined += 1;
                    before = summary.id.raw();
                    summary.disposition = self.stands(before)?;
                    if filter
                        .disposition
                        .is_none_or(|wanted| wanted == summary.disposition)
                    {
                        items.push(summary);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Page { items, next: None })
    }

    /// Whether everything in a segment was received before `since`.
    fn is_older_than(&self, index: usize, since: Option<Timestamp>) -> bool {
        let next = self.catalog.segments.get(index + 1);
        matches!((since, next), (Some(since), Some(next)) if next.opened_at + CLOCK_SLACK_MICROS < since.0)
    }

    fn message_rows(
        &mut self,
        index: usize,
        filter: &MessageFilter,
        before: i64,
        limit: usize,
    ) -> Result<Vec<Summary>, Error> {
        let mut query = Where::new(
            "SELECT id, inbound, received_at, control_id, kind, source, parent, length(body) FROM message WHERE id < ?1",
            vec![before.into()],
        );
        query.and(
            " AND inbound = ?",
            filter.inbound.map(|inbound| i64::from(inbound.0)),
        );
        query.and(" AND control_id = ?", filter.control_id.clone());
        query.and(" AND kind >= ?", filter.kind.clone());
        // Everything that begins with the text sorts before the text and the last character there is.
        query.and(
            " AND kind < ?",
            filter.kind.as_ref().map(|kind| format!("{kind}\u{10FFFF}")),
        );
        query.and(" AND received_at >= ?", filter.since.map(|since| since.0));
        query.and(" AND received_at < ?", filter.until.map(|until| until.0));
        query.and(" ORDER BY id DESC LIMIT ?", Some(limit as i64));
        self.query(index, &query, |row| summary(row, Disposition::Received))
    }

    /// Dead letters that nobody dealt with, oldest first.
    pub(super) fn dead_letters(&mut self, filter: &DeadLetterFilter) -> Result<Page<DeadLetter>, Error> {
        let limit = filter.limit.clamp(1, 10_000);
        let mut after = filter.after.unwrap_or(RowId::ZERO).0;
        let mut items = Vec::new();
        let mut examined = 0;
        let start = self.catalog.home(after.saturating_add(1)).unwrap_or(0);
        for index in start..self.catalog.segments.len() {
            loop {
                let chunk = (limit - items.len()).max(64);
                let rows = self.dead_letter_rows(index, filter, after, chunk)?;
                let full = rows.len() == chunk;
                for letter in rows {
                    if items.len() == limit || examined == EXAMINED_MAX {
                        return Ok(Page {
                            items,
                            next: Some(RowId(after)),
                        });
                    }
                    examined += 1;
                    after = letter.row.0;
                    if self.resolved_at(after)?.is_none() {
                        items.push(letter);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Page { items, next: None })
    }

    fn dead_letter_rows(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut query = Where::new(
            "SELECT id, message, stage, at_name, send, at, reason FROM dead_letter WHERE id > ?1",
            vec![after.into()],
        );
        query.and(" AND stage = ?", filter.stage.map(Stage::code));
        query.and(" AND at_name = ?", filter.at_name.map(|name| i64::from(name.0)));
        query.and(" AND message = ?", filter.message.map(MessageId::raw));
        query.and(" AND at >= ?", filter.since.map(|since| since.0));
        query.and(" AND at < ?", filter.until.map(|until| until.0));
        query.and(" ORDER BY id LIMIT ?", Some(limit as i64));
        self.query(index, &query, dead_letter)
    }

    fn query<T>(
        &mut self,
        index: usize,
        query: &Where,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let connection = self.connection(index)?;
        let found = connection.prepare_cached(&query.sql).and_then(|mut statement| {
            statement
                .query_map(rusqlite::params_from_iter(&query.values), read)?
                .collect()
        });
        found.map_err(database("listing rows"))
    }
}

/// A line of a listing, from the columns that [`View::messages`] selects.
pub(super) fn summary(row: &Row<'_>, disposition: Disposition) -> rusqlite::Result<Summary> {
    Ok(Summary {
        id: MessageId::from_raw(row.get(0)?),
        inbound: view::name(row, 1)?,
        received_at: Timestamp(row.get(2)?),
        control_id: row.get(3)?,
        kind: row.get(4)?,
        source: row.get(5)?,
        parent: row.get::<_, Option<i64>>(6)?.map(MessageId::from_raw),
        size: row.get::<_, i64>(7)? as u64,
        disposition,
    })
}

/// A dead letter that is not known to be resolved.
pub(super) fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let stage = row.get(2)?;
    Ok(DeadLetter {
        row: RowId(row.get(0)?),
        message: MessageId::from_raw(row.get(1)?),
        stage: Stage::from_code(stage).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, stage))?,
        at_name: view::name(row, 3)?,
        send: row.get::<_, Option<i64>>(4)?.map(SendId::from_raw),
        at: Timestamp(row.get(5)?),
        reason: row.get(6)?,
        resolved_at: None,
    })
}
