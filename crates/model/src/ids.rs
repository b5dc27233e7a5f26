//! Identifiers. Every queue row carries one number: the leader's epoch in the high bits and the
//! leader's own counter in the low ones, so numbers never collide across leaders and their order is
//! the order in which the leader wrote them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lease::Epoch;

/// Bits of a row number that hold the counter; the 20 bits above them hold the epoch.
pub const COUNTER_BITS: u32 = 43;

/// The number of a queue row of any stage. Its text form is `epoch-counter`, for example `3-1042`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RowId(pub i64);

impl RowId {
    /// Below every row that can exist: the start of a scan.
    pub const ZERO: RowId = RowId(0);
    /// Above every row that can exist: the end of a scan.
    pub const MAX: RowId = RowId(i64::MAX);

    /// Packs an epoch and a counter (which must be below 2^43).
    pub fn pack(epoch: Epoch, counter: u64) -> RowId {
        debug_assert!(counter < 1 << COUNTER_BITS);
        RowId((i64::from(epoch.0) << COUNTER_BITS) | (counter as i64))
    }

    /// The epoch in which the row was written.
    pub fn epoch(self) -> Epoch {
        Epoch((self.0 >> COUNTER_BITS) as u32)
    }

    /// The leader's counter within that epoch.
    pub fn counter(self) -> u64 {
        (self.0 as u64) & ((1 << COUNTER_BITS) - 1)
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch().0, self.counter())
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a row number.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an id: ids look like `3-1042` (epoch, counter)")]
pub struct ParseIdError(String);

impl FromStr for RowId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = || ParseIdError(text.to_owned());
        let (epoch, counter) = text.split_once('-').ok_or_else(bad)?;
        let epoch: u32 = epoch.parse().map_err(|_| bad())?;
        let counter: u64 = counter.parse().map_err(|_| bad())?;
        if epoch >= 1 << 20 || counter >= 1 << COUNTER_BITS {
            return Err(bad());
        }
        Ok(RowId::pack(Epoch(epoch), counter))
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! row_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub RowId);

        impl $name {
            /// The raw number, as the store keeps it.
            pub fn raw(self) -> i64 {
                self.0.0
            }

            /// From the raw number, as the store keeps it.
            pub fn from_raw(raw: i64) -> Self {
                Self(RowId(raw))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.parse().map(Self)
            }
        }
    };
}

row_newtype! {
    /// A message: the row that its arrival wrote to the `ingress` stage.
    MessageId
}
row_newtype! {
    /// One send of one message to one destination: a row of the `outbound` stage.
    SendId
}

/// A connection's, router's or handler's name, as the store's dictionary numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_number_survives_its_text_form() {
        let id = RowId::pack(Epoch(3), 1042);
        assert_eq!(id.to_string(), "3-1042");
        assert_eq!("3-1042".parse::<RowId>().unwrap(), id);
    }

    #[test]
    fn rows_of_a_later_epoch_sort_after_all_rows_of_an_earlier_one() {
        assert!(RowId::pack(Epoch(4), 0) > RowId::pack(Epoch(3), (1 << COUNTER_BITS) - 1));
    }

    #[test]
    fn nonsense_is_not_a_row_number() {
        for text in ["", "3", "3-", "-1", "3-x", "1048576-1", "1-8796093022208"] {
            assert!(text.parse::<RowId>().is_err(), "{text}");
        }
    }
}
