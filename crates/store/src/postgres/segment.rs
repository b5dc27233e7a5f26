//! Segments as tables: the list of those that live, and what they take.

use sqlx_postgres::PgRow;

use super::link::{Link, arguments};
use crate::Error;
use crate::segments::retention::SegmentInfo;
use crate::server::Connection;
use crate::server::segment::{Segments, Sql, kinds, tables};
use crate::server::value::{Row, database};

/// The table of the search keys, filled at sealing.
pub(super) const KEY: &str = "key";

impl Segments for Link {
    const SEGMENTS: Sql = Sql {
        catalog: "SELECT number, first_row, opened_at, sealed_at IS NOT NULL, drained_at IS NOT NULL, oldest_reference,
         coalesce((profile::json ->> 'bare')::boolean, false)
     FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number",
        spare: "SELECT number FROM holdfast.segment WHERE opened_at IS NULL AND dropped_at IS NULL ORDER BY number LIMIT 1",
        make: "INSERT INTO holdfast.segment (number, made_at) SELECT coalesce(max(number), 0) + 1, $1 FROM holdfast.segment
         RETURNING number",
        open_segment: "WITH own AS (SELECT 1 FROM holdfast.shard
             WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE)
         UPDATE holdfast.segment SET first_row = $5, opened_at = $6
         WHERE number = $4 AND opened_at IS NULL AND EXISTS (SELECT FROM own) RETURNING 1",
        open_first: "UPDATE holdfast.segment SET first_row = 1, opened_at = $2 WHERE number = $1",
        takes_rows: "SELECT sealed_at IS NULL AND dropped_at IS NULL FROM holdfast.segment
             WHERE number = $1 AND opened_at IS NOT NULL",
        has_row: "SELECT EXISTS (SELECT FROM {s}{table} WHERE id = $1)",
    };

    const MAKE_TABLES: &'static str = include_str!("../../migrations/postgres/segment.sql");
    const OWN_KINDS: &'static [&'static str] = &[KEY];

    fn lock_tables(&mut self) -> Result<(), Error> {
        // The number is this program's own.
        let lock = "SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(5207331104129)";
        let doing = "waiting for the turn to change tables";
        self.script(lock).map_err(database(doing))
    }

    fn stamp(&mut self) -> Result<String, Error> {
        let sql = "SELECT coalesce(string_agg(xmin::text, ',' ORDER BY number), '') FROM holdfast.segment
        WHERE opened_at IS NOT NULL AND dropped_at IS NULL";
        self.row(sql, &[])
            .and_then(|row| row.get(0))
            .map_err(database("reading the list of segments"))
    }

    fn list(&mut self) -> Result<Vec<SegmentInfo>, Error> {
        let doing = database("reading the list of segments");
        let sql = "SELECT s.number, s.opened_at, s.sealed_at IS NOT NULL,
                 coalesce((SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c
                     JOIN pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE n.nspname = 'holdfast' AND c.relkind = 'r'
                       AND c.relname = ANY (SELECT format('s%s_%s', lpad(s.number::text, 6, '0'), kind)
                                            FROM unnest($1::text[]) AS kind)), 0)::bigint,
                 coalesce((s.profile::json ->> 'bare')::boolean, false)
             FROM holdfast.segment AS s WHERE s.opened_at IS NOT NULL AND s.dropped_at IS NULL ORDER BY s.number";
        let kinds = arguments!(kinds::<Link>().map(str::to_owned).collect::<Vec<_>>());
        let rows = kinds
            .and_then(|kinds| self.rows_with(sql, kinds))
            .map_err(&doing)?;
        let info = |row: &PgRow| {
            Ok(SegmentInfo {
                number: row.get(0)?,
                opened_at: row.get(1)?,
                sealed: row.get(2)?,
                bytes: row.get::<i64>(3)? as u64,
                bare: row.get(4)?,
            })
        };
        rows.iter().map(info).collect::<Result<_, _>>().map_err(&doing)
    }

    fn bytes(&mut self, of: u32) -> Result<u64, Error> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest($1::text[]) AS name";
        let names = arguments!(tables::<Link>(of).collect::<Vec<_>>());
        let rows = names.and_then(|names| self.rows_with(sql, names));
        measured(rows.map_err(database("measuring a segment"))?)
    }

    fn all_bytes(&mut self) -> Result<u64, Error> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'holdfast' AND c.relkind = 'r'";
        let rows = self.rows(sql, &[]);
        measured(rows.map_err(database("measuring the store"))?)
    }
}

/// The one number of an answer.
fn measured(rows: Vec<PgRow>) -> Result<u64, Error> {
    let bytes = rows.first().map(|row| row.get::<i64>(0)).transpose();
    let bytes = bytes.map_err(database("measuring the store"))?;
    Ok(bytes.unwrap_or(0) as u64)
}
