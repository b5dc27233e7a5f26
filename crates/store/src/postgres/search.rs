//! Searching: the messages of one segment that something is said of. A sealed segment has an index for each statement here
//! (seal.rs); in an open one they walk the rows from the newest backwards.

use sqlx_core::error::Error as Driver;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgRow;

use super::link::{Link, arguments};
use crate::segments::source::{Between, By};
use crate::server::segment::text;

/// Messages that something is said of, `$1 <= message < $2`, at most $3, newest first.
pub(super) fn messages_by(
    link: &mut Link,
    number: u32,
    by: By<'_>,
    between: Between,
    limit: usize,
) -> Result<Vec<PgRow>, Driver> {
    let (low, before, limit) = (between.low, between.before, limit as i64);
    let (sql, values) = match by {
        By::Time(since, until) => (
            "SELECT id FROM {s}message WHERE id >= $1 AND id < $2 AND received_at >= $4 AND received_at < $5
                 ORDER BY id DESC LIMIT $3",
            arguments!(low, before, limit, since.0, until.0),
        ),
        By::Key(key, true) => (
            "SELECT message FROM {s}key WHERE entry = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
            arguments!(low, before, limit, key.entry()),
        ),
        By::Key(key, false) => (
            "SELECT id FROM {s}message WHERE id >= $1 AND id < $2
                   AND strpos(chr(31) || keys || chr(31), chr(31) || $4::text || chr(31)) > 0
                 ORDER BY id DESC LIMIT $3",
            arguments!(low, before, limit, key.entry()),
        ),
        By::ControlId(id) => (
            "SELECT id FROM {s}message WHERE control_id = $4 AND id >= $1 AND id < $2
                 ORDER BY id DESC LIMIT $3",
            arguments!(low, before, limit, id),
        ),
        By::Kinds(kinds) => {
            let (inbounds, kinds): (Vec<i32>, Vec<&str>) = kinds
                .iter()
                .map(|(inbound, kind)| (inbound.0 as i32, *kind))
                .unzip();
            (
                "SELECT m.id FROM unnest($4::integer[], $5::text[]) AS wanted (inbound, kind)
                     CROSS JOIN LATERAL (SELECT id FROM {s}message
                         WHERE inbound = wanted.inbound AND coalesce(kind, '') = wanted.kind COLLATE \"C\"
                           AND id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS m
                     ORDER BY m.id DESC LIMIT $3",
                arguments!(low, before, limit, inbounds, kinds),
            )
        }
        By::Scan(inbound, kind, since, until) => (
            // Everything that begins with the text sorts before the text and the last character there is.
            "SELECT id FROM {s}message WHERE id >= $1 AND id < $2 AND ($4 = 0 OR inbound = $4)
                   AND ($5::text IS NULL OR kind >= $5 AND kind < $5 || chr(1114111))
                   AND received_at >= $6 AND received_at < $7 ORDER BY id DESC LIMIT $3",
            arguments!(
                low,
                before,
                limit,
                inbound.map_or(0, |inbound| inbound.0 as i32),
                kind,
                since.0,
                until.0
            ),
        ),
        By::Destination(name) => (
            "SELECT message FROM {s}outbound WHERE destination = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
            arguments!(low, before, limit, name.0 as i32),
        ),
        By::Disposition(disposition) => (
            "SELECT message FROM {s}disposition WHERE disposition = $4 AND message >= $1 AND message < $2
                 ORDER BY message DESC LIMIT $3",
            arguments!(low, before, limit, disposition.code() as i16),
        ),
        By::Undisposed => (
            "SELECT id FROM {s}message AS m WHERE id >= $1 AND id < $2
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = m.id)
                 ORDER BY id DESC LIMIT $3",
            arguments!(low, before, limit),
        ),
    };
    link.rows_with(AssertSqlSafe(text(sql, number)), values?)
}
