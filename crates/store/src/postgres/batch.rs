//! Units as columns: the rows of a grouped commit, table by table, and the one statement that appends them
//! all under the claim of the shard's row.

use std::sync::Arc;

use model::{Epoch, MessageId, RowId, SendId, Timestamp};
use sqlx_core::error::Error as Driver;
use sqlx_postgres::PgArguments;

use super::lease::Lead;
use super::link::{arguments, bind};
use super::segment;
use crate::packing::Packed;
use crate::tally::{KINDS, Tally};
use crate::{Entry, Unit};

/// Beyond this a unit is refused: the protocol carries no more than 1 GiB in a message.
const UNIT_BYTES_MAX: usize = 256 << 20;

/// No row back: the row is another's, or somebody has it locked. What is inserted sees `own` in one
/// snapshot, so either all of it is written or nothing.
const CLAIM: &str = "WITH own AS (SELECT 1 FROM holdfast.shard
     WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE SKIP LOCKED)";

/// Values a statement has before those of its tables: the claim and the time of the commit.
const VALUES_BEFORE: usize = 4;

/// What is appended to one group of tables; `?` stands for the next value, an array. Arrays side by side in
/// a select list are walked together without being copied; in `FROM unnest(...)` they would be, which took a
/// third of the database's CPU (docs/adr/0004-postgresql.md).
const GROUPS: [&str; 6] = [
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

/// The kinds of rows (as indexes of [`KINDS`]) in each group.
const KINDS_OF_GROUPS: [&[usize]; GROUPS.len()] = [&[0], &[1], &[3], &[4], &[5], &[2, 6, 7, 8]];

/// `$4` stands alone in no condition: without rows at all it would have no type.
const ANSWER: &str = " SELECT count(*) = 1 AND $4::bigint IS NOT NULL FROM own";

/// Which groups a batch has rows for, a bit each.
type Present = usize;

/// The statements of one segment: one constant text for each choice of groups, made when first needed.
/// A small commit then touches only the tables that it has rows for.
#[derive(Debug)]
pub(super) struct Statements {
    number: u32,
    texts: [Option<Arc<str>>; 1 << GROUPS.len()],
}

impl Statements {
    pub(super) fn of(number: u32) -> Statements {
        Statements {
            number,
            texts: [const { None }; 1 << GROUPS.len()],
        }
    }

    fn text(&mut self, present: Present) -> Arc<str> {
        let number = self.number;
        let make = || {
            let mut template = CLAIM.to_owned();
            let mut value = VALUES_BEFORE;
            let groups = GROUPS.iter().enumerate();
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
            Arc::from(segment::text(&template, number).0)
        };
        Arc::clone(self.texts[present].get_or_insert_with(make))
    }
}

/// Columns of one table, filled row by row.
macro_rules! columns {
    ($name:ident { $($column:ident: $kind:ty),* $(,)? }) => {
        #[derive(Default)]
        struct $name<'u> {
            $($column: Vec<$kind>,)*
            lifetime: std::marker::PhantomData<&'u ()>,
        }
    };
}

