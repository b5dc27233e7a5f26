//! What a backend must answer about one segment. Each question is asked for many rows at once, so that a
//! backend behind a network answers it in one round trip.
//!
//! `index` is the segment's place in the [`Catalog`]. Lists of numbers are passed ascending and without
//! repeats. A row that the segment does not hold is simply not in the answer.

use model::{Body, Disposition, MessageId, NameId, Timestamp};

use super::catalog::Catalog;
use super::search::Profiles;
use crate::keys::Key;
use crate::rows::{HandledResult, OutcomeResult};
use crate::views::{DeadLetter, DeadLetterFilter, Event, OpenSend, Summary};
use crate::{Error, WorkMessage};

/// A message without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: i64,
    pub(crate) inbound: NameId,
    pub(crate) received_at: Timestamp,
}

/// A routed row.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    pub(crate) id: i64,
    pub(crate) message: i64,
    pub(crate) at: Timestamp,
    pub(crate) handlers: Vec<NameId>,
}

/// A handler's end without a send. `None`: a result that only a newer program knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handled {
    pub(crate) id: i64,
    pub(crate) message: i64,
    pub(crate) handler: NameId,
    pub(crate) at: Timestamp,
    pub(crate) result: Option<HandledResult>,
}

/// A send without its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: i64,
    pub(crate) message: i64,
    pub(crate) handler: NameId,
    pub(crate) destination: NameId,
    pub(crate) priority: i32,
    pub(crate) partition: Option<Box<str>>,
    pub(crate) at: Timestamp,
}

/// The bytes of a send.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) send: i64,
    pub(crate) message: i64,
    /// It carries other bytes than its message.
    pub(crate) changed: bool,
    /// Those; `None` where there are none, and where retention removed them.
    pub(crate) body: Option<Body>,
}

/// The newest outcome of a send.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) send: i64,
    pub(crate) at: Timestamp,
    pub(crate) result: OutcomeResult,
    pub(crate) attempts: u32,
}

/// The newest disposition of a message and its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) message: i64,
    pub(crate) row: i64,
    pub(crate) disposition: Disposition,
}

/// Rows of a lane that may be open: `after < row <= upto`, ascending, at most `limit`; `name: None` = all lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates {
    pub(crate) name: Option<NameId>,
    pub(crate) after: i64,
    pub(crate) upto: i64,
    pub(crate) limit: usize,
}

/// What a row may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Every row belongs to a message.
    Message,
    /// An outcome "delivered" belongs to a send.
    Delivered,
    /// What deals with a dead letter belongs to it.
    Letter,
}

/// Messages `low <= id < before`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub(crate) low: i64,
    pub(crate) before: i64,
}

/// By what messages are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'f> {
    /// Received at or after the first time and before the second.
    Time(Timestamp, Timestamp),
    /// This key, in a sealed segment (true) or in one whose keys are not sorted yet.
    Key(&'f Key, bool),
    ControlId(&'f str),
    /// Any of these pairs of inbound and type; an empty type = none.
    Kinds(&'f [(NameId, &'f str)]),
    /// This inbound, if one is given; a type that begins so, if one is given; received in this time. For
    /// segments of which the pairs are not known.
    Scan(Option<NameId>, Option<&'f str>, Timestamp, Timestamp),
    /// Sent to this destination.
    Destination(NameId),
    /// A row says this of them.
    Disposition(Disposition),
    /// Messages of this segment of which no row of it says where they stand.
    Undisposed,
}

/// The questions about one segment.
pub(crate) trait Source {
    /// The segments as they were when the reading began.
    fn catalog(&self) -> &Catalog;

