//! The writer: one OS thread, one connection, every write of a message's life, in the order of the calls.
//!
//! It takes everything that is queued, writes it with one statement, and starts over as soon as that
//! returned; no timer. Under load a transaction therefore grows by itself. While the database is away,
//! everybody is told so at once; while the outcome of a commit is being found out, later calls are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{RowId, Term, Timestamp};
use uuid::Uuid;

use super::batch::{Batch, contradiction};
use super::keeper::Task;
use super::lead::Lead;
use super::link::{Link, Purpose, Trouble};
use super::settle::{Landmark, Settled};
use super::store::Shared;
use crate::desk::{Answers, Command, Gathering, Job};
use crate::outage::Outage;
use crate::packing::Packed;
use crate::tally::report;
use crate::{CommitError, Error, Receipt};

/// After a failed attempt to connect, calls are refused without another one for this long.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// Attempts to begin to lead, beyond the first, while the database cannot be reached.
const LEAD_RETRIES: usize = 10;
/// After a failed rotation the next attempt waits this long, in microseconds.
const ROTATION_RETRY_MICROS: i64 = 5_000_000;
/// Times that a batch is written anew: somebody had the shard's row locked, or the connection was lost.
const ATTEMPTS: usize = 5;
/// The keeper may go on for so long when the store closes, before what it does is cancelled, and at most.
const KEEPER_GRACE: Duration = Duration::from_millis(50);
const KEEPER_PATIENCE: Duration = Duration::from_millis(500);

/// The segment that is written to.
struct Open<T> {
    number: u32,
    opened_at: i64,
    rows: u64,
    bytes: u64,
    texts: T,
}

/// The thread's state.
pub(crate) struct Writer<L: Link> {
    pub(super) shared: Arc<Shared<L>>,
    pub(super) link: Option<L>,
    /// The term that this store acquired last, unless it gave it up.
    pub(super) lead: Option<Lead>,
    /// Whether the shard's row bears `lead`'s session, as far as this connection knows.
    pub(super) claimed: bool,
    pub(super) next_number: u64,
    /// What this leadership wrote last, which the database has to have.
    pub(super) last: Option<Landmark>,
    open: Option<Open<L::Texts>>,
    /// Why the last attempt to connect failed, and until when that is the answer.
    away: Option<(Instant, String)>,
    pub(super) deferred: VecDeque<Command>,
    keeper: Sender<Task>,
    keeper_thread: Option<JoinHandle<()>>,
    rotate_not_before: i64,
    pub(super) outage: Outage,
}

/// Why a batch was not written.
enum Failure {
    /// Some unit's values were refused.
    Poison(String),
    /// It ends all units alike.
    End(CommitError),
}

impl<L: Link> Writer<L> {
    pub(super) fn new(
        shared: Arc<Shared<L>>,
        link: L,
        keeper: Sender<Task>,
        keeper_thread: JoinHandle<()>,
    ) -> Writer<L> {
        Writer {
            shared,
            link: Some(link),
            lead: None,
            claimed: false,
            next_number: 1,
            last: None,
            open: None,
            away: None,
            deferred: VecDeque::new(),
            keeper,
            keeper_thread: Some(keeper_thread),
            rotate_not_before: i64::MIN,
            outage: Outage::default(),
        }
    }

    /// Runs until every sender is gone or a close was asked for.
    pub(super) fn run(mut self, commands: &Receiver<Command>, mut gathering: Gathering) {
        while let Some(command) = self.deferred.pop_front().or_else(|| commands.recv().ok()) {
            match command {
                Command::Submit(first) => {
                    let (jobs, next) = gathering.gather(first, commands);
                    self.deferred.extend(next);
                    self.commit(jobs, commands);
                }
                Command::Close(reply) => {
                    self.stop();
                    self.shared.closed.store(true, Ordering::Release);
                    let _ = reply.send(Ok(()));
                    return;
                }
                other => self.administer(other),
            }
        }
        self.stop();
    }

