//! Units as columns: the rows of a grouped commit, table by table, with the numbers that they get.

use model::{Epoch, MessageId, NameId, RowId, SendId, Timestamp};

use crate::packing::Packed;
use crate::tally::{KINDS, Tally};
use crate::{Entry, Unit};

/// Beyond this a unit is refused: PostgreSQL's protocol carries no more than 1 GiB in a message.
const UNIT_BYTES_MAX: usize = 256 << 20;

/// How many tables' rows a statement chooses by; what is an exception shares a group.
pub(crate) const GROUPS: usize = 6;

/// The kinds of rows (as indexes of [`KINDS`]) in each group.
pub(crate) const KINDS_OF_GROUPS: [&[usize]; GROUPS] = [&[0], &[1], &[3], &[4], &[5], &[2, 6, 7, 8]];

/// Which groups a batch has rows for, a bit each.
pub(crate) type Present = usize;

/// Columns of one table, filled row by row.
macro_rules! columns {
    ($name:ident { $($column:ident: $kind:ty),* $(,)? }) => {
        #[derive(Default)]
        pub(crate) struct $name<'u> {
            $(pub(crate) $column: Vec<$kind>,)*
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
    handlers: &'u [NameId]
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

/// The rows of several units.
pub(crate) struct Batch<'u> {
    epoch: Epoch,
    pub(crate) at: Timestamp,
    /// The number that the next row will carry.
    pub(crate) next: u64,
    /// The table (as an index of [`KINDS`]) and number of the first row.
    pub(crate) first: Option<(usize, i64)>,
    pub(crate) tally: Tally,
    /// About what it takes on disk.
    pub(crate) bytes: u64,
    pub(crate) messages: Messages<'u>,
    pub(crate) routed: Routeds<'u>,
    pub(crate) sends: Sends<'u>,
    pub(crate) outcomes: Outcomes<'u>,
    pub(crate) dispositions: Dispositions<'u>,
    pub(crate) handled: Handleds<'u>,
    pub(crate) letters: Letters<'u>,
    pub(crate) resolved: Resolveds<'u>,
    pub(crate) events: Events<'u>,
}

/// Why a unit contradicts itself, if it does.
pub(crate) fn contradiction(unit: &Unit) -> Option<&'static str> {
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
    pub(crate) fn new(epoch: Epoch, at: Timestamp, next: u64) -> Batch<'u> {
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
    pub(crate) fn add(&mut self, unit: &'u Packed) -> Vec<RowId> {
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
                of.handlers.push(&new.handlers);
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
    pub(crate) fn landmark(&self) -> Option<(&'static str, i64)> {
        self.first.map(|(kind, id)| (KINDS[kind], id))
    }

    /// Which groups there are rows for.
    pub(crate) fn present(&self) -> Present {
        let has_rows = |kinds: &&[usize]| kinds.iter().any(|kind| self.tally.0[*kind] > 0);
        let groups = KINDS_OF_GROUPS.iter().enumerate();
        groups
            .filter(|(_, kinds)| has_rows(kinds))
            .fold(0, |present, (index, _)| present | 1 << index)
    }
}
