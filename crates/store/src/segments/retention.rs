//! What may go. A message may go once it is closed, past the days that its inbound keeps it, and has no
//! dead letter that still waits for a person. A segment in which nothing has to stay goes whole. One in
//! which little has to stay is made anew with that little, and the old one goes whole: so that a few stuck
//! messages do not keep a large segment alive. Numbers never change; no row is deleted by itself.
//!
//! Bodies may have to go sooner. A segment in which at most half of the messages with bodies have to keep them is made
//! anew as well, without the bodies of the others: the raw body, what handlers made of it, partners' replies, and what
//! names a patient beside them (search keys, partition keys). It waits for a term until all closed messages of the segment
//! with that term are past it: so a segment is made anew at most once for each different term, and again only when at least
//! half of what was stuck then has ended. What is open, or has a dead letter that waits, keeps its bodies.
//!
//! What closes something may not go before what it closes. Rows of one message may lie in several
//! segments, and each segment is decided by itself, so a row goes only once no older segment holds a row
//! of its message that it could close: then its absence opens nothing, in whichever order segments go.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::{NameId, Timestamp};

use super::source::{Owner, Source};
use super::view::View;
use crate::Error;

/// A time for each inbound: what it received before is past some term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// For inbounds that are not named below, and those that left the configuration.
    pub default: Timestamp,
    /// For these.
    pub of: HashMap<NameId, Timestamp>,
}

impl Horizon {
    /// The same for every inbound.
    pub fn all(received_before: Timestamp) -> Horizon {
        Horizon {
            default: received_before,
            of: HashMap::new(),
        }
    }

    /// What holds for an inbound.
    pub fn of(&self, inbound: NameId) -> Timestamp {
        self.of.get(&inbound).copied().unwrap_or(self.default)
    }

    /// Nothing that was received at this time or later is past the term, whichever inbound it came by.
    pub fn latest(&self) -> Timestamp {
        self.of.values().copied().fold(self.default, Timestamp::max)
    }
}

/// What of closed messages may go. A message with a dead letter that nobody dealt with stays whole whatever its age;
/// whoever gives dead letters up records that first.
#[derive(Clone, Debug)]
pub struct RetentionRules {
    /// Those past this may go whole.
    pub messages: Horizon,
    /// Of those past this the bodies may go.
    pub bodies: Horizon,
}

impl RetentionRules {
    /// The same for every inbound, messages with their bodies.
    pub fn all(received_before: Timestamp) -> RetentionRules {
        RetentionRules {
            messages: Horizon::all(received_before),
            bodies: Horizon::all(received_before),
        }
    }

    /// Nothing may go that was received at this time or later; `bare` = of a segment without bodies.
    pub fn latest(&self, bare: bool) -> Timestamp {
        match bare {
            true => self.messages.latest(),
            false => self.messages.latest().max(self.bodies.latest()),
        }
    }

    /// Whether what an inbound received at a time may go whole.
    fn may_go(&self, inbound: NameId, at: Timestamp) -> bool {
        at < self.messages.of(inbound)
    }

    /// Whether its bodies may go.
    fn may_be_bare(&self, inbound: NameId, at: Timestamp) -> bool {
        self.may_go(inbound, at) || at < self.bodies.of(inbound)
    }
}

/// One live segment, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Names it.
    pub number: u32,
    /// When its first row was written.
    pub opened_at: Timestamp,
    /// Whether it is full and has its indexes; only such a segment may go.
    pub sealed: bool,
    /// Whether it is known to hold no body (any more).
    pub bare: bool,
    /// What it takes on disk.
    pub bytes: u64,
}

/// What lies in a sealed segment, judged by rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Messages in it.
    pub messages: u64,
    /// Those that may go.
    pub expired: u64,
    /// Of those that stay, those that have bodies here which may go; messages of older segments too.
    pub bodies_expired: u64,
    /// Those that are closed and too young to go whole.
    pub young: u64,
    /// Those that are past their days (or those of their bodies) and have a dead letter that nobody dealt with.
    pub dead: u64,
    /// Those that are not delivered (or filtered, or failed for good) yet: nothing makes them go.
    pub open: u64,
    /// Where open ones wait, most first: the outbounds of their open sends, or their inbound. Counted over the
    /// first thousand.
    pub waiting_at: Vec<(NameId, u64)>,
    /// What can be done now.
    pub fate: Fate,
}