    fn administer(&mut self, command: Command) {
        // Nobody may be waiting for the answer any more; that is no fault.
        match command {
            Command::Acquire(node, reply) => {
                let _ = reply.send(self.acquire(&node));
            }
            Command::Lead(term, reply) => {
                let _ = reply.send(self.lead(term));
            }
            Command::Release(term, reply) => {
                let _ = reply.send(self.release(term));
            }
            Command::Names(names, reply) => {
                let ids = self.with_link(|link| link.name_ids(&names));
                let _ = reply.send(ids);
            }
            Command::SetDesired(term, connection, desired, actor, reply) => {
                let now = self.now();
                let done = self.with_link(|link| link.set_desired(term, connection, desired, &actor, now));
                let _ = reply.send(done);
            }
            Command::Submit(_) | Command::Close(_) => {}
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// Runs an administrative call, once more on a new connection if the old one turns out to be gone. Each
    /// of them may be repeated without harm.
    fn with_link<T>(&mut self, call: impl Fn(&mut L) -> Result<T, Error>) -> Result<T, Error> {
        let mut again = true;
        loop {
            let link = self.connected().map_err(Error::Refused)?;
            match call(link) {
                Err(error) if again && L::is_worth_another_try(&error) => {
                    self.link = None;
                    again = false;
                }
                other => return other,
            }
        }
    }

    fn acquire(&mut self, node: &str) -> Result<Term, Error> {
        let now = self.now();
        self.lead = None;
        let lead = self.with_link(|link| link.acquire(node, now))?;
        self.lead = Some(lead);
        self.claimed = true;
        self.next_number = 1;
        self.last = None;
        self.find_open()?;
        let _ = self.keeper.send(Task::KeepHouse);
        Ok(lead.term)
    }

    /// Takes the shard's row for a term that the lease gave this node.
    fn lead(&mut self, term: Term) -> Result<(), Error> {
        self.lead = Some(Lead {
            term,
            session: Uuid::nil(),
        });
        self.claimed = false;
        self.next_number = 1;
        self.last = None;
        self.away = None;
        // A connection that lay idle for days may lead nowhere, or to a server that was replaced meanwhile. It is used if
        // it shows that it does not, and the shard's row there bears the term; a new one takes as long as all the rest.
        let target = &self.shared.target;
        if !self
            .link
            .as_mut()
            .is_some_and(|link| link.is_as_good_as_new(target))
        {
            self.link = None;
        }
        let mut ready = self.ready();
        if ready.is_err() {
            self.link = None;
            ready = self.ready();
        }
        for _ in 0..LEAD_RETRIES {
            if !matches!(ready, Err(CommitError::Unavailable(_))) {
                break;
            }
            std::thread::sleep(CONNECT_PAUSE);
            ready = self.ready();
        }
        if let Err(end) = ready {
            self.lead = None;
            return Err(Error::Refused(reason(&end)));
        }
        let node = self.shared.settings.node.clone();
        if let Some(link) = &mut self.link {
            link.show_term(term.epoch.0, &node);
        }
        let _ = self.keeper.send(Task::KeepHouse);
        Ok(())
    }

    fn release(&mut self, term: Term) -> Result<(), Error> {
        self.with_link(|link| link.release(term))?;
        if self.lead.is_some_and(|lead| lead.term == term) {
            self.lead = None;
        }
        Ok(())
    }

    /// The connection, made anew when there is none; the error says what to do.
    fn connected(&mut self) -> Result<&mut L, String> {
        if !self.link.as_ref().is_some_and(L::is_whole) {
            self.link = None;
            self.claimed = false;
            if let Some((until, why)) = &self.away
                && Instant::now() < *until
            {
                return Err(why.clone());
            }
            match self.connect() {
                Ok(link) => self.link = Some(link),
                Err(error) => {
                    let why = format!("{error}; writing goes on by itself");
                    self.away = Some((Instant::now() + CONNECT_PAUSE, why.clone()));
                    return Err(why);
                }
            }
            self.away = None;
        }
        Ok(self.link.as_mut().expect("it was put there just now"))
    }

    pub(super) fn connect(&self) -> Result<L, Error> {
        let node = &self.shared.settings.node;
        let mut link = L::open(&self.shared.target, node, Purpose::Write)?;
        if let Some(lead) = &self.lead {
            link.show_term(lead.term.epoch.0, node);
        }
        Ok(link)
    }

    /// Looks which segment is written to, and how large it is.
    pub(super) fn find_open(&mut self) -> Result<(), Error> {
        let link = self.connected().map_err(Error::Refused)?;
        let newest = link.catalog()?.segments.pop();
        let newest =
            newest.ok_or_else(|| Error::Refused("the store has no segment to write to".to_owned()))?;
        let bytes = link.bytes(newest.number)?;
        let same = self.open.take().filter(|open| open.number == newest.number);
        self.open = Some(match same {
            Some(open) => open,
            None => Open {
                number: newest.number,
                opened_at: newest.opened_at,
                rows: 0,
                bytes,
                texts: L::texts(newest.number),
            },
        });
        Ok(())
    }

    /// Connected, and the shard's row bears this connection's session.
    fn ready(&mut self) -> Result<Lead, CommitError> {
        self.connected().map_err(CommitError::Unavailable)?;
        let Some(mut lead) = self.lead else {
            return Err(CommitError::Fenced);
        };
        if !self.claimed {
            lead.session = Uuid::new_v4();
            let last = self.last;
            let link = self.connected().map_err(CommitError::Unavailable)?;
            match link.claim(&lead) {
                Ok(true) => {}
                Ok(false) => return Err(CommitError::Fenced),
                Err(trouble) => return Err(CommitError::Unavailable(self.no_longer(trouble))),
            }
            if let Some(last) = last {
                match last.is_there(link) {
                    Ok(true) => {}
                    Ok(false) => return Err(CommitError::Fenced),
                    Err(error) => return Err(CommitError::Unavailable(explain(&error))),
                }
            }
            self.lead = Some(lead);
            self.claimed = true;
            self.open = None;
        }
        if self.open.is_none() {
            self.find_open()
                .map_err(|error| CommitError::Unavailable(explain(&error)))?;
        }
        Ok(lead)
    }

    /// Gives the connection up after an error with nothing in flight; says why nothing can be written.
    fn no_longer(&mut self, trouble: Trouble) -> String {
        self.link = None;
        match trouble {
            Trouble::Values(text) | Trouble::Denied(text) | Trouble::Again(text) => text,
            Trouble::Lost(text) => {
                format!("the connection to the database broke ({text}); writing goes on by itself")
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>, commands: &Receiver<Command>) {
        let mut answers: Vec<Answers> = jobs
            .iter()
            .map(|job| Vec::with_capacity(job.units.len()))
            .collect();
        let mut ours: Vec<(usize, &Packed)> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            let leads = self.lead.is_some_and(|lead| lead.term == job.term);
            for unit in &job.units {
                if leads {
                    places.push((index, answers[index].len()));
                    ours.push((index, unit));
                }
                // A term that this store did not acquire, or gave up; the others' answers come below.
                answers[index].push(Err(CommitError::Fenced));
            }
        }
        let units: Vec<&Packed> = ours.into_iter().map(|(_, unit)| unit).collect();
        let mut outcomes = Vec::with_capacity(units.len());
        self.write(&units, &mut outcomes, commands);
        for ((job, unit), outcome) in places.into_iter().zip(outcomes) {
            answers[job][unit] = outcome;
        }
        for (job, answers) in jobs.into_iter().zip(answers) {
            let _ = job.reply.send(answers);
        }
        self.keep_house();
    }

    /// Writes units in order and adds an answer for each. When values are refused, the units are parted
    /// until the offender stands alone. Once one cannot be written at all, none behind it is.
    fn write(&mut self, units: &[&Packed], outcomes: &mut Answers, commands: &Receiver<Command>) {
        if units.is_empty() {
            return;
        }
        let failure = match self.try_write(units, commands) {
            Ok(answers) => return outcomes.extend(answers),
            Err(failure) => failure,
        };
        match failure {
            Failure::Poison(text) if units.len() == 1 => outcomes.push(Err(CommitError::Rejected(text))),
            Failure::Poison(_) => {
                let (left, right) = units.split_at(units.len() / 2);
                self.write(left, outcomes, commands);
                match outcomes.last() {
                    Some(Err(end)) if !matches!(end, CommitError::Rejected(_)) => {
                        let end = end.clone();
                        outcomes.extend(right.iter().map(|_| Err(end.clone())));
                    }
                    _ => self.write(right, outcomes, commands),
                }
            }
            Failure::End(end) => {
                if !matches!(end, CommitError::Fenced) {
                    self.outage.refused(&reason(&end));
                }
                outcomes.extend(units.iter().map(|_| Err(end.clone())));
            }
        }
    }

    /// All of these units in one transaction.
    fn try_write(&mut self, units: &[&Packed], commands: &Receiver<Command>) -> Result<Answers, Failure> {
        let begun = Instant::now();
        let at = self.now();
        let lead = self.ready().map_err(Failure::End)?;
        let mut batch = Batch::new(lead.term.epoch, at, self.next_number);
        let mut written = 0;
        let answers: Answers = units
            .iter()
            .map(|unit| match contradiction(unit.unit()) {
                Some(text) => Err(CommitError::Rejected(text.to_owned())),
                None => {
                    written += 1;
                    Ok(Receipt {
                        at,
                        rows: batch.add(unit),
                    })
                }
            })
            .collect();
        if batch.next >= 1 << model::ids::COUNTER_BITS {
            let text = "this leadership has used up its numbers: restart the node";
            return Err(Failure::End(CommitError::Unavailable(text.to_owned())));
        }
        // Numbers are not used again, whatever becomes of the rows.
        self.next_number = batch.next;
        self.append(&batch, commands)?;
        if let Some(((table, row), segment)) = batch.landmark().zip(self.open_number()) {
            self.last = Some(Landmark { segment, table, row });
        }
        if let Some(open) = &mut self.open {
            open.rows += batch.tally.total();
            open.bytes += batch.bytes;
        }
        report(begun.elapsed(), written, batch.tally);
        self.outage.over();
        Ok(answers)
    }

    /// Writes a batch until it is written, or it is certain that it is not.
    fn append(&mut self, batch: &Batch<'_>, commands: &Receiver<Command>) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let lead = self.ready().map_err(Failure::End)?;
            match self.execute(batch, &lead) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    // Ours, and locked by someone for a moment? Or another's? The row tells once it is free.
                    let link = self
                        .connected()
                        .map_err(|text| Failure::End(CommitError::Unavailable(text)))?;
                    match link.holds(&lead) {
                        Ok(true) => {}
                        Ok(false) => return Err(Failure::End(CommitError::Fenced)),
                        Err(trouble) => {
                            let text = self.no_longer(trouble);
                            return Err(Failure::End(CommitError::Unavailable(text)));
                        }
                    }
                }
                Err(Trouble::Again(text)) => {
                    tracing::debug!(text, "a commit was undone to settle a conflict")
                }
                Err(Trouble::Values(text)) => return Err(Failure::Poison(text)),
                Err(Trouble::Denied(text)) => {
                    // A new connection may reach a server that can write.
                    self.link = None;
                    return Err(Failure::End(CommitError::Unavailable(text)));
                }
                Err(Trouble::Lost(text)) => match self.settle(batch.landmark(), &text, commands) {
                    Settled::Written => return Ok(()),
                    Settled::NotWritten => {}
                    Settled::Fenced => return Err(Failure::End(CommitError::Fenced)),
                    Settled::GivenUp(text) => return Err(Failure::End(CommitError::Unknown(text))),
                },
            }
        }
        let text =
            "the database keeps losing the connection, or another session keeps locking the shard's row";
        Err(Failure::End(CommitError::Unavailable(format!(
            "{text}; writing goes on by itself"
        ))))
    }

