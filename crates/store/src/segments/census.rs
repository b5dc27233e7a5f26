//! Counts over the whole store: every row is looked at.

use std::collections::BTreeMap;

use model::{Disposition, Stage};

use super::lanes::Span;
use super::source::{Owner, Source};
use super::view::View;
use crate::views::DeadLetterFilter;
use crate::{Census, Error};

const ALL: Span = Span {
    name: None,
    after: 0,
    upto: i64::MAX,
    limit: usize::MAX,
};

impl<S: Source> View<S> {
    /// Counts everything.
    pub(crate) fn census(&mut self) -> Result<Census, Error> {
        let mut census = Census::default();
        let mut dispositions: BTreeMap<Disposition, u64> = BTreeMap::new();
        for index in 0..self.source.catalog().segments.len() {
            let mut after = 0;
            loop {
                let stood = self.stood(index, after, i64::MAX, 20_000)?;
                let Some(&(last, _)) = stood.last() else { break };
                after = last;
                census.messages += stood.len() as u64;
                let mut in_flight = Vec::new();
                for (id, stands) in stood {
                    match stands {
                        Some(ended) if ended.is_final() => *dispositions.entry(ended).or_default() += 1,
                        _ => in_flight.push(id),
                    }
                }
                for stands in self.stands(&in_flight)?.into_values() {
                    *dispositions.entry(stands).or_default() += 1;
                }
            }
            census.sends += self.source.count_sends(index)?;
            // Outcomes of sends that retention removed are not counted.
            let first = self.source.catalog().segments[index].first;
            census.delivered += self.source.count_delivered(index, first)?;
            let older = self.source.foreign(index, Owner::Delivered, first)?;
            for (home, of) in self.homes(&older) {
                census.delivered += self.source.existing(home, Owner::Delivered, &of)?.len() as u64;
            }
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
