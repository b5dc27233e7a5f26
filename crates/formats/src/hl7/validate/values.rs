//! What a value of a primitive data type may look like.

use crate::hl7::dictionary::Version;

/// Why a value is none of its data type; `None`: it is one, or the type has no rules.
pub(super) fn fault(data_type: &str, value: &str, version: Version) -> Option<&'static str> {
    let (good, wanted) = match data_type {
        "NM" => (
            is_number(value),
            "a number: digits with an optional sign and decimal point",
        ),
        "SI" => (digits(value) && value.len() <= 4, "a number from 0 to 9999"),
        "DT" => (is_date(value), "a date: YYYY, YYYYMM or YYYYMMDD"),
        "TM" => (is_time(value), "a time: HH[MM[SS[.SSSS]]][+/-ZZZZ]"),
        "TS" | "DTM" => (
            is_date_time(value),
            "a date and time: YYYY[MM[DD[HH[MM[SS[.SSSS]]]]]][+/-ZZZZ]",
        ),
        // From 2.7 on some coded fields became composites; then the field is not checked as ID at all.
        "ID" if version < Version::V2_7 => (!value.chars().any(char::is_control), "a code"),
        _ => (true, ""),
    };
    (!good).then_some(wanted)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    match text.split_once('.') {
        // `.5` and `5.` are seen and are numbers; a lone point is none.
        Some((whole, part)) => {
            (digits(whole) || whole.is_empty())
                && (digits(part) || part.is_empty())
                && !(whole.is_empty() && part.is_empty())
        }
        None => digits(text),
    }
}

/// The number in `text[from..to]`, all digits.
fn number(text: &str, from: usize, to: usize) -> Option<u32> {
    let part = text.get(from..to).filter(|part| digits(part))?;
    part.parse().ok()
}

fn is_date(text: &str) -> bool {
    if !digits(text) {
        return false;
    }
    let Some(year) = number(text, 0, 4).filter(|year| *year > 0) else {
        return false;
    };
    match text.len() {
        4 => true,
        6 => number(text, 4, 6).is_some_and(|month| days(year, month) > 0),
        8 => number(text, 4, 6)
            .zip(number(text, 6, 8))
            .is_some_and(|(month, day)| day >= 1 && day <= days(year, month)),
        _ => false,
    }
}

/// Days of a month; 0 for a month that does not exist.
fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Splits off `+ZZZZ` or `-ZZZZ`; `None` when there is a sign without a right offset.
fn without_offset(text: &str) -> Option<&str> {
    let Some(at) = text.find(['+', '-']) else {
        return Some(text);
    };
    let (rest, offset) = text.split_at(at);
    let hours = number(offset, 1, 3)?;
    let minutes = number(offset, 3, 5)?;
    (offset.len() == 5 && hours <= 15 && minutes < 60).then_some(rest)
}

fn is_time(text: &str) -> bool {
    without_offset(text).is_some_and(is_clock)
}

/// `HH[MM[SS[.S[S[S[S]]]]]]`
fn is_clock(text: &str) -> bool {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let right_fraction =
        fraction.is_none_or(|fraction| digits(fraction) && fraction.len() <= 4 && whole.len() == 6);
    let part = |from, to, below| whole.len() < to || number(whole, from, to).is_some_and(|n| n < below);
    // A minute may have a leap second.
    right_fraction && matches!(whole.len(), 2 | 4 | 6) && part(0, 2, 24) && part(2, 4, 60) && part(4, 6, 61)
}

/// `YYYY[MM[DD[HH[MM[SS[.SSSS]]]]]][+/-ZZZZ]`
pub(crate) fn is_date_time(text: &str) -> bool {
    let Some(text) = without_offset(text) else {
        return false;
    };
    match text.get(..8) {
        Some(date) if text.len() > 8 => is_date(date) && is_clock(&text[8..]),
        _ => is_date(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_from_things_that_look_like_them() {
        let good = [
            ("NM", "0 12 -1 +3.5 .5 5. 007"),
            ("SI", "0 1 9999"),
            ("DT", "2024 202402 20240229 19000228"),
            ("TM", "00 2359 235960 120000.1234 1200+0100 12-0530"),
            (
                "TS",
                "2024 20240229 2024022912 202402291230 20240229123059.1234-0500 2024+0100",
            ),
            ("ST", "anything at_all é"),
        ];
        for (data_type, values) in good {
            for value in values.split(' ') {
                assert_eq!(
                    fault(data_type, value, Version::V2_5_1),
                    None,
                    "{data_type} {value}"
                );
            }
        }
        let bad = [
            ("NM", "1e5 1,5 . - abc 1.2.3 ٣"),
            ("SI", "-1 10000 1.0 x"),
            (
                "DT",
                "24 20241301 20230229 19000229 2024-02-29 20240230 00000101 2024022 20240200",
            ),
            ("TM", "1 2400 1260 120000.12345 12:00 1200.5 12+1 12+9900"),
            (
                "TS",
                "20240229T12 202402292460 2024022912305 20240229123059.12345 20240229+01 jetzt 20240a29 éééééééé9",
            ),
        ];
        for (data_type, values) in bad {
            for value in values.split(' ') {
                assert!(
                    fault(data_type, value, Version::V2_5_1).is_some(),
                    "{data_type} {value}"
                );
            }
        }
    }
}
