//! An instant as the wire shows it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, written as RFC 3339 in UTC with microseconds: `2026-02-01T08:30:00.000000Z`. Read as that,
/// with any offset, or as microseconds since 1970 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub Timestamp);

/// A text that is no instant.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a time: write RFC 3339 (2026-02-01T08:30:00Z) or microseconds since 1970")]
pub struct NotATime(String);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{}", self.0.0), // beyond the calendar: the number reads back as well
        }
    }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Ok(micros) = text.parse::<i64>() {
            return Ok(Time(Timestamp(micros)));
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| NotATime(text.to_owned()))?;
        Ok(Time(Timestamp(parsed.timestamp_micros())))
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Time(timestamp)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_form_that_is_written() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("2026-02-01T08:30:00.000250Z", 1_769_934_600_000_250),
            ("1769934600000250", 1_769_934_600_000_250),
            ("9223372036854775807", i64::MAX),
        ];
        for (text, micros) in cases {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.0, Timestamp(micros), "{text}");
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_time_says_what_one_looks_like() {
        for text in ["", "yesterday", "2026-02-01", "2026-02-30T00:00:00Z"] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{error}");
        }
    }
}
