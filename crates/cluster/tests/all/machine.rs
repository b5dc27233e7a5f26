//! One machine, told what it needs to know, step by step.

use std::time::Duration;

use cluster::machine::{Candidate, Do, Machine};
use cluster::{Fault, Parameters, Role, Tick};
use store::board::Mark;

use super::guards::Without;
use super::row::Row;

const P: Parameters = Parameters::DEFAULT;

fn candidate(node: &str) -> Candidate {
    Candidate {
        node: node.to_owned(),
        fingerprint: "one".to_owned(),
        promotable: true,
        delay: Duration::ZERO,
    }
}

/// A node and the row, with calls that take no time.
struct Site {
    row: Row,
    now: Tick,
    node: String,
    machine: Machine,
}

impl Site {
    fn new(node: &str) -> Site {
        Site {
            row: Row::new(Without::Nothing),
            now: Tick(1_000_000_000_000),
            node: node.to_owned(),
            machine: Machine::new(candidate(node), P),
        }
    }

    /// Does what there is to do until it only waits; until when.
    fn settle(&mut self) -> Option<Tick> {
        loop {
            let next = self.machine.next(self.now);
            match next {
                Do::Wait(until) => return Some(until),
                Do::End => return None,
                Do::Look => {
                    let lease = self.row.look(self.now, P.ttl);
                    self.machine.looked(self.now, self.now, Some(lease));
                }
                Do::Acquire(mark) => self.acquire(&mark),
                Do::Renew(term) => {
                    let renewal = self.row.renew(self.now, term, P.ttl);
                    self.machine.renewed(self.now, self.now, Some(renewal));
                }
                Do::Release(term, to) => {
                    self.row
                        .release(self.now, term, to.as_deref(), Duration::from_secs(3));
                    self.machine.released(self.now, true);
                }
            }
        }
    }

    fn acquire(&mut self, mark: &Mark) {
        let term = self.row.acquire(self.now, mark, &self.node, P.ttl);
        self.machine.acquired(self.now, self.now, Some(term));
    }

    /// Lets so much time pass, doing what falls due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(until) = self.settle()
            && until < end
        {
            self.now = until.max(self.now + Duration::from_millis(1));
        }
        self.now = end;
        self.settle();
    }

    /// Nothing of the leadership that it is to end runs any more.
    fn stopped(&mut self) {
        let Role::SteppingDown(term) = self.machine.role() else {
            panic!("it was not asked to stop: {:?}", self.machine.role())
        };
        self.machine.stopped(term);
    }

    fn leads(&self) -> bool {
        matches!(self.machine.role(), Role::Leader(_))
    }
}

/// Somebody else takes the lease and is not heard of again.
fn taken_by_another(site: &mut Site) {
    let mark = site.row.look(site.now, P.ttl).mark;
    site.row
        .acquire(site.now, &mark, "other", P.ttl)
        .expect("it is free");
}

#[test]
fn a_lease_that_nobody_holds_is_taken_once_the_database_is_known_and_then_kept() {
    let mut site = Site::new("a");
    site.pass(P.ttl - Duration::from_millis(1));
    assert!(!site.leads(), "the database may have been set back a moment ago");
    site.pass(Duration::from_millis(50));
    assert!(site.leads());
    site.pass(Duration::from_secs(60));
    assert!(site.leads());
    assert!(site.row.look(site.now, P.ttl).mark.renewals > 80, "one in 700 ms");
}

#[test]
fn a_silent_leader_is_replaced_after_the_whole_time_and_not_before() {
    let mut site = Site::new("a");
    taken_by_another(&mut site);
    site.pass(P.ttl - Duration::from_millis(1));
    assert!(!site.leads());
    site.pass(Duration::from_secs(1));
    assert!(site.leads());
}

#[test]
fn a_database_clock_that_jumps_ahead_hastens_nobody() {
    let mut site = Site::new("a");
    taken_by_another(&mut site);
    site.row.clock_error = 3_600_000_000_000;
    site.pass(P.ttl - Duration::from_millis(1));
    assert!(!site.leads());
}

