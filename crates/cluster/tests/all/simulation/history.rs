//! What was seen of a run: by the partners, at the sockets, in the database. The judge knows nothing else.

use cluster::Tick;
use model::Term;

/// Something happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) at: Tick,
    pub(super) what: What,
}

/// A row of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Row {
    /// A message was accepted for a lane.
    Accepted { lane: usize, message: u64, body: u64 },
    /// It was handed to the lane's destination.
    Handed { lane: usize, message: u64 },
    /// It was delivered, which is its end.
    Delivered { lane: usize, message: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// A partner sent a message.
    Sent { lane: usize, message: u64, body: u64 },
    /// It was acknowledged to him.
    Acknowledged { message: u64, term: Term },
    /// A destination received a message.
    Received { lane: usize, message: u64 },
    /// A node's listeners are open.
    Bound { node: usize, term: Term },
    /// They are closed.
    Unbound { node: usize },
    /// A node has learned until when it may lead.
    Deadline { node: usize, until: Tick },
    /// A node's whole machine does nothing.
    Frozen { node: usize },
    /// It goes on.
    Resumed { node: usize },
    /// A node's process is gone.
    Gone { node: usize },
    /// The lease row names a new term.
    Acquired { term: Term },
    /// A write became durable.
    Committed { term: Term, rows: Vec<Row> },
    /// Another server goes on with the first so many changes (of the two kinds above).
    FailedOver { kept: usize },
    /// From here on nothing goes wrong.
    Calm,
    /// Partners send no more.
    Quiet,
}
