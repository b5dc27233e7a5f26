//! One machine that is told anything at all, in any order: what it says and does keeps its rules all the same.

use std::time::Duration;

use cluster::machine::{Candidate, Do, Machine};
use cluster::{Parameters, Role, Tick};
use model::{Epoch, Term};
use proptest::prelude::*;
use store::board::{Asked, Lease, Mark, Renewal};
use uuid::Uuid;

const P: Parameters = Parameters::DEFAULT;
const BEGIN: Tick = Tick(1_000_000_000_000);

/// What happens to it, after so many milliseconds.
#[derive(Clone, Debug)]
enum Event {
    /// It is asked what to do; if that is a call, it is answered like this after so many milliseconds.
    Next(Reply, u64),
    Fenced,
    Leave,
    /// All has stopped, of the leadership that runs or of another.
    Stopped(bool),
    Fit(bool),
}

/// What it hears, whatever it asked.
#[derive(Clone, Debug)]
enum Reply {
    Nothing,
    /// The row, changed since or not; released or expired or neither; handed to this node, another, or nobody.
    Row(u64, bool, bool, Option<bool>, u32),
    Taken,
    Refused,
    Held(Option<u64>),
    Lost,
}

fn reply() -> impl Strategy<Value = Reply> {
    let to = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop_oneof![
        2 => Just(Reply::Nothing),
        6 => (0..3_u64, any::<bool>(), any::<bool>(), to, 1..3_u32)
            .prop_map(|(mark, released, expired, to, timeline)| Reply::Row(mark, released, expired, to, timeline)),
        4 => Just(Reply::Taken),
        1 => Just(Reply::Refused),
        6 => prop_oneof![4 => Just(None), 1 => (0..2_000_u64).prop_map(Some)].prop_map(Reply::Held),
        1 => Just(Reply::Lost),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let late = prop_oneof![4 => 0..50_u64, 2 => 0..700_u64, 1 => 0..6_000_u64];
    prop_oneof![
        24 => (reply(), late).prop_map(|(reply, late)| Event::Next(reply, late)),
        1 => Just(Event::Fenced),
        1 => Just(Event::Leave),
        3 => any::<bool>().prop_map(Event::Stopped),
        1 => any::<bool>().prop_map(Event::Fit),
    ]
}

/// A whole life: pauses between, in milliseconds, and what happens after each.
fn life() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let pause = prop_oneof![6 => 0..800_u64, 1 => 0..6_000_u64];
    prop::collection::vec((pause, event()), 1..120)
}

/// What the harness knows of a leadership, from what it sent and answered alone.
struct Known {
    term: Term,
    /// When the last call that was answered in time had been sent.
    sent: Tick,
    told_to_stop: bool,
    stopped: bool,
}

fn term(number: u128) -> Term {
    Term {
        epoch: Epoch(u32::try_from(number).unwrap_or(u32::MAX)),
        id: Uuid::from_u128(number),
    }
}

fn row(mark: u64, released: bool, expired: bool, to: Option<bool>, timeline: u32) -> Lease {
    Lease {
        mark: Mark {
            epoch: Epoch(1),
            term: Uuid::from_u128(u128::MAX),
            renewals: mark,
            timeline,
        },
        node: "other".to_owned(),
        released,
        expired,
        left: Duration::ZERO,
        ttl: P.ttl,
        handoff_to: to.map(|mine| if mine { "a" } else { "other" }.to_owned()),
        fingerprint: None,
        approved: None,
        asked: None,
    }
}

struct Life {
    machine: Machine,
    now: Tick,
    known: Option<Known>,
    /// Since when the row has been seen as it is, at the latest; and since when on this timeline.
    row: Option<(Lease, Tick, Tick)>,
    asked: Tick,
    terms: u128,
}

impl Life {
    /// What is true at every instant, whatever happened.
    fn look(&mut self) {
        let (role, deadline) = (self.machine.role(), self.machine.deadline());
        if let Some(deadline) = deadline {
            let known = self.known.as_ref().expect("nobody leads who was given no term");
            assert_eq!(
                deadline,
                known.sent + P.fence,
                "it counts from before the call was sent"
            );
        }
        match role {
            Role::Leader(term) => {
                let known = self.known.as_ref().expect("nobody leads who was given no term");
                assert_eq!(term, known.term);
                assert!(deadline.is_some(), "a leader has a deadline");
            }
            Role::SteppingDown(term) => {
                let known = self.known.as_mut().expect("nobody leads who was given no term");
                assert_eq!(term, known.term);
                known.told_to_stop = true;
                assert!(
                    deadline.is_some() || known.stopped,
                    "something runs without a deadline"
                );
            }
            Role::Standby | Role::Left | Role::Fenced(_) => assert_eq!(deadline, None),
        }
    }

