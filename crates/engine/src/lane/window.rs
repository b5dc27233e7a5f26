//! The in-memory part of a lane. It holds at most `capacity` rows; what comes after is only counted and
//! later read back from the store in pages.
//!
//! Producers push after their commit and so may push slightly out of number order; the rules below
//! lose no row and take none twice, whatever the interleaving:
//! - numbers grow in commit order, and a page is asked only up to a number that was pushed, hence is
//!   committed: whatever lies inside a page's bounds was in that page;
//! - rows that are counted and not held all have numbers above every row ever held directly.

use std::collections::VecDeque;

/// What a lane holds.
pub(crate) trait Row {
    /// Its place in the lane's order.
    fn number(&self) -> i64;
}

/// See the module's text.
pub(crate) struct Window<T> {
    rows: VecDeque<T>,
    capacity: usize,
    /// Highest number that was held by a direct push.
    held: i64,
    /// Bounds of the last pages, `after < number <= end`: rows inside came with them. Neighbours are
    /// merged; what is older than the last few cannot be pushed any more.
    pages: VecDeque<(i64, i64)>,
    /// Highest number that was counted and not held, while some are.
    behind: Option<i64>,
    /// How many were counted and not held (an estimate after recovery).
    behind_count: u64,
}

/// A page that the lane's task should read from the store: `after < number <= upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageRequest {
    pub(crate) after: i64,
    pub(crate) upto: i64,
    pub(crate) limit: usize,
}

/// Page bounds remembered. A producer pushes microseconds after its commit, while each further pair of
/// bounds stands for a whole overflow of the window.
const PAGES_MAX: usize = 256;

impl<T: Row> Window<T> {
    pub(crate) fn new(capacity: usize) -> Window<T> {
        Window {
            rows: VecDeque::new(),
            capacity,
            held: 0,
            pages: VecDeque::new(),
            behind: None,
            behind_count: 0,
        }
    }

    /// After a restart: `count` open rows exist in the store, the highest is `upto`; nothing is held.
    pub(crate) fn start_behind(&mut self, upto: i64, count: u64) {
        self.rows.clear();
        self.held = 0;
        self.pages.clear();
        self.behind = (count > 0).then_some(upto);
        self.behind_count = count;
    }

    /// Forgets what is held and will read all open rows again: for a task that starts anew.
    pub(crate) fn restart(&mut self) {
        let upto = self.highest().max(self.behind.unwrap_or(0));
        let count = self.depth();
        self.start_behind(upto, count.max(1));
    }

    /// A durable row.
    pub(crate) fn push(&mut self, row: T) {
        let number = row.number();
        if self
            .pages
            .iter()
            .any(|(after, end)| (after + 1..=*end).contains(&number))
        {
            return; // a page brought it already
        }
        let must_hold = number < self.held;
        let room = self.behind.is_none() && self.rows.len() < self.capacity;
        if must_hold || room {
            self.held = self.held.max(number);
            self.insert(row);
        } else {
            self.behind = Some(self.behind.map_or(number, |highest| highest.max(number)));
            self.behind_count += 1;
        }
    }

    /// A row whose number is old: held at the end, outside the rules.
    pub(crate) fn inject(&mut self, row: T) {
        self.rows.push_back(row);
    }

    /// The highest number that was ever held, by push or by page.
    fn highest(&self) -> i64 {
        self.pages
            .back()
            .map_or(self.held, |(_, end)| self.held.max(*end))
    }

    fn cover(&mut self, after: i64, end: i64) {
        match self.pages.back_mut() {
            Some(last) if last.1 == after => last.1 = end,
            _ => self.pages.push_back((after, end)),
        }
        if self.pages.len() > PAGES_MAX {
            self.pages.pop_front();
        }
    }

    fn insert(&mut self, row: T) {
        let mut at = self.rows.len();
        while at > 0 && self.rows[at - 1].number() > row.number() {
            at -= 1;
        }
        self.rows.insert(at, row);
    }

    /// The page to read next, when rows are behind and the window has run low.
    pub(crate) fn page_request(&self) -> Option<PageRequest> {
        let upto = self.behind?;
        if self.rows.len() > self.capacity / 4 {
            return None;
        }
        Some(PageRequest {
            after: self.highest(),
            upto,
            limit: self.capacity - self.rows.len(),
        })
    }