#[test]
fn a_database_clock_that_jumps_back_does_not_keep_a_dead_leader_alive() {
    let mut site = Site::new("a");
    taken_by_another(&mut site);
    site.row.clock_error = -600_000_000_000;
    site.pass(P.ttl + Duration::from_secs(1));
    assert!(site.leads());
}

#[test]
fn the_deadline_counts_from_before_the_renewal_was_sent() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    let due = site.settle().expect("it waits for its next renewal");
    site.now = due;
    let Do::Renew(term) = site.machine.next(site.now) else {
        panic!("a renewal is due")
    };
    let (sent, at) = (site.now, site.now + Duration::from_millis(500));
    let renewal = site.row.renew(at, term, P.ttl);
    site.machine.renewed(sent, at, Some(renewal));
    assert_eq!(site.machine.deadline(), Some(sent + P.fence));
}

#[test]
fn an_answer_that_comes_after_the_deadline_is_too_late() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    site.now = site.settle().expect("it waits");
    let Do::Renew(term) = site.machine.next(site.now) else {
        panic!("a renewal is due")
    };
    let at = site.machine.deadline().expect("it leads");
    let renewal = site.row.renew(at, term, P.ttl);
    site.machine.renewed(site.now, at, Some(renewal));
    assert_eq!(site.machine.role(), Role::Fenced(Fault::Deadline));
    assert_eq!(site.machine.next(at), Do::End);
}

#[test]
fn a_leader_that_hears_of_another_term_stops_at_once() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    site.row.without = Without::SeenMark;
    taken_by_another(&mut site);
    site.row.without = Without::Nothing;
    site.pass(P.renew);
    assert_eq!(site.machine.role(), Role::Fenced(Fault::Superseded));
}

#[test]
fn a_wish_for_another_leader_is_granted_once_every_standby_may_know_of_it() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    site.row.asked = Some(("b".to_owned(), site.now.0));
    site.pass(Duration::from_secs(2));
    assert!(matches!(site.machine.role(), Role::SteppingDown(_)));
    let held = site.row.look(site.now, P.ttl);
    assert!(!held.released, "it is kept for as long as anything runs");
    site.stopped();
    site.settle();
    let given = site.row.look(site.now, P.ttl);
    assert!(given.released && given.handoff_to.as_deref() == Some("b"));
    assert_eq!(site.machine.role(), Role::Standby);
    site.pass(Duration::from_secs(2));
    assert!(!site.leads(), "it is being handed to b");
    site.pass(Duration::from_secs(3));
    assert!(site.leads(), "b did not come");
}

#[test]
fn who_may_not_lead_does_not() {
    for unfit in ["promotable", "fingerprint", "unfit"] {
        let mut site = Site::new("a");
        let mut of = candidate("a");
        of.promotable = unfit != "promotable";
        site.machine = Machine::new(of, P);
        if unfit == "unfit" {
            site.machine.fit(Some("its ports are taken".to_owned()));
        }
        if unfit == "fingerprint" {
            let mut lease = site.row.look(site.now, P.ttl);
            lease.fingerprint = Some("another".to_owned());
            site.machine.looked(site.now, site.now, Some(lease.clone()));
            assert!(
                site.machine
                    .reason_against()
                    .is_some_and(|reason| reason.contains("watched"))
            );
            site.now = site.now + P.ttl;
            site.machine.looked(site.now, site.now, Some(lease));
            assert!(matches!(site.machine.next(site.now), Do::Wait(_)));
            assert!(
                site.machine
                    .reason_against()
                    .is_some_and(|reason| reason.contains("differs"))
            );
            continue;
        }
        site.pass(Duration::from_secs(20));
        assert!(!site.leads(), "{unfit}");
        assert!(site.machine.reason_against().is_some());
    }
}

