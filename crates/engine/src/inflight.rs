//! What is in flight of each message, small enough for a backlog of millions.
//!
//! Nearly every message that waits is in one of two states: one step before it, or one send. Those cost a
//! few bits each; only what fans out, or has failed in part, has a record of its own.

use std::collections::HashMap;

use model::MessageId;
use roaring::RoaringTreemap;

use crate::finaliser::Track;

/// Tracks by message.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Messages with [`Track::RECEIVED`]: one step, nothing else.
    one_step: RoaringTreemap,
    /// Messages with one send, nothing failed. What else was reached does not matter any more.
    one_send: RoaringTreemap,
    /// All others.
    others: HashMap<MessageId, Track>,
}

const ONE_SEND: Track = Track {
    steps: 0,
    sends: 1,
    reached: false,
    unrouted: false,
    failed: false,
};

fn key(id: MessageId) -> u64 {
    id.raw().cast_unsigned()
}

impl InFlight {
    /// Takes a message's track out.
    pub(crate) fn remove(&mut self, id: MessageId) -> Option<Track> {
        if self.one_step.remove(key(id)) {
            return Some(Track::RECEIVED);
        }
        if self.one_send.remove(key(id)) {
            return Some(ONE_SEND);
        }
        self.others.remove(&id)
    }

    /// Puts a message's track in, in place of the one it had.
    pub(crate) fn insert(&mut self, id: MessageId, track: Track) {
        self.remove(id);
        // With one send left, the message ends as delivered or failed by that send alone.
        let settled = Track {
            reached: false,
            ..track
        };
        if track == Track::RECEIVED {
            self.one_step.insert(key(id));
        } else if settled == ONE_SEND {
            self.one_send.insert(key(id));
        } else {
            self.others.insert(id, track);
        }
    }

    pub(crate) fn contains(&self, id: MessageId) -> bool {
        self.one_step.contains(key(id)) || self.one_send.contains(key(id)) || self.others.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use model::RowId;
    use proptest::prelude::*;

    use super::*;

    fn track() -> impl Strategy<Value = Track> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (0..3u32, 0..3u32, flags).prop_map(|(steps, sends, (reached, unrouted, failed))| Track {
            steps,
            sends,
            reached,
            unrouted,
            failed,
        })
    }

    proptest! {
        #[test]
        fn it_gives_back_what_was_put_in(writes in prop::collection::vec((0..8i64, prop::option::of(track())), 0..60)) {
            let (mut compact, mut plain) = (InFlight::default(), HashMap::new());
            for (number, write) in writes {
                let id = MessageId(RowId((5 << 43) + number * 70_000));
                let (found, expected) = match write {
                    Some(track) => {
                        compact.insert(id, track);
                        plain.insert(id, track);
                        continue;
                    }
                    None => (compact.remove(id), plain.remove(&id)),
                };
                prop_assert_eq!(compact.contains(id), false);
                // One bit may be lost: it cannot change the verdict.
                prop_assert_eq!(found.map(|track| (track.steps, track.sends, track.failed, track.unrouted)),
                    expected.map(|track: Track| (track.steps, track.sends, track.failed, track.unrouted)));
                let reached = |track: Option<Track>| track.is_some_and(|track| track.reached);
                prop_assert!(reached(found) == reached(expected) || found == Some(ONE_SEND));
            }
            for id in plain.keys() {
                prop_assert!(compact.contains(*id));
            }
        }
    }

    #[test]
    fn a_million_waiting_messages_take_a_few_bits_each() {
        let mut waiting = InFlight::default();
        for number in 0..1_000_000 {
            let id = MessageId(RowId((7 << 43) + number * 5));
            waiting.insert(
                id,
                if number % 2 == 0 {
                    Track::RECEIVED
                } else {
                    ONE_SEND
                },
            );
        }
        assert!(waiting.others.is_empty());
        let bytes = waiting.one_step.serialized_size() + waiting.one_send.serialized_size();
        assert!(bytes < 3_000_000, "{bytes}");
    }
}
