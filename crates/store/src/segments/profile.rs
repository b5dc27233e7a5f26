//! What is noted of a segment when it is sealed, so that a search can pass it over or know what to ask it for.

use std::collections::BTreeMap;

use model::{Disposition, NameId, Timestamp};
use serde::{Deserialize, Serialize};

/// Stretches of row numbers of which the times are noted, of one segment.
pub(crate) const BLOCKS: i64 = 16;
/// More different values than this are not listed: a search then reads the segment itself. Message types come
/// from partners, who may write what they like.
const LISTED_MAX: usize = 4_096;

/// A stretch of a segment's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// The number of its first message; it ends before the next block's.
    pub(crate) first: i64,
    /// No message in it was received earlier, or later.
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

/// Messages of one inbound and type (empty = none), in one block.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) block: i64,
    pub(crate) inbound: NameId,
    pub(crate) kind: String,
    pub(crate) count: u64,
    pub(crate) first: i64,
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

/// What a sealed segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Ascending.
    pub(crate) blocks: Vec<Block>,
    /// Messages by inbound and type; `None`: too many to list.
    pub(crate) kinds: Option<Vec<(NameId, String, u64)>>,
    /// Sends by destination; `None`: too many to list.
    pub(crate) destinations: Option<Vec<(NameId, u64)>>,
    /// Disposition rows by their code.
    pub(crate) dispositions: Vec<(i64, u64)>,
    /// No row holds a body: there is nothing to remove before whole messages go.
    #[serde(default)]
    pub(crate) bare: bool,
}

impl Profile {
    /// From what was counted; the shares in any order.
    pub(crate) fn new(
        shares: Vec<Share>,
        destinations: Vec<(NameId, u64)>,
        dispositions: Vec<(i64, u64)>,
        bare: bool,
    ) -> Profile {
        let mut blocks: BTreeMap<i64, Block> = BTreeMap::new();
        let mut kinds: BTreeMap<(NameId, String), u64> = BTreeMap::new();
        for share in shares {
            let block = blocks.entry(share.block).or_insert(Block {
                first: share.first,
                oldest: share.oldest,
                newest: share.newest,
            });
            block.first = block.first.min(share.first);
            block.oldest = block.oldest.min(share.oldest);
            block.newest = block.newest.max(share.newest);
            *kinds.entry((share.inbound, share.kind)).or_default() += share.count;
        }
        let kinds = kinds
            .into_iter()
            .map(|((inbound, kind), count)| (inbound, kind, count));
        Profile {
            blocks: blocks.into_values().collect(),
            kinds: listed(kinds.collect()),
            destinations: listed(destinations),
            dispositions,
            bare,
        }
    }

    /// The row numbers between which all messages lie that were received in this time; `first` and `end` are
    /// the segment's own. `None`: there is no such message.
    pub(crate) fn span(
        &self,
        since: Timestamp,
        until: Timestamp,
        first: i64,
        end: i64,
    ) -> Option<(i64, i64)> {
        let meets = |block: &Block| block.newest >= since.0 && block.oldest < until.0;
        let low = match self.blocks.iter().position(meets)? {
            0 => first,
            place => self.blocks[place].first,
        };
        let last = self.blocks.iter().rposition(meets)?;
        Some((low, self.blocks.get(last + 1).map_or(end, |next| next.first)))
    }

    /// Inbounds and types that these filters let through, with how many there are; `None`: not known.
    pub(crate) fn kinds(
        &self,
        inbound: Option<NameId>,
        prefix: Option<&str>,
    ) -> Option<impl Iterator<Item = &(NameId, String, u64)>> {
        let fits = move |(of, kind, _): &&(NameId, String, u64)| {
            inbound.is_none_or(|wanted| *of == wanted)
                && prefix.is_none_or(|wanted| !kind.is_empty() && kind.starts_with(wanted))
        };
        Some(self.kinds.as_ref()?.iter().filter(fits))
    }

    /// How many sends went there; `None`: not known.
    pub(crate) fn sends_to(&self, destination: NameId) -> Option<u64> {
        let listed = self.destinations.as_ref()?;
        let found = listed.iter().find(|(of, _)| *of == destination);
        Some(found.map_or(0, |(_, count)| *count))
    }

    /// How often it is written.
    pub(crate) fn count(&self, disposition: Disposition) -> u64 {
        let found = self
            .dispositions
            .iter()
            .find(|(code, _)| *code == disposition.code());
        found.map_or(0, |(_, count)| *count)
    }
}

fn listed<T>(values: Vec<T>) -> Option<Vec<T>> {
    (values.len() <= LISTED_MAX).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(block: i64, inbound: u32, kind: &str, times: (i64, i64)) -> Share {
        Share {
            block,
            inbound: NameId(inbound),
            kind: kind.to_owned(),
            count: 2,
            first: block * 100 + i64::from(inbound),
            oldest: times.0,
            newest: times.1,
        }
    }

    #[test]
    fn a_time_becomes_a_stretch_of_row_numbers_even_when_clocks_step_back() {
        let shares = vec![
            share(2, 1, "ADT^A01", (30, 39)),
            share(0, 2, "ADT^A01", (12, 20)),
            share(0, 1, "", (10, 19)),
            share(1, 1, "ADT^A08", (5, 40)),
        ];
        let profile = Profile::new(shares, Vec::new(), vec![(3, 8)], false);
        let span = |since, until| profile.span(Timestamp(since), Timestamp(until), 0, 900);
        assert_eq!(span(i64::MIN, i64::MAX), Some((0, 900)));
        assert_eq!(span(10, 11), Some((0, 201)));
        assert_eq!(span(21, 30), Some((101, 201)));
        assert_eq!(span(41, 50), None);
        assert_eq!(span(0, 5), None);
        let kinds = |inbound: Option<u32>, kind| {
            let found = profile.kinds(inbound.map(NameId), kind).unwrap();
            found.map(|(_, _, count)| *count).collect::<Vec<_>>()
        };
        assert_eq!(kinds(None, Some("ADT^A01")), [2, 2]);
        assert_eq!(kinds(Some(1), None), [2, 2, 2]);
        assert_eq!(kinds(Some(1), Some("ADT")), [2, 2]);
        assert_eq!(kinds(None, Some("ORU")), [0_u64; 0]);
        assert_eq!(profile.count(Disposition::Processed), 8);
        assert_eq!(profile.count(Disposition::Error), 0);
        assert_eq!(profile.sends_to(NameId(9)), Some(0));
    }

    #[test]
    fn a_profile_that_an_older_version_noted_promises_no_bare_segment() {
        let older = r#"{"blocks": [], "kinds": [], "destinations": null, "dispositions": [[3, 8]]}"#;
        let profile: Profile = serde_json::from_str(older).unwrap();
        assert!(!profile.bare && profile.count(Disposition::Processed) == 8);
    }

    #[test]
    fn what_is_too_much_to_list_is_not_known() {
        let shares = (0..LISTED_MAX as u32 + 1).map(|number| share(0, number, "A", (1, 1)));
        let profile = Profile::new(shares.collect(), Vec::new(), Vec::new(), false);
        assert!(profile.kinds(None, None).is_none());
        assert_eq!(profile.blocks.len(), 1);
    }
}