#[test]
fn a_leader_that_leaves_gives_the_lease_up_last() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    site.machine.leave();
    assert!(matches!(site.machine.role(), Role::SteppingDown(_)));
    site.pass(Duration::from_secs(5));
    assert!(
        !site.row.look(site.now, P.ttl).released,
        "it renews while it stops"
    );
    site.stopped();
    site.settle();
    assert_eq!(site.machine.role(), Role::Left);
    assert!(site.row.look(site.now, P.ttl).released);
}

#[test]
fn another_server_that_says_the_lease_is_free_is_not_believed_at_once() {
    let mut site = Site::new("a");
    let before = site.row.clone();
    taken_by_another(&mut site);
    site.pass(Duration::from_secs(1));
    site.row.rewind(&before); // what the leader wrote was lost
    site.pass(P.ttl - Duration::from_millis(600));
    assert!(!site.leads(), "the other one may still lead by its own clock");
    site.pass(Duration::from_secs(2));
    assert!(site.leads());
}

#[test]
fn a_word_that_all_has_stopped_counts_for_the_leadership_that_it_names() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    let Role::Leader(first) = site.machine.role() else {
        panic!("nobody else is there")
    };
    site.row.asked = Some(("b".to_owned(), site.now.0));
    site.pass(Duration::from_secs(2));
    site.stopped();
    site.pass(Duration::from_secs(5));
    assert!(site.leads(), "b did not come");
    site.machine.stopped(first); // said twice, or late
    site.machine.leave();
    site.settle();
    let kept = site.row.look(site.now, P.ttl);
    assert!(!kept.released, "what runs now has not stopped");
    assert!(matches!(site.machine.role(), Role::SteppingDown(_)));
}

#[test]
fn a_node_in_which_nothing_runs_gives_the_lease_up_even_past_its_deadline() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    let due = site.settle().expect("it waits for its next renewal");
    let deadline = site.machine.deadline().expect("it leads");
    site.machine.leave();
    site.stopped();
    assert_eq!(
        site.machine.deadline(),
        None,
        "nothing runs that could be too late"
    );
    let mut tries = 0;
    site.now = due;
    while site.now < deadline + Duration::from_secs(1) {
        let Do::Release(..) = site.machine.next(site.now) else {
            panic!("it is still to be given up")
        };
        site.machine.released(site.now, false); // the database does not answer
        site.now = site.now + Duration::from_millis(100);
        tries += 1;
    }
    assert!(tries > 10);
    site.settle();
    assert!(site.row.look(site.now, P.ttl).released);
    assert_eq!(site.machine.role(), Role::Left);
}

#[test]
fn giving_up_is_not_tried_longer_than_others_have_to_wait() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    let deadline = site.machine.deadline().expect("it leads");
    site.machine.leave();
    site.stopped();
    site.now = deadline + (P.ttl - P.fence);
    assert!(matches!(site.machine.next(site.now), Do::Release(..)));
    site.machine.released(site.now, false);
    assert_eq!(site.machine.role(), Role::Left);
}

#[test]
fn a_hand_over_that_a_clock_set_back_makes_endless_binds_nobody() {
    let mut site = Site::new("a");
    site.pass(P.ttl + Duration::from_millis(50));
    site.row.asked = Some(("b".to_owned(), site.now.0));
    site.pass(Duration::from_secs(2));
    site.stopped();
    site.settle();
    site.row.clock_error = -3_600_000_000_000;
    site.pass(Duration::from_secs(1));
    assert!(site.leads(), "b is not waited for for an hour");
}

/// It gives no sign of life, so nobody could tell whether it lives. What it still tries to write is refused under the
/// lock of the shard's row.
#[test]
fn a_node_alone_that_left_its_entry_is_replaced_after_the_whole_time_and_not_before() {
    let mut site = Site::new("a");
    site.row.take_alone(site.now, "alone");
    site.pass(P.ttl - Duration::from_millis(1));
    assert!(!site.leads());
    site.pass(Duration::from_secs(1));
    assert!(site.leads());
}