columns!(Messages {
    id: i64, inbound: i32, received_at: i64, control_id: Option<&'u str>, kind: Option<&'u str>,
    source: Option<&'u str>, parent: Option<i64>, keys: Option<&'u str>, enc: i16, body: &'u [u8],
});
columns!(Routeds {
    id: i64,
    message: i64,
    handlers: String
});
columns!(Sends {
    id: i64, message: i64, handler: i32, destination: i32, priority: i32, partition: Option<&'u str>,
    enc: i16, body: Option<&'u [u8]>,
});
columns!(Outcomes {
    send: i64, id: i64, message: i64, result: i16, attempts: i32, enc: i16, reply: Option<&'u [u8]>,
});
columns!(Dispositions {
    message: i64,
    id: i64,
    disposition: i16
});
columns!(Handleds {
    message: i64,
    handler: i32,
    id: i64,
    result: i16
});
columns!(Letters {
    id: i64, message: i64, stage: i16, at_name: i32, send: Option<i64>, reason: &'u str,
});
columns!(Resolveds { dead_letter: i64, id: i64, how: i16, actor: &'u str });
columns!(Events {
    id: i64, message: i64, send: Option<i64>, kind: i16, detail: &'u str, actor: Option<&'u str>,
});

/// Adds columns to the values of a statement.
macro_rules! add {
    ($values:expr; $of:ident: $($column:ident),*) => {{
        let values: Result<PgArguments, Driver> = Ok($values);
        $(let values = values.and_then(|values| bind(values, &$of.$column[..]));)*
        values
    }};
}

/// The rows of several units.
pub(super) struct Batch<'u> {
    epoch: Epoch,
    pub(super) at: Timestamp,
    /// The number that the next row will carry.
    pub(super) next: u64,
    /// The table (as an index of [`KINDS`]) and number of the first row.
    pub(super) first: Option<(usize, i64)>,
    pub(super) tally: Tally,
    /// About what it takes on disk.
    pub(super) bytes: u64,
    messages: Messages<'u>,
    routed: Routeds<'u>,
    sends: Sends<'u>,
    outcomes: Outcomes<'u>,
    dispositions: Dispositions<'u>,
    handled: Handleds<'u>,
    letters: Letters<'u>,
    resolved: Resolveds<'u>,
    events: Events<'u>,
}

/// Why a unit contradicts itself, if it does.
pub(super) fn contradiction(unit: &Unit) -> Option<&'static str> {
    let mut has_message = false;
    for entry in &unit.entries {
        let (whose, names) = match entry {
            Entry::Message(new) => {
                has_message = true;
                (None, [Some(new.inbound), None])
            }
            Entry::Routed(new) => (Some(new.message), [new.handlers.iter().max().copied(), None]),
            Entry::Handled(new) => (Some(new.message), [Some(new.handler), None]),
            Entry::Send(new) => (Some(new.message), [Some(new.handler), Some(new.destination)]),
            Entry::Outcome(new) => (Some(new.message), [None, None]),
            Entry::Disposition(new) => (Some(new.message), [None, None]),
            Entry::DeadLetter(new) => (Some(new.message), [Some(new.at), None]),
            Entry::Resolved(_) => (None, [None, None]),
            Entry::Event(new) => (Some(new.message), [None, None]),
        };
        if whose.is_some_and(|message| message.raw() == 0) && !has_message {
            return Some("an entry refers to its unit's message, but the unit has none before it");
        }
        if names
            .into_iter()
            .flatten()
            .any(|name| i32::try_from(name.0).is_err())
        {
            return Some("an entry names something that no name was numbered for");
        }
    }
    (unit.weight() > UNIT_BYTES_MAX).then_some("it is larger than 256 MiB")
}

