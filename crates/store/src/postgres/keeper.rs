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
use super::store::Shared;
use super::tables::Tables;
use super::{seal, segment, settle};
use crate::Error;
use crate::segments::View;

/// After a failure the housekeeping is tried again this much later.
const RETRY: Duration = Duration::from_secs(5);

/// What is asked of the keeper.
pub(super) enum Task {
    /// Look what is due.
    KeepHouse,
    Stop,
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    link: Option<Link>,
    /// Something was due and failed.
    overdue: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Keeper {
        Keeper {
            shared,
            link: None,
            overdue: false,
        }
    }

    /// Runs until told to stop. A failure is logged and tried again.
    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
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

    fn connected(&mut self) -> Result<&mut Link, Error> {
        if !self
            .link
            .as_mut()
            .is_some_and(|link| link.is_whole() && link.still_answers())
        {
            self.link = Some(Link::open(
                &self.shared.target,
                &self.shared.options.node,
                Purpose::Keep,
            )?);
        }
        let backend = self.link.as_ref().map_or(0, |link| link.backend);
        self.shared.keeping.store(backend, Ordering::Release);
        Ok(self.link.as_mut().expect("it was put there just now"))
    }

    fn keep_house(&mut self) -> Result<(), Error> {
        let now = self.shared.options.clock.now();
        let shared = Arc::clone(&self.shared);
        let closing = || shared.closing.load(Ordering::Acquire);
        let link = self.connected()?;
        let catalog = link.hasten(|link| {
            segment::make_ahead(link, now)?;
            segment::catalog(link)
        })?;
        let full = catalog.segments.len().saturating_sub(1);
        for segment in catalog.segments[..full].iter().filter(|segment| !segment.sealed) {
            if closing() {
                return Ok(());
            }
            seal::seal(link, segment.number, now)?;
        }
        let catalog = segment::catalog(link)?;
        for (index, segment) in catalog.segments.iter().enumerate() {
            if closing() {
                return Ok(());
            }
            if !segment.sealed || segment.drained {
                continue;
            }
            let drained = View::new(Tables::new(link, catalog.clone())).is_drained(index)?;
            if drained {
                seal::note_drained(link, segment.number, now)?;
            }
        }
        Ok(())
    }
}
