//! What a PostgreSQL server appends at best, see [`crate::ceiling`].

use super::link::{Link, arguments};
use super::options::Options;
use crate::Error;
use crate::ceiling::{Appended, Load};
use crate::server::value::database;
use crate::server::{Connection, Purpose};

const DROP: &str = "DROP SCHEMA IF EXISTS holdfast_ceiling CASCADE";

const TABLES: &str = "
 CREATE SCHEMA holdfast_ceiling;
 CREATE TABLE holdfast_ceiling.message (id bigint PRIMARY KEY, a int, b bigint, c bigint, d text, e text, f text, body bytea)
     WITH (autovacuum_enabled = off);
 CREATE TABLE holdfast_ceiling.routed (id bigint PRIMARY KEY, a bigint, b bigint, c int[]) WITH (autovacuum_enabled = off);
 CREATE TABLE holdfast_ceiling.outbound (id bigint PRIMARY KEY, a bigint, b int, c int, d int, e bigint, body bytea)
     WITH (autovacuum_enabled = off);
 CREATE TABLE holdfast_ceiling.outcome (id bigint PRIMARY KEY, a bigint, b smallint, c int, d bigint, reply bytea)
     WITH (autovacuum_enabled = off);
 CREATE TABLE holdfast_ceiling.disposition (id bigint PRIMARY KEY, a smallint, b bigint) WITH (autovacuum_enabled = off)";

/// $1 messages, $2 their bodies, $3 sends, $4 their bodies, $5 replies.
const APPEND: &str = "
 WITH a AS (INSERT INTO holdfast_ceiling.message
                SELECT unnest($1::bigint[]), 1, 1, 1, 'MSG00000001', 'ADT^A01', '127.0.0.1:50000', unnest($2::bytea[])),
      b AS (INSERT INTO holdfast_ceiling.routed
                SELECT id, id, 1, '{2}' FROM (SELECT unnest($1::bigint[]) AS id) AS u),
      c AS (INSERT INTO holdfast_ceiling.outbound SELECT id, id, 2, 3, 0, 1, body
                FROM (SELECT unnest($3::bigint[]) AS id, unnest($4::bytea[]) AS body) AS u),
      d AS (INSERT INTO holdfast_ceiling.outcome SELECT id, id, 1, 1, 1, reply
                FROM (SELECT unnest($3::bigint[]) AS id, unnest($5::bytea[]) AS reply) AS u)
 INSERT INTO holdfast_ceiling.disposition SELECT unnest($1::bigint[]), 3, 1";

/// Appends in a schema of its own, `holdfast_ceiling`, and drops it. One of that name that is there is dropped
/// first. Blocks; not inside an asynchronous task.
pub fn ceiling(options: &Options, load: &Load) -> Result<Appended, Error> {
    let failed = || database("measuring what it can append");
    let mut link = Link::open(&options.target()?, &options.node, Purpose::Write)?;
    link.script(DROP).map_err(failed())?;
    link.script(TABLES).map_err(failed())?;
    let appended = append(&mut link, load);
    link.script(DROP).map_err(failed())?;
    link.close();
    appended
}

fn append(link: &mut Link, load: &Load) -> Result<Appended, Error> {
    let failed = || database("measuring what it can append");
    let (body, reply, batch) = (load.body(), Load::reply(), load.batch.max(1));
    let sends = batch * load.sends;
    let bodies = vec![&body[..]; batch];
    let changed = vec![load.changed.then_some(&body[..]); sends];
    let replies = vec![&reply[..]; sends];
    load.run(|first| {
        let ids: Vec<i64> = (first..first + batch as i64).collect();
        let first_send = first * load.sends as i64;
        let send_ids: Vec<i64> = (first_send..first_send + sends as i64).collect();
        let values = arguments!(ids, &bodies[..], send_ids, &changed[..], &replies[..]);
        values
            .and_then(|values| link.rows_with(APPEND, values))
            .map(drop)
            .map_err(failed())
    })
}
