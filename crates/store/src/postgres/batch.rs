//! The one statement that appends the rows of a grouped commit under the claim of the shard's row.

use std::sync::Arc;

use model::NameId;
use sqlx_core::error::Error as Driver;
use sqlx_postgres::PgArguments;

use super::link::{arguments, bind};
use crate::server::batch::{Batch, GROUPS, Present};
use crate::server::{Lead, segment};

/// No row back: the row is another's, or somebody has it locked. What is inserted sees `own` in one
/// snapshot, so either all of it is written or nothing.
const CLAIM: &str = "WITH own AS (SELECT 1 FROM holdfast.shard
     WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE SKIP LOCKED)";

/// Values a statement has before those of its tables: the claim and the time of the commit.
const VALUES_BEFORE: usize = 4;

/// What is appended to one group of tables; `?` stands for the next value, an array. Arrays side by side in
/// a select list are walked together without being copied; in `FROM unnest(...)` they would be, which took a
/// third of the database's CPU (docs/adr/0004-postgresql.md).
const APPENDS: [&str; GROUPS] = [
    ", a AS (INSERT INTO {s}message (id, inbound, received_at, at, control_id, kind, source, parent, keys,
         enc, body)
     SELECT unnest(?::bigint[]), unnest(?::integer[]), unnest(?::bigint[]), $4, unnest(?::text[]), unnest(?::text[]),
         unnest(?::text[]), unnest(?::bigint[]), unnest(?::text[]), unnest(?::smallint[]), unnest(?::bytea[])
     WHERE EXISTS (SELECT FROM own))",
    ", b AS (INSERT INTO {s}routed (id, message, at, handlers)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), $4, unnest(?::text[])::integer[]
     WHERE EXISTS (SELECT FROM own))",
    ", c AS (INSERT INTO {s}outbound (id, message, handler, destination, priority, partition_key, at, enc,
         body)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::integer[]), unnest(?::integer[]),
         unnest(?::integer[]), unnest(?::text[]), $4, unnest(?::smallint[]), unnest(?::bytea[])
     WHERE EXISTS (SELECT FROM own))",
    ", d AS (INSERT INTO {s}outcome (send, id, message, result, attempts, at, enc, reply)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::smallint[]),
         unnest(?::integer[]), $4, unnest(?::smallint[]), unnest(?::bytea[])
     WHERE EXISTS (SELECT FROM own))",
    ", e AS (INSERT INTO {s}disposition (message, id, disposition, at)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::smallint[]), $4 WHERE EXISTS (SELECT FROM own))",
    // What is an exception, in one group.
    ", f AS (INSERT INTO {s}handled (message, handler, id, at, result)
     SELECT unnest(?::bigint[]), unnest(?::integer[]), unnest(?::bigint[]), $4, unnest(?::smallint[])
     WHERE EXISTS (SELECT FROM own))
 , g AS (INSERT INTO {s}dead_letter (id, message, stage, at_name, send, at, reason)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::smallint[]), unnest(?::integer[]),
         unnest(?::bigint[]), $4, unnest(?::text[]) WHERE EXISTS (SELECT FROM own))
 , h AS (INSERT INTO {s}resolved (dead_letter, id, how, actor, at)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::smallint[]), unnest(?::text[]), $4
     WHERE EXISTS (SELECT FROM own))
 , i AS (INSERT INTO {s}event (id, message, send, kind, at, detail, actor)
     SELECT unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::smallint[]), $4,
         unnest(?::text[]), unnest(?::text[]) WHERE EXISTS (SELECT FROM own))",
];

/// `$4` stands alone in no condition: without rows at all it would have no type.
const ANSWER: &str = " SELECT count(*) = 1 AND $4::bigint IS NOT NULL FROM own";

/// The statements of one segment: one constant text for each choice of groups, made when first needed.
/// A small commit then touches only the tables that it has rows for.
#[derive(Debug)]
pub(crate) struct Statements {
    number: u32,
    texts: [Option<Arc<str>>; 1 << GROUPS],
}

