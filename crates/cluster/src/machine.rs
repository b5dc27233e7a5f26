//! Who leads, as one state machine without I/O: it is told what the lease row said and when it was asked, and says
//! what to do next. The thread that drives it, the model and the tests use the very same code.
//!
//! Three rules carry the safety of it:
//!
//! 1. A leader's deadline counts from the instant *before* its renewal was sent. Whatever happens to the answer, the
//!    row cannot have been seen changing earlier than that.
//! 2. A standby takes over only when the row has not changed for a whole `ttl` by its own clock, counted from the
//!    instant *after* it first saw the row as it is. The database's clock must agree, and is not believed alone.
//! 3. A term is compared for equality only. Whoever is told that the row names another one stops at once.

use std::time::Duration;

use model::Term;
use store::board::{Asked, Lease, Mark, Renewal};

use crate::clock::Tick;
use crate::parameters::Parameters;

/// While a change of leader is announced, the row is looked at so often.
const EAGER: Duration = Duration::from_millis(10);
/// The node that a leader makes room for has so long to take over before others may.
pub const HANDOFF: Duration = Duration::from_secs(3);
/// After a call that failed, the next one waits this part of a period.
const AGAIN: u32 = 8;

/// What a node brings.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Candidate {
    /// Its id.
    pub node: String,
    /// Its configuration.
    pub fingerprint: String,
    /// Whether it may lead at all.
    pub promotable: bool,
    /// It waits so much longer than others before it takes over.
    pub delay: Duration,
}

/// What this node is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// It watches.
    Standby,
    /// It leads, for as long as its deadline has not passed.
    Leader(Term),
    /// It leads and is to stop: close listeners, end what is in hand, then say so.
    SteppingDown(Term),
    /// It leads no longer, and was not asked: the process has to end.
    Fenced(Fault),
    /// It has left in order.
    Left,
}