/// What can be done with a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is: too much of it has to stay.
    #[default]
    Stay,
    /// It goes whole.
    Drop,
    /// It is made anew with what has to stay, and without the bodies that do not.
    Shrink,
}

/// What became of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// What lay in it before.
    pub findings: Findings,
    /// What was done.
    pub done: Done,
}

/// What was done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing.
    Kept,
    /// It could go, but somebody reads it: try again later.
    Busy,
    /// It is gone; so many bytes are free again.
    Dropped(u64),
    /// It holds only what has to stay; so many bytes are free again.
    Shrunk(u64),
}

/// Messages looked at in one go.
const CHUNK: usize = 10_000;
/// Open messages whose whereabouts are looked up.
const WHEREABOUTS: usize = 1_000;
/// A segment is made anew when at most one message in so many has to stay: over its whole life, no more is
/// copied than was in it. For bodies alone, when at most one in so many of those that are there has to.
const SHRINK_TO: u64 = 2;

/// What has to stay of a segment.
#[derive(Debug, Default)]
pub(crate) struct Remainder {
    /// Rows that belong to these messages, ascending. Some of them lie in older segments.
    pub(crate) messages: Vec<i64>,
    /// Rows that deal with these dead letters of older segments, ascending.
    pub(crate) letters: Vec<i64>,
    /// Those of the messages of which no body stays, ascending.
    pub(crate) bare: Vec<i64>,
}

/// What of a segment's bodies has to stay.
#[derive(Debug, Default)]
struct Bodies {
    /// Messages that have bodies there.
    messages: usize,
    /// Those that stay with their bodies.
    kept: usize,
    /// Those that stay without.
    bare: Vec<i64>,
    /// A term of one of these has come for all messages of the segment.
    ripe: bool,
}

/// A message that need not keep its bodies, with the term that it is past, where that is known.
type Past = (i64, Option<Timestamp>);

