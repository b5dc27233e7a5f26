//! Dates as HL7 writes them: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]` (HL7 2.8, chapter 2A, DTM).
//! There is no clock here: a function takes the message's own times, or `msg.received_at`.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{
    DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc,
};
use model::Timestamp;
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::dict::AllocDict;
use starlark::values::{Heap, Value};

/// A point in time as text, in UTC.
pub(crate) fn iso(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_micros(at.0)
        .map(|at| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

/// A time as HL7 gives it, with the precision it had.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Moment {
    at: NaiveDateTime,
    /// How many digits of `YYYYMMDDHHMMSS` were given: 4, 6, 8, 10, 12 or 14.
    digits: usize,
    /// Digits after the point.
    fraction: usize,
    offset: Option<FixedOffset>,
}

const FORMS: &str =
    "an HL7 time is YYYY, YYYYMM, YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS[.SSSS], with an optional +ZZZZ";

/// Reads an HL7 time; ISO texts such as those of `msg.received_at` are read as well.
fn read(text: &str) -> anyhow::Result<Moment> {
    let text = text.trim();
    read_hl7(text)
        .or_else(|| read_iso(text))
        .ok_or_else(|| anyhow::anyhow!("this is no time: {FORMS}"))
}

fn read_hl7(text: &str) -> Option<Moment> {
    let (body, offset) = match text.rfind(['+', '-']).filter(|at| *at >= 4) {
        Some(at) => (text.get(..at)?, Some(read_offset(text.get(at..)?)?)),
        None => (text, None),
    };
    let (digits, fraction) = body.split_once('.').unwrap_or((body, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14)
        || !all_digits(digits)
        || !all_digits(fraction)
        || fraction.len() > 9
    {
        return None;
    }
    if !fraction.is_empty() && digits.len() != 14 {
        return None;
    }
    let part = |from: usize, to: usize, default: u32| {
        digits
            .get(from..to)
            .map_or(Some(default), |part| part.parse().ok())
    };
    let date = NaiveDate::from_ymd_opt(digits.get(..4)?.parse().ok()?, part(4, 6, 1)?, part(6, 8, 1)?)?;
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    let time = NaiveTime::from_hms_nano_opt(part(8, 10, 0)?, part(10, 12, 0)?, part(12, 14, 0)?, nanos)?;
    Some(Moment {
        at: date.and_time(time),
        digits: digits.len(),
        fraction: fraction.len(),
        offset,
    })
}

fn read_iso(text: &str) -> Option<Moment> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(Moment {
            at: at.naive_local(),
            digits: 14,
            fraction: 0,
            offset: Some(*at.offset()),
        });
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(Moment {
            at,
            digits: 14,
            fraction: 0,
            offset: None,
        });
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Moment {
        at: date.and_time(NaiveTime::MIN),
        digits: 8,
        fraction: 0,
        offset: None,
    })
}

fn read_offset(text: &str) -> Option<FixedOffset> {
    let digits = text
        .get(1..)
        .filter(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let seconds = digits[..2].parse::<i32>().ok()? * 3_600 + digits[2..].parse::<i32>().ok()? * 60;
    FixedOffset::east_opt(if text.starts_with('-') { -seconds } else { seconds })
}

fn write(moment: &Moment) -> String {
    let full = moment.at.format("%Y%m%d%H%M%S").to_string();
    let mut out = full.get(..moment.digits).unwrap_or(&full).to_owned();
    if moment.fraction > 0 {
        let nanos = format!("{:09}", moment.at.nanosecond() % 1_000_000_000);
        let _ = write!(out, ".{}", &nanos[..moment.fraction.min(9)]);
    }
    if let Some(offset) = moment.offset {
        out.push_str(&offset.to_string().replace(':', ""));
    }
    out
}

fn shift(text: &str, by: Option<TimeDelta>) -> anyhow::Result<String> {
    let mut moment = read(text)?;
    let shifted = by
        .and_then(|by| moment.at.checked_add_signed(by))
        .filter(|at| (0..=9999).contains(&at.year()));
    moment.at = shifted.ok_or_else(|| anyhow::anyhow!("the outcome is out of the calendar"))?;
    Ok(write(&moment))
}

/// The items of a format, which must all be known: the library would panic on others.
fn items(format: &str) -> anyhow::Result<Vec<Item<'_>>> {
    if format.len() > 200 {
        anyhow::bail!("the format is too long");
    }
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        anyhow::bail!("`{format}` is no format: use %Y %m %d %H %M %S, as in \"%Y-%m-%d\"");
    }
    Ok(items)
}

fn formatted(moment: &Moment, format: &str) -> anyhow::Result<String> {
    let items = items(format)?;
    let mut out = String::new();
    let offset = moment.offset.unwrap_or_else(|| chrono::Offset::fix(&Utc));
    let at = moment
        .at
        .and_local_timezone(offset)
        .single()
        .ok_or_else(|| anyhow::anyhow!("this time does not exist"))?;
    write!(out, "{}", at.format_with_items(items.into_iter()))
        .map_err(|_| anyhow::anyhow!("the format does not fit"))?;
    Ok(out)
}

