//! The writer: one OS thread that makes every write of a message's life, in the order of the calls.
//!
//! It takes everything that is queued, writes it in one transaction, and starts over as soon as the
//! commit returned; no timer. Under load a transaction therefore grows by itself.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use model::{Epoch, RowId, Term, Timestamp};
use rusqlite::Connection;
use uuid::Uuid;

use super::append::{Appender, Refusal};
use super::control::Control;
use super::fault::{self, database};
use super::keeper::Task;
use super::segment;
use super::store::Shared;
use crate::desk::{Answers, Command, Gathering, Job};
use crate::outage::Outage;
use crate::packing::Packed;
use crate::segments::catalog::Segment;
use crate::tally::{KINDS, Tally, report};
use crate::{CommitError, Error, Receipt};

/// The keeper is asked to checkpoint each time this much was written.
const CHECKPOINT_BYTES: u64 = 32 << 20;
/// The open file is measured each time this much was written: asking after every commit costs as much as
/// the rows of a small one.
const MEASURE_BYTES: u64 = 256 << 10;
/// After a failed rotation (a full disk, most likely) the next attempt waits this long, in microseconds.
const ROTATION_RETRY_MICROS: i64 = 5_000_000;

/// The thread's state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Uuid,
    pub(super) control: Control,
    pub(super) connection: Connection,
    pub(super) segment: Segment,
    /// Rows in the open segment, as far as this process knows.
    pub(super) rows: u64,
    pub(super) numbering: Option<(Epoch, u64)>,
    pub(super) keeper: Sender<Task>,
    pub(super) keeper_thread: Option<JoinHandle<()>>,
    pub(super) written_since_checkpoint: u64,
    pub(super) written_since_measured: u64,
    pub(super) rotate_not_before: i64,
    pub(super) outage: Outage,
    /// Held for as long as this thread lives.
    pub(super) lock: File,
}

enum Failure {
    /// Some unit was refused: again, with a savepoint round each.
    Poison,
    /// Nothing was written.
    Unavailable(String),
    Unknown(String),
}

struct Written {
    answers: Vec<Answers>,
    tally: Tally,
    next: u64,
    epoch: Epoch,
}

