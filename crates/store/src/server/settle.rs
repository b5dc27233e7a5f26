//! Finding out what became of a commit whose answer never came. Nothing is guessed: the shard's row is taken
//! for a new session, which waits for the old one and voids whatever it may still do, and then the batch's
//! first row is there or it is not. All rows of a batch were one statement, so one row speaks for all.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::lead::Lead;
use super::link::Link;
use super::writer::Writer;
use crate::desk::Command;
use crate::{CommitError, Error};

/// Between two attempts to reach the database.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What became of a commit.
pub(super) enum Settled {
    /// It happened, and is durable.
    Written,
    /// It did not and never will: it may be written anew.
    NotWritten,
    /// It did not, and another term leads.
    Fenced,
    /// The store was closed before it could be found out.
    GivenUp(String),
}

/// A row that is certain to have been written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Landmark {
    pub(super) segment: u32,
    pub(super) table: &'static str,
    pub(super) row: i64,
}

impl Landmark {
    /// Whether this database has it. If not, it is an older copy of the one that was written to, or a standby that had not
    /// followed: what this process remembers is not what it has.
    pub(super) fn is_there(&self, link: &mut impl Link) -> Result<bool, Error> {
        let there = link.has(self.table, self.row, self.segment)?;
        if !there {
            tracing::error!(
                "the database does not have what this node wrote last: it is an older copy, or a standby that had not \
                 followed. This node stops; started again it goes on with what the database has"
            );
        }
        Ok(there)
    }
}

impl<L: Link> Writer<L> {
    /// Looks until it is known. Meanwhile other calls are told that nothing can be written.
    pub(super) fn settle(
        &mut self,
        landmark: Option<(&'static str, i64)>,
        lost: &str,
        commands: &Receiver<Command>,
    ) -> Settled {
        // Sessions of ours that may still hold the shard's row.
        let mut backends: Vec<i32> = self.link.take().map(|link| link.backend()).into_iter().collect();
        self.claimed = false;
        // What happened to this connection happened to those that lie idle; a network may say so for none.
        self.shared.readers.clear();
        metrics::counter!("holdfast_store_commit_outcomes_looked_up_total").increment(1);
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let why = match self.look(landmark, &mut backends) {
                Ok(settled) => {
                    let seconds = begun.elapsed().as_secs_f32();
                    let found = matches!(settled, Settled::Written);
                    tracing::warn!(
                        reason = lost,
                        found,
                        seconds,
                        "the answer to a commit did not come; its rows were looked for"
                    );
                    return settled;
                }
                Err(error) => reason(&error),
            };
            self.outage
                .refused(&format!("{why}; the commit in flight got no answer ({lost})"));
            if !self.refuse_meanwhile(commands, pause, &why) {
                return Settled::GivenUp(format!("{lost}; looking for its rows: {why}"));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn look(
        &mut self,
        landmark: Option<(&'static str, i64)>,
        backends: &mut Vec<i32>,
    ) -> Result<Settled, Error> {
        let Some(lead) = self.lead else {
            return Ok(Settled::Fenced);
        };
        let mut link = self.connect()?;
        let fresh = Lead {
            session: Uuid::new_v4(),
            ..lead
        };
        let place = landmark.zip(self.open_number());
        let place = place.map(|((table, id), number)| (table, id, number));
        let probe = match link.take_and_probe(&fresh, place) {
            Ok(probe) => probe,
            Err(error) if L::is_lock_timeout(&error) => {
                // One of them hangs.
                for backend in backends.drain(..) {
                    link.end_session(backend);
                }
                return Err(error);
            }
            Err(error) => {
                backends.push(link.backend());
                return Err(error);
            }
        };
        if probe.ours
            && !probe.written
            && let Some(last) = &self.last
            && !last.is_there(&mut link)?
        {
            return Ok(Settled::Fenced);
        }
        self.link = Some(link);
        if probe.ours {
            self.lead = Some(fresh);
            self.claimed = true;
        }
        Ok(match (probe.written, probe.ours) {
            (true, _) => Settled::Written,
            (false, true) => Settled::NotWritten,
            (false, false) => Settled::Fenced,
        })
    }

    /// Waits, answering calls; false when the store is being closed.
    fn refuse_meanwhile(&mut self, commands: &Receiver<Command>, pause: Duration, why: &str) -> bool {
        let until = Instant::now() + pause;
        let text = format!("{why}; writing goes on by itself");
        let busy = || Error::Busy(text.clone());
        loop {
            match commands.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Command::Submit(job)) => {
                    let refused = CommitError::Unavailable(text.clone());
                    let _ = job.reply.send(vec![Err(refused); job.units.len()]);
                }
                Ok(Command::Acquire(_, reply)) => drop(reply.send(Err(busy()))),
                Ok(Command::Lead(_, reply)) => drop(reply.send(Err(busy()))),
                Ok(Command::Release(_, reply) | Command::SetDesired(_, _, _, _, reply)) => {
                    drop(reply.send(Err(busy())));
                }
                Ok(Command::Names(_, reply)) => drop(reply.send(Err(busy()))),
                Ok(close @ Command::Close(_)) => {
                    self.deferred.push_back(close);
                    return false;
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// An error with what it came of, for a log and a person.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Database { doing, source } => format!("{doing}: {source}"),
        other => other.to_string(),
    }
}
