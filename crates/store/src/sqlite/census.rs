//! Counts over the whole store: every row is looked at.

use std::collections::BTreeMap;

use model::{Disposition, Stage};

use super::lanes::Span;
use super::view::View;
use crate::rows::OutcomeResult;
use crate::views::DeadLetterFilter;
use crate::{Census, Error};

const ALL: Span = Span {
    name: None,
    after: 0,
    upto: i64::MAX,
    limit: usize::MAX,
};

impl View {
    /// Counts everything.
    pub(super) fn census(&mut self) -> Result<Census, Error> {
        let mut census = Census::default();
        let mut dispositions: BTreeMap<Disposition, u64> = BTreeMap::new();
        for index in 0..self.catalog.segments.len() {
            let mut after = 0;
            loop {
                let standings = self.standings(index, after, i64::MAX, 20_000)?;
                let Some(&(last, _)) = standings.last() else { break };
                after = last;
                census.messages += standings.len() as u64;
                for (id, standing) in standings {
                    let stands = match standing {
                        Some(ended) if ended.is_final() => ended,
                        _ => self.stands(id)?,
                    };
                    *dispositions.entry(stands).or_default() += 1;
                }
            }
            census.sends += self.count(index, "SELECT count(*) FROM outbound", 0)?;
            // Outcomes of sends that were dropped with their segment are not counted.
            census.delivered += self.delivered(index)?;
        }
        census.dispositions = dispositions.into_iter().collect();
        census.open = vec![
            (Stage::Ingress, self.open_ingress(ALL)?.len() as u64),
            (Stage::Routed, self.open_routed(ALL)?.len() as u64),
            (Stage::Outbound, self.open_sends(ALL)?.len() as u64),
        ];
        census.dead_letters = self.count_dead_letters()?;
        Ok(census)
    }

    fn count(&mut self, index: usize, sql: &str, lowest: i64) -> Result<u64, Error> {
        let values: &[&dyn rusqlite::ToSql] = if sql.contains("?1") { &[&lowest] } else { &[] };
        let count: Option<i64> = self.row(index, sql, values, |row| row.get(0))?;
        Ok(count.unwrap_or(0) as u64)
    }

    /// Sends whose outcome, written in the segment at `index`, is delivered.
    fn delivered(&mut self, index: usize) -> Result<u64, Error> {
        let first = self.catalog.segments.first().map_or(0, |segment| segment.first);
        let sql = format!(
            "SELECT count(DISTINCT send) FROM outcome WHERE result = {} AND send >= ?1",
            OutcomeResult::Delivered.code()
        );
        self.count(index, &sql, first)
    }

    fn count_dead_letters(&mut self) -> Result<u64, Error> {
        let mut filter = DeadLetterFilter {
            limit: 10_000,
            ..DeadLetterFilter::default()
        };
        let mut count = 0;
        loop {
            let page = self.dead_letters(&filter)?;
            count += page.items.len() as u64;
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(count),
            }
        }
    }
}