/// Why a leadership ended without being given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// No renewal came back in time.
    Deadline,
    /// The lease row names another leadership.
    Superseded,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Do {
    /// Read the lease row, then call [`Machine::looked`].
    Look,
    /// Try to take the lease as it was seen, then call [`Machine::acquired`].
    Acquire(Mark),
    /// Renew, then call [`Machine::renewed`].
    Renew(Term),
    /// Give the lease up, for a node if one is named, then call [`Machine::released`].
    Release(Term, Option<String>),
    /// Nothing until then.
    Wait(Tick),
    /// Nothing ever again.
    End,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Watching,
    Leading(Leading),
    Over(Fault),
    Left,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Leading {
    term: Term,
    deadline: Tick,
    renew_at: Tick,
    /// It is to end, for this node if one is named.
    leaving: Option<Option<String>>,
    /// Nothing runs any more.
    stopped: bool,
}

impl Leading {
    /// Only the lease row is left to be told. No deadline binds a node that does nothing.
    fn is_done(&self) -> bool {
        self.stopped && self.leaving.is_some()
    }
}

/// The row as it was first seen in its present state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Seen {
    lease: Lease,
    /// Since when it has been like this, by this node's clock, at the latest.
    since: Tick,
    /// When it was asked for last.
    asked: Tick,
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Machine {
    candidate: Candidate,
    parameters: Parameters,
    state: State,
    seen: Option<Seen>,
    /// The database's timeline, and since when it has been on it, as far as this node knows. What a database says
    /// that was set back is not believed at once: somebody may lead by what was lost.
    timeline: Option<(u32, Tick)>,
    look_at: Tick,
    /// What was seen last has not been acted upon.
    fresh: bool,
    /// Why this node could not lead if it had to.
    unfit: Option<String>,
    /// The process is to end.
    leaving: bool,
}

impl Machine {
    /// A node that has just started.
    pub fn new(candidate: Candidate, parameters: Parameters) -> Machine {
        Machine {
            candidate,
            parameters,
            state: State::Watching,
            seen: None,
            timeline: None,
            look_at: Tick::default(),
            fresh: false,
            unfit: None,
            leaving: false,
        }
    }

    /// Its id and its configuration, as the lease row is to name them.
    pub fn name(&self) -> (String, String) {
        (self.candidate.node.clone(), self.candidate.fingerprint.clone())
    }

    /// What this node is.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Watching => Role::Standby,
            State::Leading(leading) if leading.leaving.is_some() => Role::SteppingDown(leading.term),
            State::Leading(leading) => Role::Leader(leading.term),
            State::Over(fault) => Role::Fenced(*fault),
            State::Left => Role::Left,
        }
    }

    /// Until when it may act as the leader; `None` when it does not lead, or only has the lease row left to tell.
    pub fn deadline(&self) -> Option<Tick> {
        match &self.state {
            State::Leading(leading) if !leading.is_done() => Some(leading.deadline),
            _ => None,
        }
    }

    /// The lease row as it was seen last.
    pub fn lease(&self) -> Option<&Lease> {
        self.seen.as_ref().map(|seen| &seen.lease)
    }

    /// Why this node would not take over if it had to; `None` when it would.
    pub fn reason_against(&self) -> Option<String> {
        if let State::Leading(_) = self.state {
            return None;
        }
        if !self.candidate.promotable {
            return Some("it may not lead (cluster.promotable is false)".to_owned());
        }
        if let Some(unfit) = &self.unfit {
            return Some(unfit.clone());
        }
        let Some(seen) = self.seen.as_ref().filter(|seen| self.knows_the_database(seen)) else {
            return Some("it has not watched the database for a whole lease time yet".to_owned());
        };
        let lease = &seen.lease;
        let mine = Some(&self.candidate.fingerprint);
        let fits = lease.fingerprint.is_none()
            || lease.fingerprint.as_ref() == mine
            || lease.approved.as_ref() == mine;
        (!fits).then(|| "its configuration differs from the leader's and is not approved".to_owned())
    }

    /// Says whether this node could lead if it had to.
    pub fn fit(&mut self, unfit: Option<String>) {
        self.unfit = unfit;
    }

    /// The process is to end. A leader steps down first.
    pub fn leave(&mut self) {
        self.leaving = true;
        if let State::Leading(leading) = &mut self.state {
            leading.leaving.get_or_insert(None);
        }
    }

    /// Gives the lease up, if it is held, and stays: a node that found that it cannot lead. It says so with
    /// [`Machine::fit`] before, or takes the lease again.
    pub fn resign(&mut self) {
        if let State::Leading(leading) = &mut self.state {
            leading.leaving.get_or_insert(None);
        }
    }

    /// Somebody else found that the deadline has passed, and said so to everybody.
    pub fn fenced(&mut self) {
        if let State::Leading(_) = self.state {
            self.state = State::Over(Fault::Deadline);
        }
    }

    /// Nothing of the leadership `term` runs any more: no listener is open, no write is under way. What is said late,
    /// of a leadership that has ended, says nothing of the one that runs.
    pub fn stopped(&mut self, term: Term) {
        if let State::Leading(leading) = &mut self.state
            && leading.term == term
        {
            leading.stopped = true;
        }
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Tick) -> Do {
        if let State::Leading(leading) = &self.state
            && now >= leading.deadline
            && !leading.is_done()
        {
            self.state = State::Over(Fault::Deadline);
        }
        match &self.state {
            State::Over(_) | State::Left => Do::End,
            State::Leading(leading) => match &leading.leaving {
                Some(to) if leading.stopped => Do::Release(leading.term, to.clone()),
                _ if now >= leading.renew_at => Do::Renew(leading.term),
                _ => Do::Wait(leading.renew_at.min(leading.deadline)),
            },
            State::Watching if self.leaving => {
                self.state = State::Left;
                Do::End
            }
            State::Watching => {
                if std::mem::take(&mut self.fresh)
                    && let Some(mark) = self.may_take()
                {
                    return Do::Acquire(mark);
                }
                if now >= self.look_at {
                    Do::Look
                } else {
                    Do::Wait(self.look_at)
                }
            }
        }
    }

    /// Whether the database has been the same for so long that nobody can lead by what another one said.
    fn knows_the_database(&self, seen: &Seen) -> bool {
        let ttl = self.parameters.ttl.max(seen.lease.ttl);
        self.timeline.is_some_and(|(_, since)| seen.asked >= since + ttl)
    }

    /// The state of the row that may be taken over, as far as this node can tell.
    fn may_take(&self) -> Option<Mark> {
        let seen = self.seen.as_ref().filter(|_| self.reason_against().is_none())?;
        let lease = &seen.lease;
        // Whoever holds the lease may have been told to keep it longer than this node would.
        let ttl = self.parameters.ttl.max(lease.ttl);
        let unchanged = |since: Tick, long: Duration| seen.asked >= since + long;
        let free = match &lease.handoff_to {
            Some(to) => lease.released && *to == self.candidate.node,
            None if lease.released => unchanged(seen.since, self.candidate.delay),
            None => lease.expired && unchanged(seen.since, ttl + self.candidate.delay),
        };
        free.then_some(lease.mark)
    }

    /// The row, asked for at `sent` and read at `at`; `None` when it could not be read.
    pub fn looked(&mut self, sent: Tick, at: Tick, lease: Option<Lease>) {
        let Some(lease) = lease else {
            self.look_at = at + self.parameters.poll() / AGAIN;
            return;
        };
        let before = self.seen.take();
        if self
            .timeline
            .is_none_or(|(timeline, _)| timeline != lease.mark.timeline)
        {
            self.timeline = Some((lease.mark.timeline, at));
        }
        let since = match &before {
            Some(before) if before.lease.mark == lease.mark => before.since,
            _ => at,
        };
        // Nobody may be able to take it: then there is no hurry any more.
        let eager = (lease.asked.is_some() || lease.released) && at.since(since) < HANDOFF;
        self.look_at = at + if eager { EAGER } else { self.parameters.poll() };
        self.seen = Some(Seen {
            lease,
            since,
            asked: sent,
        });
        self.fresh = true;
    }

    /// What became of taking the lease; `None` in the outer place when nobody knows.
    pub fn acquired(&mut self, sent: Tick, at: Tick, term: Option<Option<Term>>) {
        self.look_at = at + EAGER;
        match term {
            Some(Some(term)) => {
                let deadline = sent + self.parameters.fence;
                if at < deadline {
                    self.state = State::Leading(Leading {
                        term,
                        deadline,
                        renew_at: sent + self.parameters.renew,
                        leaving: self.leaving.then_some(None),
                        stopped: false,
                    });
                } else {
                    self.seen = None; // too late to lead with: it runs out by itself
                }
            }
            Some(None) => {}
            None => self.seen = None,
        }
    }

    /// What became of a renewal; `None` when nobody knows.
    pub fn renewed(&mut self, sent: Tick, at: Tick, renewal: Option<Renewal>) {
        let poll = self.parameters.poll();
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        if at >= leading.deadline {
            self.state = State::Over(Fault::Deadline);
            return;
        }
        match renewal {
            None => leading.renew_at = at + self.parameters.renew / AGAIN,
            Some(Renewal::Lost) => self.state = State::Over(Fault::Superseded),
            Some(Renewal::Held(asked)) => {
                leading.deadline = sent + self.parameters.fence;
                leading.renew_at = sent + self.parameters.renew;
                let another = |asked: &Asked| asked.to.as_ref() != Some(&self.candidate.node);
                if let Some(asked) = asked.filter(another) {
                    // By then every standby knows, and looks often.
                    if asked.ago >= poll {
                        leading.leaving.get_or_insert(asked.to);
                    } else {
                        leading.renew_at = sent + (poll - asked.ago);
                    }
                }
            }
        }
    }

    /// What became of giving the lease up.
    pub fn released(&mut self, at: Tick, done: bool) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let rest = self.parameters.ttl.saturating_sub(self.parameters.fence);
        if !done && at < leading.deadline + rest {
            return; // once more, for as long as nobody else may take it
        }
        self.seen = None;
        self.look_at = at + self.parameters.poll();
        self.state = if self.leaving {
            State::Left
        } else {
            State::Watching
        };
    }
}
