//! The keeper: one OS thread, with a connection of its own, for what must happen but must not make the
//! writer wait. It makes the next segment ahead, seals segments that are full and notes which sealed ones are
//! drained.
//!
//! All of it may be repeated, and may be done by two nodes at once. So nobody waits for it when the store closes: what
//! the keeper has under way is cancelled, and where even that takes long it is left behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::link::{Link, Purpose};
use super::settle;
use super::store::Shared;
use crate::Error;
use crate::segments::View;

/// After a failure the housekeeping is tried again this much later.
const RETRY: Duration = Duration::from_secs(5);

/// What is asked of the keeper.
pub(crate) enum Task {
    /// Look what is due.
    KeepHouse,
    Stop,
}

pub(crate) struct Keeper<L: Link> {
    shared: Arc<Shared<L>>,
    link: Option<L>,
    /// Something was due and failed.
    overdue: bool,
}

impl<L: Link> Keeper<L> {
    pub(crate) fn new(shared: Arc<Shared<L>>) -> Keeper<L> {
        Keeper {
            shared,
            link: None,
            overdue: false,
        }
    }

    /// Runs until told to stop. A failure is logged and tried again.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        loop {
            let task = if self.overdue {
                tasks.recv_timeout(RETRY)
            } else {
                tasks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match task {
                Ok(Task::KeepHouse) | Err(RecvTimeoutError::Timeout) => {
                    let done = self.keep_house();
                    if self.shared.closing.load(Ordering::Acquire) {
                        break; // whatever was cut off is done again by whoever opens the store next
                    }
                    let before = std::mem::replace(&mut self.overdue, done.is_err());
                    match done {
                        Err(error) if !before => {
                            let reason = settle::reason(&error);
                            tracing::warn!(reason, "housekeeping of the store failed; it is tried again");
                            self.link = None;
                        }
                        Err(_) => self.link = None,
                        Ok(()) if before => tracing::info!("housekeeping of the store works again"),
                        Ok(()) => {}
                    }
                }
                Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(link) = self.link {
            link.close();
        }
    }

    fn connected(&mut self) -> Result<&mut L, Error> {
        if !self
            .link
            .as_mut()
            .is_some_and(|link| link.is_whole() && link.still_answers())
        {
            self.link = Some(L::open(
                &self.shared.target,
                &self.shared.settings.node,
                Purpose::Keep,
            )?);
        }
        let backend = self.link.as_ref().map_or(0, L::backend);
        self.shared.keeping.store(backend, Ordering::Release);
        Ok(self.link.as_mut().expect("it was put there just now"))
    }

    fn keep_house(&mut self) -> Result<(), Error> {
        let now = self.shared.settings.clock.now();
        let shared = Arc::clone(&self.shared);
        let closing = || shared.closing.load(Ordering::Acquire);
        let link = self.connected()?;
        let catalog = link.hasten(|link| {
            link.make_ahead(now)?;
            link.catalog()
        })?;
        let full = catalog.segments.len().saturating_sub(1);
        for segment in catalog.segments[..full].iter().filter(|segment| !segment.sealed) {
            if closing() {
                return Ok(());
            }
            link.seal(segment.number, now)?;
        }
        let catalog = link.catalog()?;
        for (index, segment) in catalog.segments.iter().enumerate() {
            if closing() {
                return Ok(());
            }
            if !segment.sealed || segment.drained {
                continue;
            }
            let drained = View::new(link.tables(catalog.clone())).is_drained(index)?;
            if drained {
                link.note_drained(segment.number, now)?;
            }
        }
        Ok(())
    }
}
