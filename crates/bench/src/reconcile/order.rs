//! Order of one source lane at one destination, judged from the wire alone.
//!
//! The engine accepts some of what was written, in the order it was written (what was acknowledged
//! for certain, the rest perhaps), and delivers what it accepted in that order; after a crash it may
//! repeat the last delivery before it goes on. So every honest sequence of arrivals can be laid onto
//! the written sequence without stepping back. A message that the sender itself wrote twice has two
//! places there, and its second copy may rightly arrive after newer ones.

use std::collections::HashMap;

/// The written sequence of one lane.
#[derive(Debug)]
pub(super) struct Places {
    first: Vec<u32>,
    again: HashMap<u32, Vec<u32>>,
}

impl Places {
    /// From sequence numbers in the order they were written.
    pub(super) fn of(wire_order: &[u32]) -> Places {
        let (mut first, mut again) = (Vec::new(), HashMap::<u32, Vec<u32>>::new());
        for (place, &sequence) in (0_u32..).zip(wire_order) {
            if sequence as usize == first.len() {
                first.push(place);
            } else {
                again.entry(sequence).or_default().push(place);
            }
        }
        Places { first, again }
    }

    /// How often a message was written.
    pub(super) fn copies(&self, sequence: u32) -> u32 {
        let again = self.again.get(&sequence).map_or(0, Vec::len);
        u32::from((sequence as usize) < self.first.len()) + u32::try_from(again).unwrap_or(u32::MAX)
    }

    /// The message's earliest place at or after `place`.
    fn from(&self, place: u32, sequence: u32) -> Option<u32> {
        let first = *self.first.get(sequence as usize)?;
        if first >= place {
            return Some(first);
        }
        self.again
            .get(&sequence)?
            .iter()
            .copied()
            .find(|&again| again >= place)
    }
}

/// Follows one lane's arrivals at one destination.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    place: u32,
}

impl Follower {
    /// Whether the next arrival keeps the order; one that does not changes nothing, so each
    /// misplaced message counts once.
    pub(super) fn keeps_order(&mut self, places: &Places, sequence: u32) -> bool {
        match places.from(self.place, sequence) {
            Some(place) => {
                self.place = place;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried, what was written, what arrived, and which arrivals are out of order.
    type Case = (&'static str, &'static [u32], &'static [u32], &'static [u32]);

    fn out_of_order(written: &[u32], arrived: &[u32]) -> Vec<u32> {
        let places = Places::of(written);
        let mut follower = Follower::default();
        arrived
            .iter()
            .copied()
            .filter(|&sequence| !follower.keeps_order(&places, sequence))
            .collect()
    }

    #[test]
    fn arrivals_are_laid_onto_what_was_written() {
        let cases: &[Case] = &[
            ("in order", &[0, 1, 2], &[0, 1, 2], &[]),
            ("one skipped", &[0, 1, 2], &[0, 2], &[]),
            ("one swapped", &[0, 1, 2], &[0, 2, 1], &[1]),
            ("repeated at once", &[0, 1, 2], &[0, 1, 1, 1, 2], &[]),
            ("repeated after a newer one", &[0, 1, 2], &[0, 1, 0, 2], &[0]),
            (
                "the sender wrote it twice",
                &[0, 1, 2, 1, 2, 3],
                &[0, 1, 2, 1, 2, 3],
                &[],
            ),
            (
                "twice written, once accepted",
                &[0, 1, 2, 1, 2, 3],
                &[0, 1, 2, 3],
                &[],
            ),
            (
                "twice written, back three times",
                &[0, 1, 0, 1],
                &[0, 1, 0, 1, 0],
                &[0],
            ),
            ("never written", &[0], &[0, 7], &[7]),
        ];
        for (name, written, arrived, expected) in cases {
            assert_eq!(out_of_order(written, arrived), *expected, "{name}");
        }
    }

    #[test]
    fn copies_count_what_was_written() {
        let places = Places::of(&[0, 1, 0, 1, 1]);
        assert_eq!([places.copies(0), places.copies(1), places.copies(2)], [2, 3, 0]);
    }
}
