//! The list of nodes: what this one says of itself every so often, and what it reads of the others. Uses a connection
//! of its own, so that nobody who looks at a screen keeps the lease from being renewed.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use store::Error;
use store::board::{Board, Leadership, Lease, Member, MemberView};

use crate::StartError;
use crate::driver::words;
use crate::machine::Role;
use crate::shared::Shared;

/// The word of the list for a node that left in order: its id is free at once.
const LEFT: &str = "left";

pub(crate) struct Members {
    shared: Arc<Shared>,
    own: Member,
    board: Mutex<Box<dyn Board>>,
}

impl Members {
    pub(crate) fn new(shared: Arc<Shared>, own: Member, board: Box<dyn Board>) -> Members {
        Members {
            shared,
            own,
            board: Mutex::new(board),
        }
    }

    pub(crate) fn own(&self) -> &Member {
        &self.own
    }

    /// A process that was not heard of for so long is gone.
    fn alive(&self) -> Duration {
        self.shared.parameters.ttl
    }

    fn every(&self) -> Duration {
        self.shared.parameters.ttl / 4
    }

    /// What this node is now.
    fn as_it_is(&self) -> Member {
        let against = self.shared.seen.lock().against.clone();
        let remark = || self.shared.remark.lock().clone();
        let (role, ready, detail) = match &*self.shared.role.borrow() {
            Role::Standby => (
                "standby",
                against.is_none(),
                against.or_else(remark).unwrap_or_default(),
            ),
            Role::Leader(_) => ("primary", true, String::new()),
            Role::SteppingDown(_) => (
                "stepping down",
                false,
                "it makes room for another node".to_owned(),
            ),
            Role::Fenced(_) => ("fenced", false, "its lease ran out or was taken".to_owned()),
            Role::Left => (LEFT, false, "it left in order".to_owned()),
        };
        Member {
            role: role.to_owned(),
            ready,
            detail,
            ..self.own.clone()
        }
    }

    /// The first word. A node that was killed and comes back finds its own last word, which is not old yet, and waits
    /// until that is; a word that does not grow old is another process's.
    pub(crate) fn join(&self) -> Result<(), StartError> {
        let mut member = self.own.clone();
        member.role = "standby".to_owned();
        member.detail = "this node is starting".to_owned();
        let pause = self.every() / 4;
        let mut waited = Duration::ZERO;
        while !self.board.lock().beat(&member, self.alive())? {
            if waited > self.alive() + self.every() {
                return Err(StartError::Duplicate(member.id));
            }
            thread::sleep(pause);
            waited += pause;
        }
        Ok(())
    }

    pub(crate) fn run(&self) {
        let mut told = false;
        loop {
            thread::sleep(self.every());
            if matches!(*self.shared.role.borrow(), Role::Left | Role::Fenced(_)) {
                return;
            }
            let member = self.as_it_is();
            let beat = self.board.lock().beat(&member, self.alive());
            match beat {
                Ok(true) => told = false,
                Ok(false) if !std::mem::replace(&mut told, true) => tracing::error!(
                    node = member.id,
                    "another process goes by this node's id: give each node an id of its own (setting node.id)"
                ),
                Err(error) => {
                    tracing::debug!(reason = words(&error), "this node's entry could not be renewed")
                }
                Ok(false) => {}
            }
        }
    }

    /// The last word, so that nobody waits for this node.
    pub(crate) fn say_goodbye(&self) {
        let mut member = self.as_it_is();
        member.role = LEFT.to_owned();
        member.ready = false;
        if let Err(error) = self.board.lock().beat(&member, self.alive()) {
            tracing::debug!(reason = words(&error), "this node's entry could not be ended");
        }
    }

    pub(crate) fn all(&self) -> Result<(Lease, Vec<MemberView>), Error> {
        let mut board = self.board.lock();
        let lease = board.look(self.shared.parameters.ttl)?;
        Ok((lease, board.members()?))
    }

    pub(crate) fn history(&self, limit: usize) -> Result<Vec<Leadership>, Error> {
        self.board.lock().history(limit)
    }

    pub(crate) fn approve(&self, fingerprint: &str) -> Result<(), Error> {
        self.board.lock().approve(fingerprint)
    }

    /// Asks for another leader, if there is one that could lead.
    pub(crate) fn switch_over(&self, by: &str, to: Option<&str>) -> Result<String, Error> {
        let (lease, members) = self.all()?;
        let refuse = |text: String| Err(Error::Refused(text));
        if lease.released || lease.expired {
            return refuse("nobody leads now: there is nothing to switch over".to_owned());
        }
        let could = |view: &&MemberView| {
            view.member.id != lease.node
                && view.member.ready
                && view.seen_ago < self.alive()
                && view.member.promotable
        };
        if let Some(to) = to {
            if to == lease.node {
                return refuse(format!("`{to}` leads already"));
            }
            let Some(view) = members.iter().find(|view| view.member.id == to) else {
                return refuse(format!("there is no node `{to}`: see `holdfast cluster nodes`"));
            };
            if !could(&view) {
                let why = match view.member.detail.as_str() {
                    _ if view.seen_ago >= self.alive() => "it was not heard of lately",
                    "" => "it is not ready",
                    why => why,
                };
                return refuse(format!("`{to}` cannot take over: {why}"));
            }
        }
        // The one that is named is the one that takes over: nobody races.
        let chosen = match to {
            Some(to) => to.to_owned(),
            None => match members.iter().filter(could).min_by_key(|view| {
                // Rather one with which nothing is amiss.
                (!view.member.detail.is_empty(), view.member.delay)
            }) {
                Some(view) => view.member.id.clone(),
                None => {
                    return refuse(
                        "no other node is ready to take over: see `holdfast cluster nodes`".to_owned(),
                    );
                }
            },
        };
        if self.board.lock().ask(by, Some(&chosen))? {
            Ok(chosen)
        } else {
            refuse("the leader is gone meanwhile: another one is being found".to_owned())
        }
    }
}
