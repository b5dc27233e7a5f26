//! What one call sees: the segments as they were when it began, and the look-ups that all reads share.
//! The newest segment wins where rows supersede one another, as the newest row does within a segment.

use std::collections::{HashMap, HashSet};

use model::Disposition;

use super::catalog::Catalog;
use super::source::{Source, Standing};
use crate::Error;

/// Reads several segments as one.
pub(crate) struct View<S> {
    pub(crate) source: S,
}

/// A segment, and the numbers that may have rows there.
pub(crate) type Part = (usize, Vec<i64>);

impl<S: Source> View<S> {
    pub(crate) fn new(source: S) -> View<S> {
        View { source }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.source.catalog()
    }

    /// The segments in which rows with these numbers lie, oldest first; those that were dropped are left out.
    pub(crate) fn homes(&self, numbers: &[i64]) -> Vec<Part> {
        let catalog = self.source.catalog();
        let mut parts: Vec<Part> = Vec::new();
        for number in sorted(numbers) {
            let Some(home) = catalog.home(number) else {
                continue;
            };
            match parts.last_mut() {
                Some((index, of)) if *index == home => of.push(number),
                _ => parts.push((home, vec![number])),
            }
        }
        parts
    }

    /// The segments that may hold rows belonging to these numbers, oldest first.
    pub(crate) fn reach(&self, numbers: &[i64]) -> Vec<Part> {
        let catalog = self.source.catalog();
        let numbers = sorted(numbers);
        let homes: Vec<usize> = numbers
            .iter()
            .map(|number| catalog.home(*number).unwrap_or(0))
            .collect();
        let Some(first) = homes.first().copied() else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        for index in first..catalog.segments.len() {
            let of: Vec<i64> = numbers
                .iter()
                .zip(&homes)
                .filter(|(number, home)| catalog.reaches(index, **home, **number))
                .map(|(number, _)| *number)
                .collect();
            if !of.is_empty() {
                parts.push((index, of));
            }
        }
        parts
    }

    /// The newest disposition of each message that has one.
    pub(crate) fn standings_of(&mut self, messages: &[i64]) -> Result<HashMap<i64, Standing>, Error> {
        let mut newest = HashMap::new();
        for (index, of) in self.reach(messages) {
            let found = self.source.standings(index, &of)?;
            newest.extend(found.into_iter().map(|standing| (standing.message, standing)));
        }
        Ok(newest)
    }

    /// The newest routed row of each message that has one.
    fn newest_routed_of(&mut self, messages: &[i64]) -> Result<HashMap<i64, i64>, Error> {
        let mut newest = HashMap::new();
        for (index, of) in self.reach(messages) {
            newest.extend(self.source.newest_routed(index, &of)?);
        }
        Ok(newest)
    }

    /// Which of these messages wait for their router: never routed, or put back to the start since.
    pub(crate) fn awaiting_routing(&mut self, messages: &[i64]) -> Result<HashSet<i64>, Error> {
        let standings = self.standings_of(messages)?;
        // Most are disposed of; of them there is nothing more to ask.
        let unsure: Vec<i64> = messages
            .iter()
            .copied()
            .filter(|message| {
                standings
                    .get(message)
                    .is_none_or(|standing| standing.disposition == Disposition::Received)
            })
            .collect();
        let routed = self.newest_routed_of(&unsure)?;
        let awaits = |message: &i64| {
            let routed = routed.get(message);
            match standings.get(message) {
                None => routed.is_none(),
                Some(standing) => routed.is_none_or(|routed| *routed < standing.row),
            }
        };
        Ok(unsure.into_iter().filter(awaits).collect())
    }

    /// Where messages stand, for people: the newest disposition, or, while one is in flight, whether its
    /// router has run.
    pub(crate) fn stands(&mut self, messages: &[i64]) -> Result<HashMap<i64, Disposition>, Error> {
        let standings = self.standings_of(messages)?;
        let (ended, in_flight): (Vec<i64>, Vec<i64>) = messages.iter().copied().partition(|message| {
            standings
                .get(message)
                .is_some_and(|standing| standing.disposition.is_final())
        });
        let waiting = self.awaiting_routing(&in_flight)?;
        let mut stands: HashMap<i64, Disposition> = ended
            .into_iter()
            .map(|message| (message, standings[&message].disposition))
            .collect();
        stands.extend(in_flight.into_iter().map(|message| {
            let stands = if waiting.contains(&message) {
                Disposition::Received
            } else {
                Disposition::Routed
            };
            (message, stands)
        }));
        Ok(stands)
    }
}

/// Ascending, without repeats.
pub(crate) fn sorted(numbers: &[i64]) -> Vec<i64> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
