//! What a SQL Server appends at best, see [`crate::ceiling`]: by a bulk load for each table, which is the fastest way in for
//! batches of many rows (`benches/appending.rs`).

use tiberius::{IntoRow, TokenRow};

use super::fault::Driver;
use super::link::Link;
use super::options::Options;
use super::sql;
use crate::Error;
use crate::ceiling::{Appended, Load};
use crate::server::value::database;
use crate::server::{Connection, Purpose};

/// Appends in a schema of its own, `holdfast_ceiling`, and drops it. One of that name that is there is dropped
/// first. Blocks; not inside an asynchronous task.
pub fn ceiling(options: &Options, load: &Load) -> Result<Appended, Error> {
    let doing = database("measuring what it can append");
    let mut link = Link::open(&options.target()?, &options.node, Purpose::Write)?;
    for text in [sql::CEILING_DROP, sql::CEILING_SCHEMA, sql::CEILING_TABLES] {
        link.script(text).map_err(&doing)?;
    }
    let appended = load.run(|first| append(&mut link, load, first).map_err(&doing));
    link.script(sql::CEILING_DROP).map_err(&doing)?;
    link.close();
    appended
}

fn append(link: &mut Link, load: &Load, first: i64) -> Result<(), Driver> {
    let (body, reply) = (load.body(), Load::reply());
    let ids = first..first + load.batch.max(1) as i64;
    let first_send = first * load.sends as i64;
    let sends = first_send..first_send + (load.batch.max(1) * load.sends) as i64;
    let changed = if load.changed { body.clone() } else { Vec::new() };
    link.script("BEGIN TRANSACTION")?;
    link.load(
        "holdfast_ceiling.message",
        rows(&ids, |id| {
            (
                id,
                1_i32,
                1_i64,
                1_i32,
                "MSG00000001",
                "ADT^A01",
                "127.0.0.1:50000",
                body.clone(),
            )
                .into_row()
        }),
    )?;
    link.load(
        "holdfast_ceiling.routed",
        rows(&ids, |id| (id, id, 1_i64, ",2,").into_row()),
    )?;
    link.load(
        "holdfast_ceiling.outbound",
        rows(&sends, |id| {
            (id, id, 2_i32, 3_i32, 0_i32, 1_i64, changed.clone()).into_row()
        }),
    )?;
    link.load(
        "holdfast_ceiling.outcome",
        rows(&sends, |id| {
            (id, id, 1_i16, 1_i32, 1_i64, reply.to_vec()).into_row()
        }),
    )?;
    link.load(
        "holdfast_ceiling.disposition",
        rows(&ids, |id| (id, 3_i16, 1_i64).into_row()),
    )?;
    link.script("COMMIT TRANSACTION").map(drop)
}

fn rows(ids: &std::ops::Range<i64>, row: impl Fn(i64) -> TokenRow<'static>) -> Vec<TokenRow<'static>> {
    ids.clone().map(row).collect()
}