    /// Numbers of messages, `after < id <= upto`, ascending, at most `limit`.
    fn message_ids(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error>;
    /// Which messages arrived how.
    fn arrivals(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Arrival>, Error>;
    /// Messages with their bytes, as routers and handlers need them; those whose bodies were removed are left out.
    fn works(&mut self, index: usize, messages: &[i64]) -> Result<Vec<WorkMessage>, Error>;
    /// One message's line (its standing not filled in) and its bytes, unless they were removed.
    fn line(&mut self, index: usize, message: i64) -> Result<Option<(Summary, Option<Body>)>, Error>;

    /// Messages of this segment, `after < id <= upto`, that no row of it says have ended; ascending, at most `limit`.
    fn unended(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error>;
    /// Messages `after < id <= upto` that a row here says are on the way, perhaps again; ascending, without repeats.
    fn reopened(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error>;
    /// Every disposition of the messages `low..=high`, by message, then by age.
    fn dispositions_between(
        &mut self,
        index: usize,
        low: i64,
        high: i64,
    ) -> Result<Vec<(i64, Disposition)>, Error>;
    /// The newest disposition of each message that has one here.
    fn standings(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Standing>, Error>;
    /// Every disposition of one message, oldest first.
    fn story(&mut self, index: usize, message: i64) -> Result<Vec<(Timestamp, Disposition)>, Error>;
    /// Messages `after < id <= upto` that a row here put back to the start; ascending, without repeats.
    fn put_back(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error>;

    /// The newest routed row of each message that has one here: (message, row).
    fn newest_routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, i64)>, Error>;
    /// All routed rows of messages, oldest first.
    fn routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Routed>, Error>;
    /// All handled rows of messages, oldest first.
    fn handled(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Handled>, Error>;
    /// All sends of messages, oldest first.
    fn sends(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Sent>, Error>;
    /// (message, handler, row) of everything that answers for a handler: its handled rows and its sends.
    fn answers(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, NameId, i64)>, Error>;

    /// The newest outcome of each send that has one here.
    fn outcomes(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Ended>, Error>;
    /// The partner's reply in the newest outcome of one send.
    fn reply(&mut self, index: usize, send: i64) -> Result<Option<Body>, Error>;
    /// Failed attempts on record, by send; asked for by (message, send).
    fn failed_attempts(&mut self, index: usize, sends: &[(i64, i64)]) -> Result<Vec<(i64, u32)>, Error>;
    /// Bytes of sends.
    fn send_bodies(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Carried>, Error>;

    /// All dead letters of messages, oldest first, not saying whether they are resolved.
    fn letters(&mut self, index: usize, messages: &[i64]) -> Result<Vec<DeadLetter>, Error>;
    /// When dead letters were dealt with, for those that a row here says it of; the newest row wins.
    fn resolved(&mut self, index: usize, letters: &[i64]) -> Result<Vec<(i64, Timestamp)>, Error>;
    /// The events of one message, oldest first.
    fn events(&mut self, index: usize, message: MessageId) -> Result<Vec<Event>, Error>;

    /// Messages of an inbound that no row of this segment routed or disposed of.
    fn unrouted(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error>;
    /// Routed rows that name a handler (or any), unless this segment shows that nothing of them is open.
    fn routed_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<Routed>, Error>;
    /// Sends to a destination that no row of this segment ended.
    fn send_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<OpenSend>, Error>;

    /// What was noted of the segments when they were sealed.
    fn profiles(&mut self) -> Result<Profiles, Error>;
    /// Numbers of messages by one thing that rows of this segment say of them, newest first, at most `limit`,
    /// each perhaps more than once. Once the segment is sealed there is an index for each.
    fn candidates(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error>;
    /// The lines of messages, their standing not filled in.
    fn lines(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Summary>, Error>;
    /// Dead letters newer than `after` that a filter lets through, resolved ones too, oldest first.
    fn list_letters(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error>;

    /// How many sends there are.
    fn count_sends(&mut self, index: usize) -> Result<u64, Error>;
    /// How many sends from `lowest` on have an outcome "delivered" here.
    fn count_delivered(&mut self, index: usize, lowest: i64) -> Result<u64, Error>;

    /// Messages of which a row here holds a body, or what is removed with bodies; ascending, without repeats.
    fn with_bodies(&mut self, index: usize) -> Result<Vec<i64>, Error>;
    /// Numbers below `below` of what rows here belong to; ascending, without repeats.
    fn foreign(&mut self, index: usize, owner: Owner, below: i64) -> Result<Vec<i64>, Error>;
    /// Which of these messages, sends or dead letters lie here.
    fn existing(&mut self, index: usize, owner: Owner, numbers: &[i64]) -> Result<Vec<i64>, Error>;
}
