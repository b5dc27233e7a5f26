//! The keeper: one OS thread for what must happen but must not make the writer wait. It checkpoints the
//! open segment, seals segments that are full and notes which sealed ones are drained.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;

use super::control::Control;
use super::database::{self, Kind};
use super::fault::database as doing;
use super::seal;
use super::store::Shared;
use crate::Error;
use crate::segments::source::Source;

/// What the writer asks of the keeper.
pub(super) enum Task {
    /// Move the log of this segment into its file, as far as readers allow.
    Checkpoint(u32),
    /// No row will be added to this segment. Brings the writer's connection along, to be closed here.
    Seal(u32, Option<Connection>),
    Stop,
}

pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) control: Control,
    /// The connection for checkpoints of the open segment.
    pub(super) open: Option<(u32, Connection)>,
}

impl Keeper {
    /// Runs until told to stop. A failure is logged; the next start tries again.
    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
        while let Ok(task) = tasks.recv() {
            let done = match task {
                Task::Checkpoint(number) => self.checkpoint(number),
                Task::Seal(number, connection) => self.seal(number, connection),
                Task::Stop => return,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "housekeeping of the store failed");
            }
        }
    }

    fn checkpoint(&mut self, number: u32) -> Result<(), Error> {
        if self.open.as_ref().is_none_or(|(of, _)| *of != number) {
            let file = self.shared.layout.segment(number);
            self.open = Some((number, database::open_for_writing(&file, Kind::Segment)?));
        }
        let Some((_, connection)) = &self.open else {
            return Ok(());
        };
        connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(doing("checkpointing the open segment"))
    }

    fn seal(&mut self, number: u32, connection: Option<Connection>) -> Result<(), Error> {
        self.open = None;
        let connection = match connection {
            Some(connection) => connection,
            None => database::open_for_writing(&self.shared.layout.segment(number), Kind::Segment)?,
        };
        self.shared.readers.forget(number);
        let (oldest_reference, profile) = seal::seal(&connection)?;
        drop(connection);
        self.control.note_sealed(
            number,
            oldest_reference,
            &profile,
            self.shared.options.clock.now(),
        )?;
        self.shared.change_segment(number, |segment| {
            segment.sealed = true;
            segment.oldest_reference = Some(oldest_reference);
            segment.bare = profile.bare;
        });
        self.look_for_drained()
    }

    fn look_for_drained(&mut self) -> Result<(), Error> {
        let mut view = self.shared.view();
        let catalog = view.source.catalog().clone();
        let mut drained = Vec::new();
        for (index, segment) in catalog.segments.iter().enumerate() {
            if segment.sealed && !segment.drained && view.is_drained(index)? {
                self.control
                    .note_drained(segment.number, self.shared.options.clock.now())?;
                self.shared
                    .change_segment(segment.number, |segment| segment.drained = true);
                drained.push(segment.number);
            }
        }
        drop(view); // it lends connections
        // Only people look into these from now on: their cached pages go.
        drained
            .into_iter()
            .for_each(|number| self.shared.readers.forget(number));
        Ok(())
    }
}
