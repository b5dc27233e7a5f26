//! What reading everything back asks, as SQL on one segment's tables.

use sqlx_core::row::Row;
use sqlx_core::sql_str::AssertSqlSafe;

use super::link::{Link, arguments};
use crate::Error;
use crate::server::integrity::{Checking, Sql};
use crate::server::segment::{prefix, tables};
use crate::server::value::database;

impl Checking for Link {
    const CHECKING: Sql = Sql {
        read_all: &[
            "SELECT count(md5(body)) FROM {s}message WHERE enc = 0",
            "SELECT count(handlers::text) FROM {s}routed",
            "SELECT count(result) FROM {s}handled",
            "SELECT count(md5(body)) FROM {s}outbound WHERE enc = 0",
            "SELECT count(md5(reply)) FROM {s}outcome WHERE enc = 0",
            "SELECT count(disposition) FROM {s}disposition",
            "SELECT count(reason) FROM {s}dead_letter",
            "SELECT count(actor) FROM {s}resolved",
            "SELECT count(detail) FROM {s}event",
            "SELECT count(entry) FROM {s}key",
        ],
        packed_bodies: [
            "SELECT id, id, enc, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before FROM (
                SELECT id, enc, body FROM {s}message WHERE id > $1 AND id > $2 AND enc <> 0 ORDER BY id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY id",
            "SELECT id, id, enc, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before FROM (
                SELECT id, enc, body FROM {s}outbound WHERE id > $1 AND id > $2 AND enc <> 0 ORDER BY id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY id",
            "SELECT send, id, enc, reply FROM (
            SELECT *, sum(octet_length(reply)) OVER (ORDER BY send, id) - octet_length(reply) AS before FROM (
                SELECT send, id, enc, reply FROM {s}outcome WHERE (send, id) > ($1, $2) AND enc <> 0
                    ORDER BY send, id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY send, id",
        ],
        strays: "SELECT count(*) FROM (
    SELECT id FROM {s}message UNION ALL SELECT id FROM {s}routed UNION ALL SELECT id FROM {s}handled
    UNION ALL SELECT id FROM {s}outbound UNION ALL SELECT id FROM {s}outcome
    UNION ALL SELECT id FROM {s}disposition UNION ALL SELECT id FROM {s}dead_letter
    UNION ALL SELECT id FROM {s}resolved UNION ALL SELECT id FROM {s}event) AS rows
    WHERE id < $1 OR id >= $2",
        orphans: "SELECT count(*) FROM {s}outcome AS o
    WHERE send >= $1 AND NOT EXISTS (SELECT FROM {s}outbound WHERE id = o.send AND message = o.message)",
    };

    fn missing(&mut self, number: u32) -> Result<Option<String>, Error> {
        let doing = database("looking for a segment's tables");
        let sql = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL LIMIT 1";
        let names: Vec<String> = tables::<Link>(number).collect();
        let rows = arguments!(names).and_then(|names| self.rows_with(AssertSqlSafe(sql), names));
        let name: Option<String> = rows
            .and_then(|rows| rows.first().map(|row| row.try_get(0)).transpose())
            .map_err(&doing)?;
        Ok(name.map(|name| name.trim_start_matches(&prefix(number)).to_owned()))
    }
}
