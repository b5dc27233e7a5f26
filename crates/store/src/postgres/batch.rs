//! Units as columns: the rows of a grouped commit, table by table, and the one statement that appends them
//! all under the claim of the shard's row.

use model::{Epoch, MessageId, RowId, SendId, Timestamp};
use sqlx_core::error::Error as Driver;
use sqlx_postgres::PgArguments;

use super::lease::Lead;
use super::link::{arguments, bind};
use super::segment;
use crate::tally::{KINDS, Tally};
use crate::{Entry, Unit};

/// Beyond this a unit is refused: the protocol carries no more than 1 GiB in a message.
const UNIT_BYTES_MAX: usize = 256 << 20;

/// No row back: the row is another's, or somebody has it locked. What is inserted sees `own` in one
/// snapshot, so either all of it is written or nothing. Each statement's text is constant for a segment.
const CLAIM: &str = "WITH own AS (SELECT 1 FROM holdfast.shard
     WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE SKIP LOCKED)";

/// The rows of every message's life.
const COMMON: &str = "
 , a AS (INSERT INTO {s}message (id, inbound, received_at, at, control_id, kind, source, parent, body)
     SELECT u.id, u.inbound, u.received_at, $4, u.control_id, u.kind, u.source, u.parent, u.body
     FROM unnest($5::bigint[], $6::integer[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::bigint[],
         $12::bytea[]) AS u (id, inbound, received_at, control_id, kind, source, parent, body)
     WHERE EXISTS (SELECT FROM own))
 , b AS (INSERT INTO {s}routed (id, message, at, handlers)
     SELECT u.id, u.message, $4, u.handlers::integer[]
     FROM unnest($13::bigint[], $14::bigint[], $15::text[]) AS u (id, message, handlers)
     WHERE EXISTS (SELECT FROM own))
 , c AS (INSERT INTO {s}outbound (id, message, handler, destination, priority, partition_key, at, body)
     SELECT u.id, u.message, u.handler, u.destination, u.priority, u.partition_key, $4, u.body
     FROM unnest($16::bigint[], $17::bigint[], $18::integer[], $19::integer[], $20::integer[], $21::text[],
         $22::bytea[]) AS u (id, message, handler, destination, priority, partition_key, body)
     WHERE EXISTS (SELECT FROM own))
 , d AS (INSERT INTO {s}outcome (send, id, message, result, attempts, at, reply)
     SELECT u.send, u.id, u.message, u.result, u.attempts, $4, u.reply
     FROM unnest($23::bigint[], $24::bigint[], $25::bigint[], $26::smallint[], $27::integer[], $28::bytea[])
         AS u (send, id, message, result, attempts, reply)
     WHERE EXISTS (SELECT FROM own))
 , e AS (INSERT INTO {s}disposition (message, id, disposition, at)
     SELECT u.message, u.id, u.disposition, $4
     FROM unnest($29::bigint[], $30::bigint[], $31::smallint[]) AS u (message, id, disposition)
     WHERE EXISTS (SELECT FROM own))";

/// The rows of what is an exception.
const RARE: &str = "
 , f AS (INSERT INTO {s}handled (message, handler, id, at, result)
     SELECT u.message, u.handler, u.id, $4, u.result
     FROM unnest($32::bigint[], $33::integer[], $34::bigint[], $35::smallint[]) AS u (message, handler, id, result)
     WHERE EXISTS (SELECT FROM own))
 , g AS (INSERT INTO {s}dead_letter (id, message, stage, at_name, send, at, reason)
     SELECT u.id, u.message, u.stage, u.at_name, u.send, $4, u.reason
     FROM unnest($36::bigint[], $37::bigint[], $38::smallint[], $39::integer[], $40::bigint[], $41::text[])
         AS u (id, message, stage, at_name, send, reason)
     WHERE EXISTS (SELECT FROM own))
 , h AS (INSERT INTO {s}resolved (dead_letter, id, how, actor, at)
     SELECT u.dead_letter, u.id, u.how, u.actor, $4
     FROM unnest($42::bigint[], $43::bigint[], $44::smallint[], $45::text[]) AS u (dead_letter, id, how, actor)
     WHERE EXISTS (SELECT FROM own))
 , i AS (INSERT INTO {s}event (id, message, send, kind, at, detail, actor)
     SELECT u.id, u.message, u.send, u.kind, $4, u.detail, u.actor
     FROM unnest($46::bigint[], $47::bigint[], $48::bigint[], $49::smallint[], $50::text[], $51::text[])
         AS u (id, message, send, kind, detail, actor)
     WHERE EXISTS (SELECT FROM own))";

const ANSWER: &str = " SELECT count(*) = 1 FROM own";

/// The statements of one segment.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    common: std::sync::Arc<str>,
    whole: std::sync::Arc<str>,
}

