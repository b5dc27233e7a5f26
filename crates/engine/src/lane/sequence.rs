//! Rows that enter a lane in the order in which their writing was asked for, which is the order of their numbers, though the
//! tasks that wait for their commits are woken in any order.

use std::collections::VecDeque;

/// See the module's text.
pub(crate) struct Sequence<T> {
    /// The place of the first entry below.
    first: u64,
    /// By place: what enters there; `None` while its commit is on its way.
    entries: VecDeque<Option<Vec<T>>>,
}

impl<T> Default for Sequence<T> {
    fn default() -> Sequence<T> {
        Sequence {
            first: 0,
            entries: VecDeque::new(),
        }
    }
}

impl<T> Sequence<T> {
    /// The next place.
    pub(crate) fn open(&mut self) -> u64 {
        self.entries.push_back(None);
        self.first + self.entries.len() as u64 - 1
    }

    /// Says what enters at a place; answers all that may enter now, in order.
    pub(crate) fn fill(&mut self, place: u64, rows: Vec<T>) -> Vec<T> {
        let index = place
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            *entry = Some(rows);
        }
        let mut entering = Vec::new();
        while let Some(Some(_)) = self.entries.front() {
            self.first += 1;
            entering.extend(self.entries.pop_front().flatten().unwrap_or_default());
        }
        entering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_enter_in_the_order_of_their_places_whoever_is_told_first() {
        let mut sequence = Sequence::<u32>::default();
        let places: Vec<u64> = (0..4).map(|_| sequence.open()).collect();
        assert_eq!(sequence.fill(places[2], vec![5]), Vec::<u32>::new());
        assert_eq!(sequence.fill(places[0], vec![1, 2]), [1, 2]);
        assert_eq!(sequence.fill(places[1], vec![]), [5], "refused ones leave no gap");
        let next = sequence.open();
        assert_eq!(sequence.fill(next, vec![9]), Vec::<u32>::new());
        assert_eq!(sequence.fill(places[3], vec![7]), [7, 9]);
    }
}