    /// One round trip; false when the claim found no row.
    fn execute(&mut self, batch: &Batch<'_>, lead: &Lead) -> Result<bool, Trouble> {
        let (Some(link), Some(open)) = (&mut self.link, &mut self.open) else {
            return Err(Trouble::Denied("there is no connection".to_owned()));
        };
        let patience = self.shared.settings.commit_patience;
        link.append(batch, lead, &mut open.texts, patience)
    }

    pub(super) fn open_number(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.number)
    }

    /// What is due between two transactions.
    fn keep_house(&mut self) {
        let now = self.now();
        if now.0 < self.rotate_not_before || !self.claimed {
            return;
        }
        let options = &self.shared.settings;
        let full = self.open.as_ref().is_some_and(|open| {
            let old = now.since(Timestamp(open.opened_at)) >= options.segment_age_max;
            open.rows >= options.segment_rows_max
                || open.bytes >= options.segment_bytes_max
                || (old && open.rows > 0)
        });
        if full && let Err(error) = self.rotate(now) {
            tracing::warn!(%error, "a new segment could not be opened; the old one goes on");
            self.rotate_not_before = now.0 + ROTATION_RETRY_MICROS;
        }
    }

    /// Goes on in the segment that was made ahead. Should the connection break in between, taking the
    /// shard's row anew tells which segment is the newest.
    fn rotate(&mut self, now: Timestamp) -> Result<(), Error> {
        let (Some(lead), Some(link)) = (self.lead, self.link.as_mut()) else {
            return Ok(());
        };
        let next = link.make_ahead(now)?;
        let first = RowId::pack(lead.term.epoch, self.next_number).0;
        let opened = link.open_segment(&lead, next, first, now);
        let opened = opened.inspect_err(|_| self.link = None)?;
        if !opened {
            // Not ours any more, or opened by us before the connection broke: look again before the next write.
            self.claimed = false;
            return Ok(());
        }
        self.open = Some(Open {
            number: next,
            opened_at: now.0,
            rows: 0,
            bytes: 0,
            texts: L::texts(next),
        });
        let _ = self.keeper.send(Task::KeepHouse);
        Ok(())
    }

    /// Waits for the keeper's end, which comes soon: what it has under way is cancelled. A leadership that is handed over
    /// does not wait for an index.
    fn see_off(&mut self, keeper: std::thread::JoinHandle<()>) {
        let begun = Instant::now();
        let mut cancelled = begun;
        while !keeper.is_finished() {
            if begun.elapsed() >= KEEPER_PATIENCE {
                tracing::debug!("the store's housekeeping did not end in time; it ends by itself");
                return;
            }
            if begun.elapsed() >= KEEPER_GRACE && cancelled.elapsed() >= KEEPER_GRACE {
                cancelled = Instant::now();
                let backend = self.shared.keeping.load(Ordering::Acquire);
                if let Some(link) = &mut self.link
                    && backend > 0
                {
                    // Lost with the connection: then nobody waits for what it was doing either.
                    link.cancel(backend, KEEPER_GRACE);
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = keeper.join();
    }

    fn stop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        let _ = self.keeper.send(Task::Stop);
        if let Some(thread) = self.keeper_thread.take() {
            self.see_off(thread);
        }
        self.shared.readers.clear();
        if let Some(link) = self.link.take() {
            link.close();
        }
    }
}

/// Why nothing was written, without what every such error begins with.
fn reason(end: &CommitError) -> String {
    match end {
        CommitError::Unavailable(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An error of looking at the segments, as the text of a refusal.
fn explain(error: &Error) -> String {
    match error {
        Error::Database { source, doing } => format!("{doing}: {source}; writing goes on by itself"),
        other => other.to_string(),
    }
}
