//! What reading asks of one segment, as SQL on that segment's tables.

use model::MessageId;
use sqlx_core::error::Error as Driver;
use sqlx_postgres::PgRow;

use super::link::Link;
use super::search;
use crate::rows::OutcomeResult;
use crate::segments::catalog::Segment;
use crate::segments::source::{Between, By, Candidates};
use crate::server::Connection;
use crate::server::segment::text;
use crate::server::tables::{Reading, Sql};
use crate::server::value::{Value, values};
use crate::views::DeadLetterFilter;

impl Reading for Link {
    const TABLES: Sql = Sql {
        message_ids: "SELECT id FROM {s}message WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3",
        arrivals: "SELECT id, inbound, received_at FROM {s}message WHERE id = ANY ($1) ORDER BY id",
        works: "SELECT id, inbound, received_at, enc, body FROM {s}message WHERE id = ANY ($1)",
        line: "SELECT id, inbound, received_at, control_id, kind, source, parent, octet_length(body), enc, body
                   FROM {s}message WHERE id = $1",
        // The range stands twice, or the second table would be read from its beginning.
        unended: "SELECT id FROM {s}message AS m WHERE id > $1 AND id <= $2
               AND NOT EXISTS (SELECT FROM {s}disposition
                               WHERE message = m.id AND message > $1 AND message <= $2 AND disposition > 1)
             ORDER BY id LIMIT $3",
        reopened: "SELECT DISTINCT message FROM {s}disposition
             WHERE disposition <= 1 AND message > $1 AND message <= $2 ORDER BY message",
        dispositions_between: "SELECT message, disposition FROM {s}disposition WHERE message >= $1 AND message <= $2 ORDER BY message, id",
        standings: "SELECT DISTINCT ON (message) message, id, disposition FROM {s}disposition
                   WHERE message = ANY ($1) ORDER BY message, id DESC",
        story: "SELECT at, disposition FROM {s}disposition WHERE message = $1 ORDER BY id",
        put_back: "SELECT DISTINCT message FROM {s}disposition
             WHERE disposition = 0 AND message > $1 AND message <= $2 ORDER BY message",
        newest_routed: "SELECT message, max(id) FROM {s}routed WHERE message = ANY ($1) GROUP BY message",
        routed: "SELECT id, message, at, handlers FROM {s}routed WHERE message = ANY ($1) ORDER BY id",
        handled: "SELECT id, message, handler, at, result FROM {s}handled WHERE message = ANY ($1) ORDER BY id",
        sends: "SELECT id, message, handler, destination, priority, partition_key, at
                   FROM {s}outbound WHERE message = ANY ($1) ORDER BY id",
        answers: "SELECT message, handler, id FROM {s}handled WHERE message = ANY ($1)
                   UNION ALL SELECT message, handler, id FROM {s}outbound WHERE message = ANY ($1)",
        outcomes: "SELECT DISTINCT ON (send) send, at, result, attempts FROM {s}outcome
                   WHERE send = ANY ($1) ORDER BY send, id DESC",
        reply: "SELECT enc, reply FROM {s}outcome WHERE send = $1 ORDER BY id DESC LIMIT 1",
        failed_attempts: "SELECT send, count(*)::integer FROM {s}event
             WHERE message = ANY ($1) AND send = ANY ($2) AND kind = $3 GROUP BY send",
        send_bodies: "SELECT id, message, enc, body, body IS NOT NULL FROM {s}outbound WHERE id = ANY ($1)",
        letters: "SELECT id, message, stage, at_name, send, at, reason
                   FROM {s}dead_letter WHERE message = ANY ($1) ORDER BY id",
        resolved: "SELECT DISTINCT ON (dead_letter) dead_letter, at FROM {s}resolved
                   WHERE dead_letter = ANY ($1) ORDER BY dead_letter, id DESC",
        events: "SELECT id, at, send, kind, detail, actor FROM {s}event WHERE message = $1 ORDER BY id",
        unrouted: "SELECT id FROM {s}message AS m
             WHERE id > $1 AND id <= $2 AND ($3 = 0 OR inbound = $3)
               AND NOT EXISTS (SELECT FROM {s}routed WHERE message = m.id)
               AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = m.id AND disposition > 0)
             ORDER BY id LIMIT $4",
        routed_of: "SELECT id, message, at, handlers FROM {s}routed AS r
                 WHERE id > $1 AND id <= $2 AND $3 = ANY (handlers)
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = r.message AND id > r.id AND disposition > 1)
                   AND NOT EXISTS (SELECT FROM {s}handled WHERE message = r.message AND handler = $3 AND id > r.id)
                   AND NOT EXISTS (SELECT FROM {s}outbound WHERE message = r.message AND handler = $3 AND id > r.id)
                 ORDER BY id LIMIT $4",
        send_candidates: "SELECT id, message, priority, partition_key FROM {s}outbound AS o
             WHERE id > $1 AND id <= $2 AND ($3 = 0 OR destination = $3)
               AND NOT EXISTS (SELECT FROM {s}outcome WHERE send = o.id)
             ORDER BY id LIMIT $4",
        profiles: "SELECT number, profile FROM holdfast.segment WHERE profile IS NOT NULL AND dropped_at IS NULL",
        lines: "SELECT id, inbound, received_at, control_id, kind, source, parent, octet_length(body), enc,
                       substring(body FOR 18)
                   FROM {s}message WHERE id = ANY ($1)",
        count_sends: "SELECT count(*) FROM {s}outbound",
        with_bodies: "SELECT id FROM {s}message WHERE enc <> 2
                   UNION SELECT message FROM {s}outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL
                   UNION SELECT message FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2 ORDER BY 1",
        foreign_messages: "SELECT message FROM {s}routed WHERE message < $1 UNION SELECT message FROM {s}handled WHERE message < $1
                 UNION SELECT message FROM {s}outbound WHERE message < $1 UNION SELECT message FROM {s}outcome WHERE message < $1
                 UNION SELECT message FROM {s}disposition WHERE message < $1 UNION SELECT message FROM {s}dead_letter WHERE message < $1
                 UNION SELECT message FROM {s}event WHERE message < $1 ORDER BY 1",
        foreign_delivered: "SELECT DISTINCT send FROM {s}outcome WHERE send < $1 AND result = 1 ORDER BY send",
        foreign_letters: "SELECT DISTINCT dead_letter FROM {s}resolved WHERE dead_letter < $1 ORDER BY dead_letter",
        existing_messages: "SELECT id FROM {s}message WHERE id = ANY ($1)",
        existing_sends: "SELECT id FROM {s}outbound WHERE id = ANY ($1)",
        existing_letters: "SELECT id FROM {s}dead_letter WHERE id = ANY ($1)",
    };

    fn routed_of_all(&mut self, number: u32, of: Candidates) -> Result<Vec<PgRow>, Driver> {
        let sql = "SELECT id, message, at, handlers FROM {s}routed AS r
                 WHERE id > $1 AND id <= $2 AND cardinality(handlers) > $3
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = r.message AND id > r.id AND disposition > 1)
                 ORDER BY id LIMIT $4";
        let values = values![of.after, of.upto, 0, of.limit as i64];
        self.rows(&text(sql, number), &values)
    }

    fn list_letters(
        &mut self,
        number: u32,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<PgRow>, Driver> {
        let mut query = Where::default();
        query.and(
            "SELECT id, message, stage, at_name, send, at, reason FROM {s}dead_letter WHERE id > ?",
            Some(after),
        );
        query.and(" AND stage = ?", filter.stage.map(|stage| stage.code() as i16));
        query.and(" AND at_name = ?", filter.at_name.map(|name| name.0 as i32));
        query.and(" AND message = ?", filter.message.map(MessageId::raw));
        query.and(" AND at >= ?", filter.since.map(|since| since.0));
        query.and(" AND at < ?", filter.until.map(|until| until.0));
        query.and(" ORDER BY id LIMIT ?", Some(limit as i64));
        self.rows(&text(&query.sql, number), &query.values)
    }

    fn count_delivered(&mut self, number: u32, lowest: i64) -> Result<Vec<PgRow>, Driver> {
        let sql = "SELECT count(DISTINCT send) FROM {s}outcome WHERE result = $1 AND send >= $2";
        let values = values![OutcomeResult::Delivered.code() as i16, lowest];
        self.rows(&text(sql, number), &values)
    }

    fn messages_by(
        &mut self,
        segment: &Segment,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<PgRow>, Driver> {
        search::messages_by(self, segment.number, by, between, limit)
    }
}

/// A `WHERE` that grows with the fields of a filter that are set: one constant text for each combination.
#[derive(Default)]
struct Where {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Where {
    fn and(&mut self, condition: &str, value: Option<impl Into<Value<'static>>>) {
        let Some(value) = value else { return };
        self.values.push(value.into());
        self.sql
            .push_str(&condition.replace('?', &format!("${}", self.values.len())));
    }
}