impl Writer {
    /// Runs until every sender is gone or a close was asked for.
    pub(super) fn run(mut self, commands: &Receiver<Command>, mut gathering: Gathering) {
        let mut put_back = None;
        while let Some(command) = put_back.take().or_else(|| commands.recv().ok()) {
            match command {
                Command::Submit(first) => {
                    let (jobs, next) = gathering.gather(first, commands);
                    put_back = next;
                    self.commit(jobs);
                }
                Command::Close(reply) => {
                    let closed = self.close();
                    // The directory is free again before the caller hears of it.
                    self.shared.closed.store(true, Ordering::Release);
                    drop(self);
                    let _ = reply.send(closed);
                    return;
                }
                other => self.administer(other),
            }
        }
        // Dropped without a close: the connections' ends move the logs into the files all the same.
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed in order");
        }
    }

    fn administer(&mut self, command: Command) {
        // Nobody may be waiting for the answer any more; that is no fault.
        match command {
            Command::Acquire(node, reply) => drop(reply.send(self.acquire(&node))),
            Command::Lead(_, reply) => {
                let text = "the embedded store belongs to one node: a cluster needs a database server";
                drop(reply.send(Err(Error::Refused(text.to_owned()))));
            }
            Command::Release(term, reply) => drop(reply.send(self.release(term))),
            Command::Names(names, reply) => drop(reply.send(self.control.name_ids(&names))),
            Command::SetDesired(term, connection, desired, actor, reply) => {
                let now = self.now();
                drop(reply.send(self.control.set_desired(term, connection, desired, &actor, now)));
            }
            Command::Submit(_) | Command::Close(_) => {}
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.options.clock.now()
    }

    fn acquire(&mut self, node: &str) -> Result<Term, Error> {
        let shared = Arc::clone(&self.shared);
        let _gate = shared.gate.lock();
        let led = self.control.term()?.map_or(0, |term| term.epoch.0);
        // A control file from an older backup must not give an epoch out twice.
        let written = self.newest_row()?.map_or(0, |row| row.epoch().0);
        let epoch = led.max(written) + 1;
        if epoch >= 1 << 20 {
            return Err(Error::Refused(
                "this store has seen 2^20 leaderships: export it into a new one".to_owned(),
            ));
        }
        let term = Term {
            epoch: Epoch(epoch),
            id: Uuid::new_v4(),
        };
        // The fence first: should the second write fail, nobody leads, rather than two.
        segment::write_term(&self.connection, Some(term))
            .map_err(database("voiding the claims of older terms"))?;
        self.control.lead(term, node, self.now())?;
        // Into the file itself: an epoch must not be given out twice by a copy that lacks the log.
        self.control.checkpoint()?;
        self.numbering = Some((term.epoch, 1));
        Ok(term)
    }

    fn release(&mut self, term: Term) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let _gate = shared.gate.lock();
        if self.control.release(term)? {
            segment::write_term(&self.connection, None).map_err(database("voiding the released term"))?;
        }
        Ok(())
    }

    /// The newest row's number, or the one before the open segment's first: retention may have removed the rows
    /// before, and their numbers are not given out again.
    fn newest_row(&self) -> Result<Option<RowId>, Error> {
        let newest = segment::newest_row(&self.connection).map_err(database("looking for the newest row"))?;
        let before = self.segment.first - 1;
        Ok(newest.or((before > 0).then_some(before)).map(RowId))
    }

    /// Where numbering goes on for a term: at 1 for a fresh one, behind its newest row otherwise.
    fn next_number(&mut self, epoch: Epoch) -> Result<u64, Error> {
        match self.numbering {
            Some((of, next)) if of == epoch => Ok(next),
            _ => Ok(self
                .newest_row()?
                .filter(|row| row.epoch() == epoch)
                .map_or(1, |row| row.counter() + 1)),
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let begun = std::time::Instant::now();
        let outcome = match self.attempt(&jobs, false) {
            Err(Failure::Poison) => self.attempt(&jobs, true),
            other => other,
        };
        let error = match outcome {
            Ok(written) => {
                self.numbering = Some((written.epoch, written.next));
                self.rows += written.tally.total();
                let units = jobs.iter().map(|job| job.units.len()).sum::<usize>();
                let bytes = jobs
                    .iter()
                    .flat_map(|job| &job.units)
                    .map(Packed::weight)
                    .sum::<usize>() as u64;
                self.written_since_checkpoint += bytes;
                self.written_since_measured += bytes;
                report(begun.elapsed(), units, written.tally);
                self.outage.over();
                for (job, answers) in jobs.into_iter().zip(written.answers) {
                    let _ = job.reply.send(answers);
                }
                self.keep_house();
                return;
            }
            Err(Failure::Unknown(text)) => {
                // Those numbers may be taken: look again before the next transaction.
                self.numbering = None;
                CommitError::Unknown(text)
            }
            Err(Failure::Unavailable(text)) => CommitError::Unavailable(text),
            Err(Failure::Poison) => CommitError::Unavailable("a unit could not be set aside".to_owned()),
        };
        self.outage.refused(&error);
        for job in jobs {
            let _ = job.reply.send(vec![Err(error.clone()); job.units.len()]);
        }
    }

    /// One transaction. `careful` puts a savepoint round each unit, so that a refused one stands alone.
    fn attempt(&mut self, jobs: &[Job], careful: bool) -> Result<Written, Failure> {
        let unavailable = |error: rusqlite::Error| Failure::Unavailable(fault::cannot_write(&error));
        execute(&self.connection, "BEGIN IMMEDIATE").map_err(unavailable)?;
        let at = self.now();
        let written = segment::read_term(&self.connection)
            .map_err(unavailable)
            .and_then(|leads| {
                let epoch = leads.map_or(Epoch(0), |term| term.epoch);
                let next = self
                    .next_number(epoch)
                    .map_err(|error| Failure::Unavailable(error.to_string()))?;
                let mut appender = Appender::new(&self.connection, epoch, at, next);
                let mut answers = Vec::with_capacity(jobs.len());
                for job in jobs {
                    if leads != Some(job.term) {
                        answers.push(vec![Err(CommitError::Fenced); job.units.len()]);
                        continue;
                    }
                    let units = job
                        .units
                        .iter()
                        .map(|unit| append(&mut appender, unit, at, careful));
                    answers.push(units.collect::<Result<Answers, Failure>>()?);
                }
                Ok((
                    Written {
                        answers,
                        tally: appender.tally(),
                        next: appender.next(),
                        epoch,
                    },
                    appender.first(),
                ))
            });
        match written {
            Ok((written, first)) => match execute(&self.connection, "COMMIT") {
                Ok(()) => Ok(written),
                Err(error) => self.settle(&error, first).map(|()| written),
            },
            Err(failure) => {
                self.roll_back();
                Err(failure)
            }
        }
    }

    /// A commit failed: finds out whether it happened all the same. `Ok` = it did.
    fn settle(&mut self, error: &rusqlite::Error, first: Option<(usize, RowId)>) -> Result<(), Failure> {
        self.roll_back();
        self.reopen();
        let Some((kind, row)) = first else {
            return Err(Failure::Unavailable(fault::cannot_write(error)));
        };
        let sql = format!("SELECT count(*) FROM {} WHERE id = ?1", KINDS[kind]);
        match self
            .connection
            .query_row(&sql, [row.0], |row| row.get::<_, i64>(0))
        {
            Ok(0) => Err(Failure::Unavailable(fault::cannot_write(error))),
            Ok(_) => Ok(()),
            Err(probe) => Err(Failure::Unknown(format!(
                "{error}; looking for its rows: {probe}"
            ))),
        }
    }

    fn roll_back(&mut self) {
        // Some errors have rolled back already.
        if !self.connection.is_autocommit() && execute(&self.connection, "ROLLBACK").is_err() {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let file = self.shared.layout.segment(self.segment.number);
        match segment::open(&file, self.store, &self.segment, self.now()) {
            Ok(connection) => self.connection = connection,
            Err(error) => tracing::error!(%error, "the open segment could not be opened again"),
        }
    }

    /// What is due between two transactions.
    fn keep_house(&mut self) {
        if self.written_since_checkpoint >= CHECKPOINT_BYTES {
            self.written_since_checkpoint = 0;
            let _ = self.keeper.send(Task::Checkpoint(self.segment.number));
        }
        let now = self.now();
        if self.rows > 0
            && now.0 >= self.rotate_not_before
            && self.is_full(now)
            && let Err(error) = self.rotate(now)
        {
            tracing::warn!(%error, "a new segment could not be made; the old one goes on");
            self.rotate_not_before = now.0 + ROTATION_RETRY_MICROS;
        }
    }

    fn is_full(&mut self, now: Timestamp) -> bool {
        let options = &self.shared.options;
        if self.rows >= options.segment_rows_max
            || now.since(Timestamp(self.segment.opened_at)) >= options.segment_age_max
        {
            return true;
        }
        if self.written_since_measured < MEASURE_BYTES.min(options.segment_bytes_max / 8) {
            return false;
        }
        self.written_since_measured = 0;
        self.file_bytes()
            .is_some_and(|bytes| bytes >= self.shared.options.segment_bytes_max)
    }

    /// The file's size once its log is checkpointed.
    fn file_bytes(&self) -> Option<u64> {
        let pages: i64 = self
            .connection
            .prepare_cached("PRAGMA page_count")
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .ok()?;
        Some(pages as u64 * super::database::PAGE_BYTES)
    }

    /// Makes the next segment and goes on there. The old connection goes to the keeper: closing it here
    /// would make this thread wait for a checkpoint.
    fn rotate(&mut self, now: Timestamp) -> Result<(), Error> {
        let Some((epoch, next)) = self.numbering else {
            return Ok(());
        };
        let number = self.control.newest_number()? + 1;
        let segment = Segment {
            number,
            first: RowId::pack(epoch, next).0,
            opened_at: now.0,
            sealed: false,
            drained: false,
            oldest_reference: None,
            bare: false,
        };
        let layout = &self.shared.layout;
        // Only an attempt that failed half way can have left a file of this number.
        layout
            .remove_segment(number)
            .map_err(fault::io("removing an unfinished segment"))?;
        let term = segment::read_term(&self.connection).map_err(database("reading the term"))?;
        let connection = segment::create(&layout.segment(number), self.store, &segment, term, now)?;
        self.control.add_segment(&segment)?;
        self.shared
            .change_catalog(|catalog| catalog.segments.push(segment.clone()));
        let old = std::mem::replace(&mut self.connection, connection);
        let sealed = std::mem::replace(&mut self.segment, segment);
        self.rows = 0;
        self.written_since_checkpoint = 0;
        old.flush_prepared_statement_cache();
        let _ = self.keeper.send(Task::Seal(sealed.number, Some(old)));
        Ok(())
    }

    fn stop_keeper(&mut self) {
        let _ = self.keeper.send(Task::Stop);
        if let Some(thread) = self.keeper_thread.take() {
            let _ = thread.join();
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        *self.shared.gate.lock() = true;
        self.stop_keeper();
        self.shared.readers.clear();
        // Everything is durable already. Moving the logs into the files needs room, and makes the next
        // start quicker; without it the store counts as not closed in order, and loses nothing.
        if let Err(error) = self.put_away() {
            tracing::warn!(%error, "the store's logs stay beside its files");
        }
        self.lock
            .unlock()
            .map_err(fault::io("unlocking the data directory"))
    }

    fn put_away(&mut self) -> Result<(), Error> {
        self.connection.flush_prepared_statement_cache();
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(database("closing the open segment"))?;
        self.control.mark_clean(true)?;
        self.control.checkpoint()
    }
}

fn append(
    appender: &mut Appender<'_>,
    unit: &Packed,
    at: Timestamp,
    careful: bool,
) -> Result<Result<Receipt, CommitError>, Failure> {
    let unavailable = |error: rusqlite::Error| Failure::Unavailable(fault::cannot_write(&error));
    let before = appender.mark();
    if careful {
        execute(appender.connection(), "SAVEPOINT unit").map_err(unavailable)?;
    }
    let answer = match appender.unit(unit) {
        Ok(rows) => Ok(Receipt { at, rows }),
        Err(Refusal::Database(error)) if !fault::blames_the_values(&error) => return Err(unavailable(error)),
        Err(_) if !careful => return Err(Failure::Poison),
        Err(refusal) => {
            execute(appender.connection(), "ROLLBACK TO unit").map_err(unavailable)?;
            appender.go_back(before);
            Err(CommitError::Rejected(match refusal {
                Refusal::Unit(text) => text.to_owned(),
                Refusal::Database(error) => error.to_string(),
            }))
        }
    };
    if careful {
        execute(appender.connection(), "RELEASE unit").map_err(unavailable)?;
    }
    Ok(answer)
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
