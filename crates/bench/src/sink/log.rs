//! What a sink remembers: the evidence of the other side.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::control_id::{ControlId, RunId};

/// How the partner ended an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// AA or CA: from here on the message is the partner's.
    Accepted,
    /// AE or CE: to be sent again.
    NotNow,
    /// AR or CR: not to be sent again.
    Rejected,
    /// No answer that the sender could use.
    None,
}

/// One message, one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Which message.
    pub id: ControlId,
    /// How it was answered.
    pub answer: Answer,
    /// When, in microseconds of the run (or of the sink's life, when it stands alone).
    pub at_us: u64,
    /// Which connection to this port brought it, counted from 1.
    pub connection: u32,
    /// A hash of the body, where the options asked for it.
    pub hash: Option<u64>,
}

/// Everything that arrived at one port.
#[derive(Clone, Debug, Default)]
pub struct PortRecord {
    /// The port's number.
    pub port: u16,
    /// Messages with control ids of ours, in order of arrival.
    pub arrivals: Vec<Arrival>,
    /// Messages with other control ids, or none: how often each came.
    pub foreign: BTreeMap<String, u64>,
    /// Bodies, in order of arrival, up to the number asked for.
    pub bodies: Vec<Bytes>,
}

impl PortRecord {
    /// Arrivals of one run that the partner accepted.
    pub fn accepted(&self, run: RunId) -> impl Iterator<Item = &Arrival> {
        self.arrivals
            .iter()
            .filter(move |arrival| arrival.id.run == run && arrival.answer == Answer::Accepted)
    }
}
