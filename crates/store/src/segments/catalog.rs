//! Which segments live, and which of them can hold what belongs to a row. Row numbers grow, so a
//! segment holds one range of them; what belongs to a row lies in its own segment or in later ones.

/// One live segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Names it.
    pub(crate) number: u32,
    /// No row in it has a smaller number.
    pub(crate) first: i64,
    /// When it was opened, in microseconds.
    pub(crate) opened_at: i64,
    /// No row is added any more and its indexes are built.
    pub(crate) sealed: bool,
    /// Nothing in it is open; only later rows can open something of it again.
    pub(crate) drained: bool,
    /// The smallest number that its rows refer to; `None` = not known (yet).
    pub(crate) oldest_reference: Option<i64>,
    /// No row in it holds a body.
    pub(crate) bare: bool,
}

/// All live segments, oldest first; the last one is written to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) segments: Vec<Segment>,
}

impl Catalog {
    /// Which segment holds the row `number`; `None` when it was dropped.
    pub(crate) fn home(&self, number: i64) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.first <= number)
            .checked_sub(1)
    }

    /// The first number that lies behind the segment at `index`.
    pub(crate) fn end(&self, index: usize) -> i64 {
        self.segments.get(index + 1).map_or(i64::MAX, |next| next.first)
    }

    /// Whether the segment at `index` may hold rows belonging to rows up to `highest` of the segment `home`.
    pub(crate) fn reaches(&self, index: usize, home: usize, highest: i64) -> bool {
        let oldest = || self.segments[index].oldest_reference;
        index == home || (index > home && oldest().is_none_or(|oldest| oldest <= highest))
    }

    /// Segments that may hold rows belonging to rows up to `highest` of the segment `home`, oldest first.
    pub(crate) fn reach_from(&self, home: usize, highest: i64) -> Vec<usize> {
        (home..self.segments.len())
            .filter(|&index| self.reaches(index, home, highest))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u32, first: i64, oldest_reference: Option<i64>) -> Segment {
        Segment {
            number,
            first,
            opened_at: 0,
            sealed: true,
            drained: false,
            oldest_reference,
            bare: false,
        }
    }

    #[test]
    fn a_row_is_looked_for_at_home_and_where_later_rows_reach_back_to_it() {
        let catalog = Catalog {
            segments: vec![
                segment(3, 100, Some(90)),
                segment(4, 200, Some(150)),
                segment(5, 300, Some(250)),
                segment(6, 400, None),
            ],
        };
        assert_eq!(catalog.home(99), None);
        assert_eq!(catalog.home(100), Some(0));
        assert_eq!(catalog.home(299), Some(1));
        assert_eq!(catalog.home(i64::MAX), Some(3));
        assert_eq!(catalog.end(1), 300);
        assert_eq!(catalog.end(3), i64::MAX);
        let reach = |number| catalog.reach_from(catalog.home(number).unwrap_or(0), number);
        assert_eq!(reach(120), [0, 3]);
        assert_eq!(reach(160), [0, 1, 3]);
        assert_eq!(reach(260), [1, 2, 3]);
        assert_eq!(reach(5), [0, 3]);
    }
}
