//! Values that arguments are written in: `50ms`, `10%`, `first:3`.

use std::time::Duration;

use bench::sink::{Fault, Misdeed, NakCode, When};

/// Reads `250ms`, `30s`, `5m`, `1h` or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of time; write us, ms, s, m or h, as in 250ms"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number and a unit, as in 250ms or 30s".to_owned())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| "that is longer than time goes".to_owned())
}

/// Reads `HOST:PORT` of a partner, such as `localhost:2575` or `[::1]:2575`.
pub(crate) fn host_port(text: &str) -> Result<String, String> {
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty() && !host.contains(char::is_whitespace))
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        _ => Err("write a host and a port from 1 to 65535, as in localhost:2575".to_owned()),
    }
}

/// Reads a rate: a number above 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("write a number of messages per second above 0".to_owned()),
    }
}

/// Reads when a fault has its turn: `always`, `every:10`, `first:3`, `each:2` (the first 2 attempts at
/// each message) or `10%`.
pub(crate) fn when(text: &str) -> Result<When, String> {
    const FORMS: &str = "write always, every:10, first:3, each:2 or 10%";
    if let Some(per_cent) = text.strip_suffix('%') {
        return match per_cent.parse::<f64>() {
            Ok(chance) if (0.0..=100.0).contains(&chance) => Ok(When::Chance(chance / 100.0)),
            _ => Err(format!("`{text}` is not between 0% and 100%")),
        };
    }
    let (word, number) = text.split_once(':').unwrap_or((text, ""));
    match (word, number) {
        ("always", "") => Ok(When::Always),
        ("every", n) => above_zero(n).map(When::Every),
        ("first", n) => above_zero(n).map(When::First),
        ("each", n) => above_zero(n)
            .and_then(|n| u32::try_from(n).map_err(|_| FORMS.to_owned()))
            .map(When::FirstOfEach),
        _ => Err(FORMS.to_owned()),
    }
}

fn above_zero(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("`{text}` is not a whole number above 0")),
    }
}

/// Reads a refusal: `AE`, `AR:first:3`, `CE:10%`.
pub(crate) fn nak(text: &str) -> Result<Fault, String> {
    let (code, turn) = text.split_once(':').unwrap_or((text, "always"));
    let code = match code.to_ascii_uppercase().as_str() {
        "AE" => NakCode::Ae,
        "AR" => NakCode::Ar,
        "CE" => NakCode::Ce,
        "CR" => NakCode::Cr,
        _ => {
            return Err(format!(
                "`{code}` is no refusal; write AE, AR, CE or CR, and when: AE:10%, AR:first:3"
            ));
        }
    };
    Ok(Fault {
        what: Misdeed::Nak(code),
        when: when(turn)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("50ms", Some(50_000)),
            ("250us", Some(250)),
            ("1.5s", Some(1_500_000)),
            ("2", Some(2_000_000)),
            ("2m", Some(120_000_000)),
            ("1h", Some(3_600_000_000)),
            ("", None),
            ("s", None),
            ("5d", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_micros), "{text}");
        }
    }

    #[test]
    fn turns_are_read() {
        for (text, expected) in [
            ("always", Some(When::Always)),
            ("every:10", Some(When::Every(10))),
            ("first:3", Some(When::First(3))),
            ("each:2", Some(When::FirstOfEach(2))),
            ("25%", Some(When::Chance(0.25))),
            ("", None),
            ("every", None),
            ("every:0", None),
            ("sometimes", None),
            ("101%", None),
            ("NaN%", None),
            ("always:1", None),
        ] {
            assert_eq!(when(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn refusals_name_a_code_and_a_turn() {
        for (text, expected) in [
            ("AE", Some((NakCode::Ae, When::Always))),
            ("ar:first:3", Some((NakCode::Ar, When::First(3)))),
            ("CE:10%", Some((NakCode::Ce, When::Chance(0.1)))),
            ("CR:every:2", Some((NakCode::Cr, When::Every(2)))),
            ("AA", None),
            ("AE:", None),
        ] {
            let expected = expected.map(|(code, when)| Fault {
                what: Misdeed::Nak(code),
                when,
            });
            assert_eq!(nak(text).ok(), expected, "{text}");
        }
    }
}
