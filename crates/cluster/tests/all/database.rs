//! The database in memory: the lease row, the shard's row that every write of a leader has to name its term to, and
//! the writes that have begun and not ended. It says what the SQL promises, in a few lines; the tests of the store hold
//! the SQL to the same.

use std::time::Duration;

use cluster::Tick;
use cluster::machine::Do;
use model::Term;
use store::board::Mark;

use super::guards::{Answer, Without};
use super::row::Row;

/// A write of a leader that has begun: it holds the shard's row until it ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Write {
    pub(crate) id: u64,
    /// Whose it is.
    pub(crate) node: usize,
    pub(crate) term: Term,
    /// The connection that it came by.
    pub(crate) session: u64,
}

/// What became of a write that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    /// It holds the shard's row.
    Yes,
    /// It names another term or session than the shard's row.
    Refused,
    /// Another write holds the row.
    Waits,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Database {
    pub(crate) row: Row,
    shard: (Option<Term>, u64),
    open: Vec<Write>,
}

impl Database {
    pub(crate) fn new(without: Without) -> Database {
        Database {
            row: Row::new(without),
            shard: (None, 0),
            open: Vec::new(),
        }
    }

    fn without(&self) -> Without {
        self.row.without
    }

    /// Whether `node` has to wait before it may change the shard's row.
    fn is_held_against(&self, node: usize) -> bool {
        self.open.iter().any(|write| match self.without() {
            Without::Latch => false,
            Without::OwnSessions => write.node != node,
            _ => true,
        })
    }

    /// Carries out what the machine of `node` asked; `None` while it has to wait for a write. `hold` is for how long a
    /// lease is kept for whom it is handed to.
    pub(crate) fn carry_out(
        &mut self,
        now: Tick,
        (node, name): (usize, &str),
        what: &Do,
        (ttl, hold): (Duration, Duration),
    ) -> Option<Answer> {
        Some(match what {
            Do::Look => Answer::Lease(self.row.look(now, ttl)),
            Do::Acquire(mark) => Answer::Term(self.acquire(now, mark, node, name, ttl)?),
            Do::Renew(term) => Answer::Renewal(self.row.renew(now, *term, ttl)),
            Do::Release(term, to) => {
                if self.row.may_release(*term) {
                    if self.is_held_against(node) {
                        return None;
                    }
                    self.shard = (None, 0);
                    self.row.release(now, *term, to.as_deref(), hold);
                }
                Answer::Done
            }
            Do::Wait(_) | Do::End => Answer::Done,
        })
    }

    fn acquire(
        &mut self,
        now: Tick,
        mark: &Mark,
        node: usize,
        name: &str,
        ttl: Duration,
    ) -> Option<Option<Term>> {
        if !self.row.may_take(now, mark, name, ttl) {
            return Some(None);
        }
        if self.is_held_against(node) {
            return None;
        }
        let term = self.row.acquire(now, mark, name, ttl);
        self.shard = (term, 0);
        Some(term)
    }

    /// Ends the sessions that keep `node` waiting; the writes that are thereby undone.
    pub(crate) fn end_sessions(&mut self, node: usize) -> Vec<Write> {
        let spared = self.without() == Without::OwnSessions;
        let (kept, ended) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|write| spared && write.node == node);
        self.open = kept;
        ended
    }

    /// Makes `session` the only one of the term that may write; `None` while it has to wait for a write.
    pub(crate) fn claim(&mut self, node: usize, term: Term, session: u64) -> Option<bool> {
        if self.is_held_against(node) {
            return None;
        }
        let ours = self.names(term);
        if ours {
            self.shard.1 = session;
        }
        Some(ours)
    }

    fn names(&self, term: Term) -> bool {
        match (self.shard.0, self.without()) {
            (Some(newest), Without::EqualTerms) => term.epoch >= newest.epoch,
            (newest, _) => newest == Some(term),
        }
    }

    /// A write arrives.
    pub(crate) fn begin(&mut self, write: Write) -> Begun {
        let ours = match self.without() {
            // What the same node left behind is not voided.
            Without::OwnSessions => self.names(write.term),
            // Comparing numbers leaves no room for a session.
            Without::EqualTerms => self.names(write.term),
            _ => self.names(write.term) && self.shard.1 == write.session,
        };
        if !ours {
            return Begun::Refused;
        }
        if !self.open.is_empty() && self.without() != Without::Latch {
            return Begun::Waits;
        }
        self.open.push(write);
        Begun::Yes
    }

    /// A write that has begun becomes durable; `None` when it was undone meanwhile.
    pub(crate) fn commit(&mut self, id: u64) -> Option<Write> {
        let place = self.open.iter().position(|write| write.id == id)?;
        Some(self.open.swap_remove(place))
    }

    /// The writes that have begun.
    pub(crate) fn open(&self) -> &[Write] {
        &self.open
    }

    /// Another server goes on with what this one said at some earlier time. What had not ended never will.
    pub(crate) fn rewind(&mut self, to: &Database) {
        self.row.rewind(&to.row);
        self.shard = to.shard;
        self.open.clear();
    }
}