    fn next(&mut self, reply: Reply, late: u64) {
        let sent = self.now;
        let what = self.machine.next(sent);
        if let (Role::Leader(_), Some(deadline)) = (self.machine.role(), self.machine.deadline()) {
            assert!(sent < deadline, "it acts as the leader past its deadline");
        }
        let at = sent + Duration::from_millis(late);
        match (&what, reply) {
            (Do::Wait(until), _) => assert!(*until > sent, "it would turn without end"),
            (Do::End, _) => assert!(matches!(self.machine.role(), Role::Fenced(_) | Role::Left)),
            (Do::Look, Reply::Row(mark, released, expired, to, timeline)) => {
                let lease = row(mark, released, expired, to, timeline);
                let (since, on) = match &self.row {
                    Some((before, since, on)) => (
                        if before.mark == lease.mark { *since } else { at },
                        if before.mark.timeline == timeline { *on } else { at },
                    ),
                    None => (at, at),
                };
                self.row = Some((lease.clone(), since, on));
                self.asked = sent;
                self.machine.looked(sent, at, Some(lease));
            }
            (Do::Look, _) => self.machine.looked(sent, at, None),
            (Do::Acquire(mark), reply) => {
                self.may_acquire(mark);
                self.acquire(sent, at, &reply);
            }
            (Do::Renew(of), reply) => {
                assert!(self.known.as_ref().is_some_and(|known| known.term == *of));
                self.renew(sent, at, reply);
            }
            (Do::Release(of, _), reply) => {
                let known = self.known.as_ref().expect("it leads");
                assert_eq!(known.term, *of);
                assert!(
                    known.told_to_stop && known.stopped,
                    "it is given up before all has stopped"
                );
                self.machine.released(at, matches!(reply, Reply::Held(_)));
            }
        }
        self.now = at.max(self.now);
    }

    /// Rule 2 of the machine, told anew.
    fn may_acquire(&self, mark: &Mark) {
        let (lease, since, on) = self.row.as_ref().expect("it has looked");
        assert_eq!(lease.mark, *mark);
        assert!(self.asked >= *on + P.ttl, "it does not know this database yet");
        match lease.handoff_to.as_deref() {
            Some(to) => assert!(lease.released && to == "a"),
            None if lease.released => {}
            None => assert!(
                lease.expired && self.asked >= *since + P.ttl,
                "it has not stood still"
            ),
        }
    }

    fn acquire(&mut self, sent: Tick, at: Tick, reply: &Reply) {
        let answer = match reply {
            Reply::Taken => {
                self.terms += 1;
                Some(Some(term(self.terms)))
            }
            Reply::Refused => Some(None),
            _ => None,
        };
        if let Some(Some(term)) = answer {
            self.known = Some(Known {
                term,
                sent,
                told_to_stop: false,
                stopped: false,
            });
        }
        self.machine.acquired(sent, at, answer);
    }

    fn renew(&mut self, sent: Tick, at: Tick, reply: Reply) {
        let known = self.known.as_mut().expect("it leads");
        let answer = match reply {
            Reply::Held(ago) => Some(Renewal::Held(ago.map(|ago| Asked {
                by: "test".to_owned(),
                to: Some("other".to_owned()),
                ago: Duration::from_millis(ago),
            }))),
            Reply::Lost => Some(Renewal::Lost),
            _ => None,
        };
        if matches!(answer, Some(Renewal::Held(_))) && at < known.sent + P.fence {
            known.sent = sent;
        }
        self.machine.renewed(sent, at, answer);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Next(reply, late) => self.next(reply, late),
            Event::Fenced => self.machine.fenced(),
            Event::Leave => self.machine.leave(),
            Event::Stopped(ours) => {
                let of = self.known.as_ref().map_or(term(9_999), |known| known.term);
                self.machine.stopped(if ours { of } else { term(8_888) });
                if let Some(known) = self.known.as_mut().filter(|_| ours) {
                    known.stopped = true;
                }
            }
            Event::Fit(fit) => self.machine.fit((!fit).then(|| "its ports are taken".to_owned())),
        }
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_it_is_told_it_keeps_its_rules(life in life()) {
        let candidate = Candidate {
            node: "a".to_owned(),
            fingerprint: "one".to_owned(),
            promotable: true,
            delay: Duration::ZERO,
        };
        let mut site = Life {
            machine: Machine::new(candidate, P),
            now: BEGIN,
            known: None,
            row: None,
            asked: BEGIN,
            terms: 0,
        };
        // Most lives begin where something is at stake.
        for at in [BEGIN, BEGIN + P.ttl] {
            site.now = at;
            site.next(Reply::Row(0, true, false, None, 1), 0);
        }
        for (pause, event) in life {
            site.now = site.now + Duration::from_millis(pause);
            site.happens(event);
        }
    }
}