impl<'u> Batch<'u> {
    /// Numbers start at `next`.
    pub(super) fn new(epoch: Epoch, at: Timestamp, next: u64) -> Batch<'u> {
        Batch {
            epoch,
            at,
            next,
            first: None,
            tally: Tally::default(),
            bytes: 0,
            messages: Messages::default(),
            routed: Routeds::default(),
            sends: Sends::default(),
            outcomes: Outcomes::default(),
            dispositions: Dispositions::default(),
            handled: Handleds::default(),
            letters: Letters::default(),
            resolved: Resolveds::default(),
            events: Events::default(),
        }
    }

    /// Adds a unit that does not contradict itself; answers a number for each entry that carries one.
    pub(super) fn add(&mut self, unit: &'u Packed) -> Vec<RowId> {
        let mut own = 0;
        self.bytes += unit.weight() as u64;
        unit.entries()
            .map(|(entry, enc)| self.entry(entry, enc, &mut own))
            .collect()
    }

    /// `enc` says how its body is packed; `own` is the unit's first message, once there is one.
    fn entry(&mut self, entry: &'u Entry, enc: i16, own: &mut i64) -> RowId {
        let row = RowId::pack(self.epoch, self.next);
        self.next += 1;
        let id = row.0;
        let whose = |message: MessageId| if message.raw() == 0 { *own } else { message.raw() };
        let (kind, numbered) = match entry {
            Entry::Message(new) => {
                let of = &mut self.messages;
                of.id.push(id);
                of.inbound.push(new.inbound.0 as i32);
                of.received_at.push(new.received_at.0);
                of.control_id.push(new.control_id.as_deref());
                of.kind.push(new.kind.as_deref());
                of.source.push(new.source.as_deref());
                of.parent.push(new.parent.map(MessageId::raw));
                of.keys.push(new.keys.as_text());
                of.enc.push(enc);
                of.body.push(&new.body);
                if *own == 0 {
                    *own = id;
                }
                (0, true)
            }
            Entry::Routed(new) => {
                let of = &mut self.routed;
                of.id.push(id);
                of.message.push(whose(new.message));
                of.handlers
                    .push(array(new.handlers.iter().map(|handler| handler.0)));
                (1, true)
            }
            Entry::Handled(new) => {
                let of = &mut self.handled;
                of.message.push(whose(new.message));
                of.handler.push(new.handler.0 as i32);
                of.id.push(id);
                of.result.push(new.result.code() as i16);
                (2, false)
            }
            Entry::Send(new) => {
                let of = &mut self.sends;
                of.id.push(id);
                of.message.push(whose(new.message));
                of.handler.push(new.handler.0 as i32);
                of.destination.push(new.destination.0 as i32);
                of.priority.push(new.priority);
                of.partition.push(new.partition.as_deref());
                of.enc.push(enc);
                of.body.push(new.body.as_deref());
                (3, true)
            }
            Entry::Outcome(new) => {
                let of = &mut self.outcomes;
                of.send.push(new.send.raw());
                of.id.push(id);
                of.message.push(whose(new.message));
                of.result.push(new.result.code() as i16);
                of.attempts.push(i32::try_from(new.attempts).unwrap_or(i32::MAX));
                of.enc.push(enc);
                of.reply.push(new.reply.as_deref());
                (4, false)
            }
            Entry::Disposition(new) => {
                let of = &mut self.dispositions;
                of.message.push(whose(new.message));
                of.id.push(id);
                of.disposition.push(new.disposition.code() as i16);
                (5, false)
            }
            Entry::DeadLetter(new) => {
                let of = &mut self.letters;
                of.id.push(id);
                of.message.push(whose(new.message));
                of.stage.push(new.stage.code() as i16);
                of.at_name.push(new.at.0 as i32);
                of.send.push(new.send.map(SendId::raw));
                of.reason.push(&new.reason);
                (6, true)
            }
            Entry::Resolved(new) => {
                let of = &mut self.resolved;
                of.dead_letter.push(new.dead_letter.0);
                of.id.push(id);
                of.how.push(new.how.code() as i16);
                of.actor.push(&new.actor);
                (7, false)
            }
            Entry::Event(new) => {
                let of = &mut self.events;
                of.id.push(id);
                of.message.push(whose(new.message));
                of.send.push(new.send.map(SendId::raw));
                of.kind.push(new.kind.code() as i16);
                of.detail.push(&new.detail);
                of.actor.push(new.actor.as_deref());
                (8, true)
            }
        };
        self.tally.0[kind] += 1;
        self.first.get_or_insert((kind, id));
        if numbered { row } else { RowId::ZERO }
    }

    /// Where to look for the first row: table and number.
    pub(super) fn landmark(&self) -> Option<(&'static str, i64)> {
        self.first.map(|(kind, id)| (KINDS[kind], id))
    }

    fn present(&self) -> Present {
        let has_rows = |kinds: &&[usize]| kinds.iter().any(|kind| self.tally.0[*kind] > 0);
        let groups = KINDS_OF_GROUPS.iter().enumerate();
        groups
            .filter(|(_, kinds)| has_rows(kinds))
            .fold(0, |present, (index, _)| present | 1 << index)
    }

    /// The statement and its values. An error speaks of the values.
    pub(super) fn statement(
        &self,
        lead: &Lead,
        statements: &mut Statements,
    ) -> Result<(Arc<str>, PgArguments), Driver> {
        let present = self.present();
        let mut values = arguments!(lead.term.epoch.0 as i32, lead.term.id, lead.session, self.at.0)?;
        for group in (0..GROUPS.len()).filter(|group| present & (1 << group) != 0) {
            values = self.add_group(group, values)?;
        }
        Ok((statements.text(present), values))
    }

    /// The values of a group, in the order of its text.
    fn add_group(&self, group: usize, values: PgArguments) -> Result<PgArguments, Driver> {
        let (m, r, s, o, d) = (
            &self.messages,
            &self.routed,
            &self.sends,
            &self.outcomes,
            &self.dispositions,
        );
        let (h, l, x, e) = (&self.handled, &self.letters, &self.resolved, &self.events);
        match group {
            0 => add!(values; m: id, inbound, received_at, control_id, kind, source, parent, keys, enc, body),
            1 => add!(values; r: id, message, handlers),
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
}

/// `{1,2}`: an array inside an array's element, which the database takes as text.
fn array(numbers: impl Iterator<Item = u32>) -> String {
    let mut text = String::from("{");
    for (index, number) in numbers.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_handlers_are_written_as_the_database_reads_them() {
        assert_eq!(array([].into_iter()), "{}");
        assert_eq!(array([7, 12].into_iter()), "{7,12}");
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