impl Statements {
    pub(super) fn of(number: u32) -> Statements {
        let common = segment::text(&format!("{CLAIM}{COMMON}{ANSWER}"), number).0;
        let whole = segment::text(&format!("{CLAIM}{COMMON}{RARE}{ANSWER}"), number).0;
        Statements {
            common: common.into(),
            whole: whole.into(),
        }
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
    source: Option<&'u str>, parent: Option<i64>, body: &'u [u8],
});
columns!(Routeds {
    id: i64,
    message: i64,
    handlers: String
});
columns!(Sends {
    id: i64, message: i64, handler: i32, destination: i32, priority: i32, partition: Option<&'u str>,
    body: Option<&'u [u8]>,
});
columns!(Outcomes {
    send: i64, id: i64, message: i64, result: i16, attempts: i32, reply: Option<&'u [u8]>,
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
    pub(super) fn add(&mut self, unit: &'u Unit) -> Vec<RowId> {
        let mut own = 0;
        self.bytes += unit.weight() as u64;
        unit.entries
            .iter()
            .map(|entry| self.entry(entry, &mut own))
            .collect()
    }

    /// `own` is the unit's first message, once there is one.
    fn entry(&mut self, entry: &'u Entry, own: &mut i64) -> RowId {
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

    fn has_rare(&self) -> bool {
        [2, 6, 7, 8].into_iter().any(|kind| self.tally.0[kind] > 0)
    }

    /// The statement and its values. An error speaks of the values.
    pub(super) fn statement(
        &self,
        lead: &Lead,
        statements: &Statements,
    ) -> Result<(std::sync::Arc<str>, PgArguments), Driver> {
        let (m, r, s, o, d) = (
            &self.messages,
            &self.routed,
            &self.sends,
            &self.outcomes,
            &self.dispositions,
        );
        let values = arguments!(
            lead.term.epoch.0 as i32,
            lead.term.id,
            lead.session,
            self.at.0,
            &m.id[..],
            &m.inbound[..],
            &m.received_at[..],
            &m.control_id[..],
            &m.kind[..],
            &m.source[..],
            &m.parent[..],
            &m.body[..],
            &r.id[..],
            &r.message[..],
            &r.handlers[..],
            &s.id[..],
            &s.message[..],
            &s.handler[..],
            &s.destination[..],
            &s.priority[..],
            &s.partition[..],
            &s.body[..],
            &o.send[..],
            &o.id[..],
            &o.message[..],
            &o.result[..],
            &o.attempts[..],
            &o.reply[..],
            &d.message[..],
            &d.id[..],
            &d.disposition[..],
        )?;
        if !self.has_rare() {
            return Ok((statements.common.clone(), values));
        }
        let (h, l, x, e) = (&self.handled, &self.letters, &self.resolved, &self.events);
        let values = bind(values, &h.message[..])?;
        let values = bind(values, &h.handler[..])?;
        let values = bind(values, &h.id[..])?;
        let values = bind(values, &h.result[..])?;
        let values = bind(values, &l.id[..])?;
        let values = bind(values, &l.message[..])?;
        let values = bind(values, &l.stage[..])?;
        let values = bind(values, &l.at_name[..])?;
        let values = bind(values, &l.send[..])?;
        let values = bind(values, &l.reason[..])?;
        let values = bind(values, &x.dead_letter[..])?;
        let values = bind(values, &x.id[..])?;
        let values = bind(values, &x.how[..])?;
        let values = bind(values, &x.actor[..])?;
        let values = bind(values, &e.id[..])?;
        let values = bind(values, &e.message[..])?;
        let values = bind(values, &e.send[..])?;
        let values = bind(values, &e.kind[..])?;
        let values = bind(values, &e.detail[..])?;
        let values = bind(values, &e.actor[..])?;
        Ok((statements.whole.clone(), values))
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
    fn a_segment_has_its_own_constant_texts() {
        let (one, two) = (Statements::of(1), Statements::of(2));
        assert!(one.common.contains("holdfast.s000001_message") && !one.common.contains("{s}"));
        assert!(two.whole.contains("holdfast.s000002_event") && !two.common.contains("_event"));
    }
}
