//! What the threads of this crate and everybody who asks share. Everything here is answered from memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use store::board::Lease;
use tokio::sync::watch;

use crate::clock::Tick;
use crate::machine::{Fault, Role};
use crate::parameters::Parameters;

pub(crate) struct Shared {
    pub(crate) parameters: Parameters,
    pub(crate) role: watch::Sender<Role>,
    /// Until when this node may act as the leader, in ticks; 0 = it does not lead.
    deadline: AtomicU64,
    /// Said once and never taken back.
    fenced: AtomicBool,
    /// When the node's own runtime was last seen at work.
    pulse: AtomicU64,
    pub(crate) seen: Mutex<Seen>,
    /// What is amiss on this node although it could lead.
    pub(crate) remark: Mutex<Option<String>>,
}

/// What is known of the lease row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) lease: Option<Lease>,
    /// When the database answered last.
    pub(crate) at: Tick,
    pub(crate) against: Option<String>,
    /// Since when nobody leads, as far as this node has seen.
    pub(crate) leaderless: Option<Tick>,
    /// How long the last round trip took.
    pub(crate) latency: Duration,
    /// Why the last one failed.
    pub(crate) trouble: Option<String>,
}

impl Shared {
    pub(crate) fn new(parameters: Parameters) -> Shared {
        Shared {
            parameters,
            role: watch::Sender::new(Role::Standby),
            deadline: AtomicU64::new(0),
            fenced: AtomicBool::new(false),
            pulse: AtomicU64::new(Tick::now().0),
            seen: Mutex::default(),
            remark: Mutex::default(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self.deadline.load(Ordering::Acquire) {
            0 => None,
            deadline => Some(Tick(deadline)),
        }
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Whether it leads now, by the clock.
    pub(crate) fn leads(&self) -> bool {
        let role = matches!(*self.role.borrow(), Role::Leader(_));
        role && !self.is_fenced() && self.deadline().is_some_and(|deadline| Tick::now() < deadline)
    }

    /// This node must not lead any more, whatever else is found out. Waits for nobody.
    pub(crate) fn fence(&self, fault: Fault) {
        if !self.fenced.swap(true, Ordering::AcqRel) {
            self.role.send_replace(Role::Fenced(fault));
            metrics::counter!("holdfast_cluster_fenced_total").increment(1);
        }
    }

    /// What the machine says. A deadline is known before the role that it belongs to.
    pub(crate) fn publish(&self, role: Role, deadline: Option<Tick>) {
        if let Role::Fenced(fault) = role {
            return self.fence(fault); // the deadline stays: the watchdog counts from it
        }
        if self.is_fenced() {
            return;
        }
        self.deadline
            .store(deadline.map_or(0, |deadline| deadline.0), Ordering::Release);
        self.role.send_if_modified(|before| {
            // Under the lock that fencing takes as well: what was fenced meanwhile stays so.
            if self.is_fenced() || *before == role {
                return false;
            }
            *before = role;
            true
        });
    }

    pub(crate) fn beat(&self) {
        self.pulse.store(Tick::now().0, Ordering::Release);
    }

    /// For how long the node's own runtime has not been seen at work.
    pub(crate) fn silence(&self) -> Duration {
        Tick::now().since(Tick(self.pulse.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Term};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_fenced_stays_fenced_whatever_comes_late() {
        let shared = Shared::new(Parameters::FAST);
        let term = Term {
            epoch: Epoch(1),
            id: Uuid::nil(),
        };
        let far = Tick::now() + Duration::from_secs(60);
        shared.publish(Role::Leader(term), Some(far));
        assert!(shared.leads());
        shared.fence(Fault::Deadline);
        assert!(!shared.leads());
        shared.publish(Role::Leader(term), Some(far));
        assert!(!shared.leads());
        assert_eq!(*shared.role.borrow(), Role::Fenced(Fault::Deadline));
    }

    #[test]
    fn a_leader_whose_deadline_has_passed_does_not_lead_even_before_anybody_noticed() {
        let shared = Shared::new(Parameters::FAST);
        let term = Term {
            epoch: Epoch(1),
            id: Uuid::nil(),
        };
        shared.publish(Role::Leader(term), Some(Tick::now()));
        assert!(!shared.leads());
    }
}
