//! Leadership, as the store records it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of a leadership; grows by one at each change of leader. Fits 20 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// One leadership: its epoch and a random id. Every write to the queue proves the term it was made
/// under; terms compare by equality only, never by order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Term {
    /// Which leadership, counted.
    pub epoch: Epoch,
    /// Which leadership, at random: two databases rewound to one epoch still differ here.
    pub id: Uuid,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
