//! What a database can append at best on the machine at hand, to hold the engine's rate against.
//!
//! The same rows as those of a message's whole life, without a store: bare tables with one key each, values made
//! beforehand, no fence, no receipts, no segments; one transaction a batch, durable. `sqlite` and `postgres` each
//! have such a program; both delete what they wrote.

use std::time::{Duration, Instant};

use crate::Error;

/// What is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Messages in one transaction; at least 1.
    pub batch: usize,
    /// Bytes of a message.
    pub body_bytes: usize,
    /// Sends a message; each has an outcome with a reply of 80 bytes.
    pub sends: usize,
    /// Whether each send carries a body of its own.
    pub changed: bool,
    /// When to stop.
    pub until: Until,
}

/// When a measurement ends: with the batch that reaches this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// So many messages.
    Messages(usize),
    /// So much time.
    Elapsed(Duration),
}

/// What was appended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Appended {
    /// Messages, with all their rows.
    pub messages: usize,
    /// How long each transaction took.
    pub commits: Vec<Duration>,
    /// From the first transaction's begin to the last one's end.
    pub took: Duration,
}

impl Appended {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 {
            self.messages as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Load {
    /// Calls `commit` with the number of each batch's first message until the end is reached.
    pub(crate) fn run(&self, mut commit: impl FnMut(i64) -> Result<(), Error>) -> Result<Appended, Error> {
        let begun = Instant::now();
        let mut appended = Appended::default();
        loop {
            let ends = match self.until {
                Until::Messages(count) => appended.messages >= count,
                Until::Elapsed(time) => begun.elapsed() >= time,
            };
            if ends {
                appended.took = begun.elapsed();
                return Ok(appended);
            }
            let before = Instant::now();
            commit(i64::try_from(appended.messages).unwrap_or(i64::MAX))?;
            appended.commits.push(before.elapsed());
            appended.messages += self.batch.max(1);
        }
    }

    /// A message's bytes. Not all alike: what a database compresses by itself must not count as fast.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut state = 0x2545_f491_u32;
        let letters = std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'A' + ((state >> 24) % 26) as u8
        });
        letters.take(self.body_bytes).collect()
    }

    /// A partner's reply.
    pub(crate) fn reply() -> [u8; 80] {
        [b'a'; 80]
    }
}