    /// The answer to a page request.
    pub(crate) fn fill(&mut self, request: PageRequest, rows: Vec<T>) {
        let complete = rows.len() < request.limit;
        let end = match rows.last() {
            Some(last) if !complete => last.number(),
            _ => request.upto,
        };
        self.cover(request.after, end);
        self.behind_count = self.behind_count.saturating_sub(rows.len() as u64);
        self.rows.extend(rows);
        if complete && self.behind == Some(request.upto) {
            self.behind = None;
            self.behind_count = 0;
        }
    }

    /// Up to `most` rows from the front.
    pub(crate) fn take(&mut self, most: usize) -> Vec<T> {
        let count = most.min(self.rows.len());
        self.rows.drain(..count).collect()
    }

    /// Whether nothing waits, whatever is counted: counts of what is behind are estimates.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.behind.is_none()
    }

    /// Rows waiting, in memory and behind it.
    pub(crate) fn depth(&self) -> u64 {
        self.rows.len() as u64 + self.behind_count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Row for i64 {
        fn number(&self) -> i64 {
            *self
        }
    }

    #[test]
    fn rows_beyond_the_capacity_are_read_back_in_order() {
        let mut window = Window::new(4);
        for number in 1..=10 {
            window.push(number);
        }
        assert_eq!(window.depth(), 10);
        assert_eq!(window.take(4), [1, 2, 3, 4]);
        let request = window.page_request().unwrap();
        assert_eq!((request.after, request.upto, request.limit), (4, 10, 4));
        window.fill(request, vec![5, 6, 7, 8]);
        assert_eq!(window.take(9), [5, 6, 7, 8]);
        let request = window.page_request().unwrap();
        assert_eq!((request.after, request.upto), (8, 10));
        window.fill(request, vec![9, 10]);
        window.push(11);
        assert_eq!(window.take(9), [9, 10, 11]);
        assert_eq!(window.page_request(), None);
    }

    #[test]
    fn a_full_window_asks_for_no_page() {
        let mut window = Window::new(4);
        for number in 1..=10 {
            window.push(number);
        }
        assert_eq!(window.page_request(), None);
    }

    /// The store as the window's contract describes it, and producers that push late.
    #[derive(Clone, Debug)]
    enum Step {
        Commit,
        PushOldest,
        PushNewest,
        Take(usize),
        AskPage,
        AnswerPage,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Commit),
            3 => Just(Step::PushOldest),
            2 => Just(Step::PushNewest),
            2 => (1usize..6).prop_map(Step::Take),
            2 => Just(Step::AskPage),
            2 => Just(Step::AnswerPage),
        ]
    }

    proptest! {
        #[test]
        fn every_row_is_taken_exactly_once_whatever_the_interleaving(steps in prop::collection::vec(step(), 0..300)) {
            let mut window = Window::new(5);
            let (mut next, mut committed, mut unpushed, mut taken) = (1, Vec::new(), Vec::new(), Vec::new());
            let mut asked: Option<(PageRequest, Vec<i64>)> = None;
            let page = |request: PageRequest, committed: &[i64]| -> Vec<i64> {
                committed.iter().copied()
                    .filter(|number| (request.after + 1..=request.upto).contains(number))
                    .take(request.limit).collect()
            };
            for step in steps {
                match step {
                    Step::Commit => { committed.push(next); unpushed.push(next); next += 1; }
                    Step::PushOldest if !unpushed.is_empty() => window.push(unpushed.remove(0)),
                    Step::PushNewest => if let Some(number) = unpushed.pop() { window.push(number) },
                    Step::Take(most) => taken.extend(window.take(most)),
                    Step::AskPage if asked.is_none() => {
                        asked = window.page_request().map(|request| (request, page(request, &committed)));
                    }
                    Step::AnswerPage => if let Some((request, rows)) = asked.take() { window.fill(request, rows) },
                    _ => {}
                }
            }
            if let Some((request, rows)) = asked.take() { window.fill(request, rows) }
            for number in unpushed { window.push(number) }
            for _ in 0..1000 {
                taken.extend(window.take(100));
                match window.page_request() {
                    Some(request) => window.fill(request, page(request, &committed)),
                    None => break,
                }
            }
            taken.extend(window.take(1000));
            taken.sort_unstable();
            prop_assert_eq!(taken, committed);
        }
    }
}
