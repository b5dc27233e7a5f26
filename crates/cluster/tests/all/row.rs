//! The lease row in memory: what the SQL promises, in a few lines, for tests of the machine. Its clock may jump.

use std::time::Duration;

use cluster::Tick;
use cluster::board::Lease;
use model::{Epoch, Term};
use store::board::{Asked, HANDOFF_MAX, Mark, Renewal};
use uuid::Uuid;

use super::guards::Without;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Row {
    mark: Mark,
    node: String,
    released: bool,
    /// By the database's clock.
    expires_at: u64,
    ttl: Duration,
    handoff: Option<(String, u64)>,
    pub(crate) asked: Option<(String, u64)>,
    /// What the database's clock says more than the true one, in nanoseconds.
    pub(crate) clock_error: i64,
    pub(crate) without: Without,
    terms: u128,
}

impl Row {
    pub(crate) fn new(without: Without) -> Row {
        Row {
            mark: Mark {
                epoch: Epoch(0),
                term: Uuid::nil(),
                renewals: 0,
                timeline: 1,
            },
            node: String::new(),
            released: true,
            expires_at: 0,
            ttl: Duration::ZERO,
            handoff: None,
            asked: None,
            clock_error: 0,
            without,
            terms: 0,
        }
    }

    fn clock(&self, now: Tick) -> u64 {
        now.0.saturating_add_signed(self.clock_error)
    }

    fn expired(&self, now: Tick, ttl: Duration) -> bool {
        let clock = self.clock(now);
        self.expires_at < clock || self.expires_at > clock + nanos(ttl.max(self.ttl))
    }

    pub(crate) fn look(&self, now: Tick, ttl: Duration) -> Lease {
        let clock = self.clock(now);
        Lease {
            mark: self.mark,
            node: self.node.clone(),
            released: self.released,
            expired: self.expired(now, ttl),
            left: Duration::from_nanos(self.expires_at.saturating_sub(clock)),
            ttl: self.ttl,
            handoff_to: self
                .handoff
                .clone()
                .filter(|(_, until)| is_kept(*until, clock))
                .map(|(to, _)| to),
            fingerprint: None,
            approved: None,
            asked: self.asked.clone().map(|(to, at)| Asked {
                by: "test".to_owned(),
                to: Some(to),
                ago: Duration::from_nanos(clock.saturating_sub(at)),
            }),
        }
    }

    /// Whether `node` may take it as it was seen.
    pub(crate) fn may_take(&self, now: Tick, seen: &Mark, node: &str, ttl: Duration) -> bool {
        let free = self.released || self.expired(now, ttl);
        let clock = self.clock(now);
        let ours = self
            .handoff
            .as_ref()
            .is_none_or(|(to, until)| to == node || !is_kept(*until, clock));
        let mut seen = *seen;
        if matches!(self.without, Without::SameTimeline | Without::Timeline) {
            seen.timeline = self.mark.timeline;
        }
        self.mark == seen && free && ours || self.without == Without::SeenMark
    }

    /// The term that holds it, or held it last.
    pub(crate) fn newest(&self) -> Term {
        Term {
            epoch: self.mark.epoch,
            id: self.mark.term,
        }
    }

    /// A node that is not one of a cluster takes it, and says nothing more.
    pub(crate) fn take_alone(&mut self, now: Tick, node: &str) -> Option<Term> {
        let mark = self.mark;
        let term = self.acquire(now, &mark, node, Duration::ZERO);
        self.expires_at = 0;
        term
    }

    pub(crate) fn acquire(&mut self, now: Tick, seen: &Mark, node: &str, ttl: Duration) -> Option<Term> {
        if !self.may_take(now, seen, node, ttl) {
            return None;
        }
        self.terms += 1;
        self.mark.epoch.0 += 1;
        self.mark.term = Uuid::from_u128(self.terms);
        self.mark.renewals += 1;
        self.node = node.to_owned();
        self.released = false;
        self.expires_at = self.clock(now) + nanos(ttl);
        self.ttl = ttl;
        self.handoff = None;
        self.asked = None;
        Some(self.newest())
    }

    fn holds(&self, term: Term) -> bool {
        let ours = match self.without {
            Without::EqualTerms => term.epoch >= self.mark.epoch,
            _ => term == self.newest(),
        };
        ours && !self.released
    }

    pub(crate) fn may_release(&self, term: Term) -> bool {
        self.holds(term) || self.without == Without::GuardedRelease
    }

    pub(crate) fn renew(&mut self, now: Tick, term: Term, ttl: Duration) -> Renewal {
        if !self.holds(term) && self.without != Without::GuardedRenewal {
            return Renewal::Lost;
        }
        self.mark.renewals += 1;
        self.expires_at = self.clock(now) + nanos(ttl);
        Renewal::Held(self.look(now, ttl).asked)
    }

    pub(crate) fn release(&mut self, now: Tick, term: Term, to: Option<&str>, hold: Duration) {
        if !self.may_release(term) {
            return;
        }
        self.released = true;
        self.mark.renewals += 1;
        self.expires_at = 0;
        self.asked = None;
        let until = self.clock(now) + nanos(hold);
        self.handoff = to.map(|to| (to.to_owned(), until));
    }

    /// Another server goes on with what this one said at some earlier time.
    pub(crate) fn rewind(&mut self, to: &Row) {
        let (timeline, terms) = (self.mark.timeline + 1, self.terms);
        *self = to.clone();
        self.mark.timeline = timeline;
        self.terms = terms; // random ids do not come again
    }
}

/// Whether a hand-over binds others: not after its end, and not when no clock in order could lead to it.
fn is_kept(until: u64, clock: u64) -> bool {
    until > clock && until <= clock + nanos(HANDOFF_MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
