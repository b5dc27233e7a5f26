//! What goes wrong, and when it stops going wrong.

use std::time::Duration;

use super::history::What;
use super::node::{Node, Pace};
use super::world::{Happens, NODES, Note, P, World};

/// From here on nothing goes wrong.
pub(super) const CALM: Duration = Duration::from_secs(45);
/// From here on partners send nothing.
pub(super) const QUIET: Duration = Duration::from_secs(58);
/// The run ends.
pub(super) const END: Duration = Duration::from_secs(64);
/// A process that ended is started again after this.
pub(super) const RESTART: Duration = Duration::from_millis(500);

impl World {
    /// Something goes wrong; the next thing soon after.
    pub(super) fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let soon = self.dice.ms(100, 2_500);
        self.after(soon, Happens::Trouble);
        let node = self.dice.below(NODES.len());
        let long = self.dice.upto(P.ttl * 2);
        match self.dice.below(12) {
            0 | 1 => self.pause(node, Pace::Stopped, long),
            2 => self.pause(node, Pace::Frozen, long),
            3 | 4 => {
                self.nodes[node].cut = true;
                self.after(long, Happens::Heal { node });
            }
            5 => self.end(node),
            6 | 7 => {
                let jump = i64::try_from(long.as_nanos()).unwrap_or(0);
                self.database.row.clock_error = if self.dice.one_in(2) { jump } else { -jump };
            }
            8 if self.behind.is_none() => {
                self.snapshot();
                let later = self.late(P.ttl);
                self.after(later, Happens::FailOver);
            }
            9 | 10 => {
                let clock = self.now.0.saturating_add_signed(self.database.row.clock_error);
                self.database.row.asked = Some((NODES[node].to_owned(), clock));
            }
            11 if self.nodes[node].pace == Pace::Runs => {
                self.nodes[node].machine.leave();
                self.drive_soon(node);
            }
            _ => {}
        }
    }

    fn pause(&mut self, node: usize, pace: Pace, long: Duration) {
        if self.nodes[node].pace != Pace::Runs {
            return;
        }
        self.nodes[node].pace = pace;
        if pace == Pace::Frozen {
            self.record(What::Frozen { node });
        }
        let boot = self.nodes[node].boot;
        self.after(long, Happens::Resume { node, boot });
    }

    /// A process goes on. Watchdog and fencer are the first to look.
    pub(super) fn resume(&mut self, node: usize) {
        let was = self.nodes[node].pace;
        if !matches!(was, Pace::Stopped | Pace::Frozen) {
            return;
        }
        self.nodes[node].pace = Pace::Runs;
        if self.nodes[node]
            .deadline
            .is_some_and(|deadline| self.now >= deadline + P.stop)
        {
            return self.end(node);
        }
        self.take(node, Note::Watchdog);
        if was == Pace::Frozen {
            self.record(What::Resumed { node });
        }
        for note in std::mem::take(&mut self.nodes[node].held) {
            self.note(node, Duration::ZERO, note);
        }
    }

    /// The second process: it ends the first if that is still there, and stopped.
    pub(super) fn fencer(&mut self, node: usize, boot: u64) {
        let of = &self.nodes[node];
        let late = of.deadline.is_some_and(|deadline| self.now >= deadline + P.stop);
        if of.boot != boot || !late || self.without == crate::guards::Without::Fencer {
            return;
        }
        match of.pace {
            Pace::Stopped | Pace::Runs => self.end(node),
            Pace::Frozen | Pace::Down => {} // it stands still as well; see `resume`
        }
    }

    /// A process is gone, and will be started again.
    pub(super) fn end(&mut self, node: usize) {
        if self.nodes[node].pace == Pace::Down {
            return;
        }
        let (boot, cut) = (self.nodes[node].boot, self.nodes[node].cut);
        self.nodes[node] = Node::new(node);
        self.nodes[node].boot = boot + 1;
        self.nodes[node].cut = cut;
        self.record(What::Gone { node });
        self.after(RESTART, Happens::Start { node });
    }

    pub(super) fn start(&mut self, node: usize) {
        self.nodes[node].pace = Pace::Runs;
        self.drive_soon(node);
    }

    pub(super) fn becomes_calm(&mut self) {
        self.calm = true;
        self.record(What::Calm);
        for node in 0..NODES.len() {
            self.nodes[node].cut = false;
            self.resume(node);
        }
    }
}