impl<S: Source> View<S> {
    /// Looks through a sealed segment.
    pub(crate) fn examine(
        &mut self,
        index: usize,
        rules: &RetentionRules,
    ) -> Result<(Findings, Remainder), Error> {
        let mut findings = Findings::default();
        let mut own: Vec<i64> = Vec::new();
        let mut open = Vec::new();
        let mut bare: Vec<Past> = Vec::new();
        // Terms of bodies that some of its messages wait for.
        let mut waiting: HashSet<Timestamp> = HashSet::new();
        let mut after = 0;
        loop {
            let stood = self.stood(index, after, i64::MAX, CHUNK)?;
            let Some(&(last, _)) = stood.last() else { break };
            after = last;
            findings.messages += stood.len() as u64;
            let ids: Vec<i64> = stood.iter().map(|(id, _)| *id).collect();
            let arrivals = self.source.arrivals(index, &ids)?;
            let came: HashMap<i64, (NameId, Timestamp)> = arrivals
                .into_iter()
                .map(|arrival| (arrival.id, (arrival.inbound, arrival.received_at)))
                .collect();
            let mut past = Vec::new();
            for (id, stands) in stood {
                let closed = stands.is_some_and(|stands| stands.is_final());
                let expired = came
                    .get(&id)
                    .is_some_and(|(inbound, at)| rules.may_be_bare(*inbound, *at));
                match (closed, expired) {
                    (true, true) => past.push(id),
                    (true, false) => {
                        findings.young += 1;
                        waiting.extend(came.get(&id).map(|(inbound, _)| rules.bodies.of(*inbound)));
                        own.push(id);
                    }
                    (false, _) => {
                        open.push(id);
                        own.push(id);
                    }
                }
            }
            // No lane asks for a message's standing before it delivers: a send without an outcome is work.
            let unsent = self.with_open_sends(&past)?;
            past.retain(|message| !unsent.contains(message));
            open.extend(unsent.iter().copied());
            own.extend(unsent);
            let dead = self.with_open_letters(&past)?;
            past.retain(|message| !dead.contains(message));
            findings.dead += dead.len() as u64;
            own.extend(dead);
            let (whole, partly): (Vec<i64>, Vec<i64>) = past.into_iter().partition(|id| {
                came.get(id)
                    .is_some_and(|(inbound, at)| rules.may_go(*inbound, *at))
            });
            findings.expired += whole.len() as u64;
            findings.young += partly.len() as u64;
            own.extend(&partly);
            let term = |id: i64| (id, came.get(&id).map(|(inbound, _)| rules.bodies.of(*inbound)));
            bare.extend(partly.into_iter().map(term));
        }
        findings.open = open.len() as u64;
        findings.waiting_at = self.whereabouts(&open[..open.len().min(WHEREABOUTS)])?;
        let mut remainder = self.remainder(index, own)?;
        let bodies = self.bodies(index, &remainder.messages, bare, &waiting, rules)?;
        findings.bodies_expired = bodies.bare.len() as u64;
        let nothing_stays = remainder.messages.is_empty() && remainder.letters.is_empty();
        let few = |stay: u64, of: u64| stay * SHRINK_TO <= of;
        let few_messages =
            findings.expired > 0 && few(findings.messages - findings.expired, findings.messages);
        let few_bodies = bodies.ripe && few(bodies.kept as u64, bodies.messages as u64);
        findings.fate = if nothing_stays {
            Fate::Drop
        } else if few_messages || few_bodies {
            Fate::Shrink
        } else {
            Fate::Stay
        };
        remainder.bare = bodies.bare;
        Ok((findings, remainder))
    }

    /// Which of the messages that stay keep their bodies; `own` are those of the segment itself that need not, and
    /// `waiting` the terms that others of them wait for.
    fn bodies(
        &mut self,
        index: usize,
        stays: &[i64],
        own: Vec<Past>,
        waiting: &HashSet<Timestamp>,
        rules: &RetentionRules,
    ) -> Result<Bodies, Error> {
        if rules.bodies == rules.messages {
            return Ok(Bodies::default());
        }
        let first = self.source.catalog().segments[index].first;
        let with_bodies = self.source.with_bodies(index)?;
        let mut bodies = Bodies {
            messages: with_bodies.len(),
            ..Bodies::default()
        };
        let stays: HashSet<i64> = stays.iter().copied().collect();
        let (staying, going): (Vec<i64>, Vec<i64>) =
            with_bodies.into_iter().partition(|id| stays.contains(id));
        // Nothing else asks for a segment to be made anew without rows of messages that are gone.
        let left_over = going.iter().any(|id| *id < first) && waiting.is_empty();
        let guests: Vec<i64> = staying.iter().copied().filter(|id| *id < first).collect();
        let mut past: HashMap<i64, Option<Timestamp>> = own.into_iter().collect();
        for chunk in guests.chunks(CHUNK) {
            past.extend(self.done_with(chunk, rules)?);
        }
        bodies.bare = staying
            .iter()
            .copied()
            .filter(|id| past.contains_key(id))
            .collect();
        bodies.kept = staying.len() - bodies.bare.len();
        bodies.ripe = left_over
            || bodies.bare.iter().any(|id| match past[id] {
                Some(term) => !waiting.contains(&term),
                None => waiting.is_empty(),
            });
        Ok(bodies)
    }