fn years_between(birth: &Moment, at: &Moment) -> i32 {
    let (birth, at) = (birth.at.date(), at.at.date());
    let before = (at.month(), at.day()) < (birth.month(), birth.day());
    at.year() - birth.year() - i32::from(before)
}

/// Adds the functions. An empty text gives an empty text, since fields often are.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// Whether a text is an HL7 time.
    fn is_ts(#[starlark(require = pos)] text: &str) -> anyhow::Result<bool> {
        Ok(read_hl7(text.trim()).is_some())
    }

    /// The parts of an HL7 time: year, month, day, hour, minute, second, offset (minutes or None).
    fn parse_ts<'v>(#[starlark(require = pos)] text: &str, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        let moment = read(text)?;
        let offset = moment.offset.map_or_else(Value::new_none, |offset| {
            heap.alloc(offset.local_minus_utc() / 60)
        });
        let number = |number: u32| heap.alloc(number);
        Ok(heap.alloc(AllocDict([
            ("year", heap.alloc(moment.at.year())),
            ("month", number(moment.at.month())),
            ("day", number(moment.at.day())),
            ("hour", number(moment.at.hour())),
            ("minute", number(moment.at.minute())),
            ("second", number(moment.at.second())),
            ("offset", offset),
        ])))
    }

    /// An HL7 time in another form: `format_ts(t, "%Y-%m-%d")`.
    fn format_ts(text: &str, format: &str) -> anyhow::Result<String> {
        if text.is_empty() {
            return Ok(String::new());
        }
        formatted(&read(text)?, format)
    }

    /// An HL7 date (or time, when the format has one) from another form: `hl7_date("31/01/2026", "%d/%m/%Y")`.
    /// Without a format: the date of an HL7 or ISO time.
    fn hl7_date(text: &str, format: Option<&str>) -> anyhow::Result<String> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let Some(format) = format else {
            return Ok(read(text)?.at.format("%Y%m%d").to_string());
        };
        items(format)?;
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(at.format("%Y%m%d%H%M%S").to_string());
        }
        match NaiveDate::parse_from_str(text, format) {
            Ok(date) => Ok(date.format("%Y%m%d").to_string()),
            Err(_) => anyhow::bail!("the text is no date of the form `{format}`"),
        }
    }

    /// An HL7 time (`YYYYMMDDHHMMSS`) from an HL7 or ISO time, such as `msg.received_at`.
    fn hl7_ts(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(read(text)?.at.format("%Y%m%d%H%M%S").to_string())
    }

    /// A time some days later (or earlier), in the precision it had.
    fn add_days(text: &str, days: i32) -> anyhow::Result<String> {
        shift(text, TimeDelta::try_days(i64::from(days)))
    }

    /// A time some seconds later (or earlier), in the precision it had.
    fn add_seconds(text: &str, seconds: i32) -> anyhow::Result<String> {
        shift(text, TimeDelta::try_seconds(i64::from(seconds)))
    }

    /// Whole days from one date to another.
    fn days_between(start: &str, end: &str) -> anyhow::Result<i64> {
        Ok((read(end)?.at.date() - read(start)?.at.date()).num_days())
    }

    /// Whole years from a birth to a date.
    fn age_years(birth: &str, at: &str) -> anyhow::Result<i32> {
        Ok(years_between(&read(birth)?, &read(at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_in_their_own_precision() {
        for text in [
            "2026",
            "202601",
            "20260131",
            "2026013108",
            "202601310830",
            "20260131083059",
            "20260131083059.1234+0100",
            "20260131-0530",
        ] {
            assert_eq!(
                read(text).map(|moment| write(&moment)).ok().as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "20261301",
            "20260230",
            "2026013125",
            "yesterday",
            "202",
            "20260131083059.1234567890",
            "2026013é",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_and_years_are_counted() {
        for (text, days, expected) in [
            ("20240228", 1, "20240229"),
            ("20240301", -1, "20240229"),
            ("20261231235959+0100", 1, "20270101235959+0100"),
        ] {
            assert_eq!(
                shift(text, TimeDelta::try_days(days)).ok().as_deref(),
                Some(expected)
            );
        }
        for (birth, at, expected) in [
            ("19800229", "20260228", 45),
            ("19800229", "20260301", 46),
            ("20260101", "2026-01-31T08:00:00Z", 0),
        ] {
            assert_eq!(
                years_between(&read(birth).expect("a time"), &read(at).expect("a time")),
                expected
            );
        }
        assert!(shift("99991231", TimeDelta::try_days(1)).is_err());
    }

    #[test]
    fn formats_that_the_library_would_panic_on_are_refused() {
        let moment = read("20260131").expect("a time");
        assert_eq!(formatted(&moment, "%d.%m.%Y").ok().as_deref(), Some("31.01.2026"));
        assert!(formatted(&moment, "%Q").is_err());
        assert!(formatted(&moment, "%").is_err());
    }

    #[test]
    fn a_timestamp_shows_in_utc() {
        assert_eq!(
            iso(Timestamp(1_769_848_200_000_001)),
            "2026-01-31T08:30:00.000001Z"
        );
    }
}