impl Statements {
    pub(super) fn of(number: u32) -> Statements {
        Statements {
            number,
            texts: [const { None }; 1 << GROUPS],
        }
    }

    fn text(&mut self, present: Present) -> Arc<str> {
        let number = self.number;
        let make = || {
            let mut template = CLAIM.to_owned();
            let mut value = VALUES_BEFORE;
            let groups = APPENDS.iter().enumerate();
            for (_, group) in groups.filter(|(index, _)| present & (1 << index) != 0) {
                for (index, part) in group.split('?').enumerate() {
                    if index > 0 {
                        value += 1;
                        template.push_str(&format!("${value}"));
                    }
                    template.push_str(part);
                }
            }
            template.push_str(ANSWER);
            Arc::from(segment::text(&template, number))
        };
        Arc::clone(self.texts[present].get_or_insert_with(make))
    }
}

/// Adds columns to the values of a statement.
macro_rules! add {
    ($values:expr; $of:ident: $($column:ident),*) => {{
        let values: Result<PgArguments, Driver> = Ok($values);
        $(let values = values.and_then(|values| bind(values, &$of.$column[..]));)*
        values
    }};
}

/// The statement and its values. An error speaks of the values.
pub(super) fn statement(
    batch: &Batch<'_>,
    lead: &Lead,
    statements: &mut Statements,
) -> Result<(Arc<str>, PgArguments), Driver> {
    let present = batch.present();
    let mut values = arguments!(lead.term.epoch.0 as i32, lead.term.id, lead.session, batch.at.0)?;
    for group in (0..GROUPS).filter(|group| present & (1 << group) != 0) {
        values = add_group(batch, group, values)?;
    }
    Ok((statements.text(present), values))
}

/// The values of a group, in the order of its text.
fn add_group(batch: &Batch<'_>, group: usize, values: PgArguments) -> Result<PgArguments, Driver> {
    let (m, r, s, o, d) = (
        &batch.messages,
        &batch.routed,
        &batch.sends,
        &batch.outcomes,
        &batch.dispositions,
    );
    let (h, l, x, e) = (&batch.handled, &batch.letters, &batch.resolved, &batch.events);
    match group {
        0 => add!(values; m: id, inbound, received_at, control_id, kind, source, parent, keys, enc, body),
        1 => {
            let handlers: Vec<String> = r.handlers.iter().map(|names| array(names)).collect();
            add!(values; r: id, message).and_then(|values| bind(values, handlers))
        }
        2 => add!(values; s: id, message, handler, destination, priority, partition, enc, body),
        3 => add!(values; o: send, id, message, result, attempts, enc, reply),
        4 => add!(values; d: message, id, disposition),
        _ => {
            let values = add!(values; h: message, handler, id, result)?;
            let values = add!(values; l: id, message, stage, at_name, send, reason)?;
            let values = add!(values; x: dead_letter, id, how, actor)?;
            add!(values; e: id, message, send, kind, detail, actor)
        }
    }
}

/// `{1,2}`: an array inside an array's element, which the database takes as text.
fn array(names: &[NameId]) -> String {
    let mut text = String::from("{");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&name.0.to_string());
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_handlers_are_written_as_the_database_reads_them() {
        assert_eq!(array(&[]), "{}");
        assert_eq!(array(&[NameId(7), NameId(12)]), "{7,12}");
    }

    #[test]
    fn a_segment_has_a_constant_text_for_each_choice_of_tables() {
        let (mut one, mut two) = (Statements::of(1), Statements::of(2));
        let text = one.text(0b000001);
        assert!(
            text.contains("holdfast.s000001_message") && text.contains("$14::bytea[]"),
            "{text}"
        );
        assert!(
            !text.contains('?') && !text.contains("{s}") && !text.contains("_routed"),
            "{text}"
        );
        let whole = two.text(0b111111);
        assert!(
            whole.contains("holdfast.s000002_event") && whole.contains("$55::text[]"),
            "{whole}"
        );
        assert!(Arc::ptr_eq(&two.text(0b111111), &whole));
        assert!(!two.text(0).contains("$5"));
    }
}