    /// Which of these messages of older segments need their bodies no more. One that is gone was closed and past its term.
    fn done_with(&mut self, guests: &[i64], rules: &RetentionRules) -> Result<Vec<Past>, Error> {
        let mut came = HashMap::new();
        for (home, of) in self.homes(guests) {
            let arrivals = self.source.arrivals(home, &of)?;
            came.extend(
                arrivals
                    .into_iter()
                    .map(|arrival| (arrival.id, (arrival.inbound, arrival.received_at))),
            );
        }
        let stands = self.stands(guests)?;
        let mut done: Vec<i64> = guests
            .iter()
            .copied()
            .filter(|id| stands.get(id).is_some_and(|stands| stands.is_final()))
            .filter(|id| {
                came.get(id)
                    .is_none_or(|(inbound, at)| rules.may_be_bare(*inbound, *at))
            })
            .collect();
        let unsent = self.with_open_sends(&done)?;
        done.retain(|message| !unsent.contains(message));
        let dead = self.with_open_letters(&done)?;
        done.retain(|message| !dead.contains(message));
        let term = |id: i64| (id, came.get(&id).map(|(inbound, _)| rules.bodies.of(*inbound)));
        Ok(done.into_iter().map(term).collect())
    }

    /// Which of these messages have a send without an outcome.
    fn with_open_sends(&mut self, messages: &[i64]) -> Result<HashSet<i64>, Error> {
        let mut sends: Vec<(i64, i64)> = Vec::new();
        for (index, of) in self.reach(messages) {
            let found = self.source.sends(index, &of)?;
            sends.extend(found.into_iter().map(|send| (send.id, send.message)));
        }
        let numbers: Vec<i64> = sends.iter().map(|(send, _)| *send).collect();
        let ended = self.outcomes_of(&numbers)?;
        let open = sends.into_iter().filter(|(send, _)| !ended.contains_key(send));
        Ok(open.map(|(_, message)| message).collect())
    }

    fn whereabouts(&mut self, open: &[i64]) -> Result<Vec<(NameId, u64)>, Error> {
        let mut counts: BTreeMap<NameId, u64> = BTreeMap::new();
        for message in self.describe(open)? {
            let mut at: Vec<NameId> = message
                .sends
                .iter()
                .filter(|send| send.outcome.is_none())
                .map(|send| send.destination)
                .collect();
            at.sort_unstable();
            at.dedup();
            if at.is_empty() {
                at.push(message.inbound);
            }
            at.into_iter()
                .for_each(|name| *counts.entry(name).or_default() += 1);
        }
        let mut counts: Vec<(NameId, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(counts)
    }

    /// What has to stay when, of the segment's own messages, these have to.
    fn remainder(&mut self, index: usize, own: Vec<i64>) -> Result<Remainder, Error> {
        let first = self.source.catalog().segments[index].first;
        let mut messages = own;
        let mut letters = Vec::new();
        // Older segments that are gone hold nothing that could be opened.
        if index > 0 {
            let guests = self.source.foreign(index, Owner::Message, first)?;
            messages.extend(self.needed(index, guests)?);
            let foreign = self.source.foreign(index, Owner::Letter, first)?;
            for (home, of) in self.homes(&foreign) {
                letters.extend(self.source.existing(home, Owner::Letter, &of)?);
            }
            letters.sort_unstable();
        }
        messages.sort_unstable();
        Ok(Remainder {
            messages,
            letters,
            bare: Vec::new(),
        })
    }

    /// Which of these messages of older segments still have rows there that rows of this segment may close.
    fn needed(&mut self, index: usize, guests: Vec<i64>) -> Result<HashSet<i64>, Error> {
        let mut needed = HashSet::new();
        for chunk in guests.chunks(CHUNK) {
            for (home, of) in self.homes(chunk) {
                needed.extend(self.source.existing(home, Owner::Message, &of)?);
            }
            let gone: Vec<i64> = chunk
                .iter()
                .copied()
                .filter(|message| !needed.contains(message))
                .collect();
            for (between, of) in self.reach(&gone) {
                if between >= index {
                    continue;
                }
                let routed = self.source.routed(between, &of)?;
                needed.extend(routed.into_iter().map(|row| row.message));
                let sends = self.source.sends(between, &of)?;
                needed.extend(sends.into_iter().map(|row| row.message));
                let letters = self.source.letters(between, &of)?;
                needed.extend(letters.into_iter().map(|row| row.message.raw()));
            }
        }
        Ok(needed)
    }
}
