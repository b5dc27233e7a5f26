//! Cron expressions of five fields: minute, hour, day of the month, month, day of the week (0 or 7 =
//! Sunday). Pure: the time comes in as an argument.
//!
//! A field is `*`, a number, a name (`jan`, `mon`), a range, a list, each with an optional `/step`. As
//! in Vixie cron, a day fits when *either* day field fits if both are restricted.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, Timelike};

/// How far ahead a date is looked for: 29 February comes at least once in eight years.
const HORIZON_DAYS: u64 = 8 * 366;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A checked expression. Each field is a set of numbers, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

struct Field {
    what: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        what: "minute",
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        what: "hour",
        min: 0,
        max: 23,
        names: &[],
    },
    Field {
        what: "day of the month",
        min: 1,
        max: 31,
        names: &[],
    },
    Field {
        what: "month",
        min: 1,
        max: 12,
        names: &MONTHS,
    },
    Field {
        what: "day of the week",
        min: 0,
        max: 7,
        names: &WEEKDAYS,
    },
];

impl Cron {
    /// Reads an expression; the error says which field is wrong and what it may hold.
    pub(crate) fn parse(text: &str) -> Result<Cron, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(format!(
                "a cron expression has 5 fields, this one has {}",
                parts.len()
            ));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let mut week = weekdays.parse(weekday)?;
        if week & (1 << 7) != 0 {
            week |= 1;
        }
        let cron = Cron {
            minutes: minutes.parse(minute)?,
            hours: hours.parse(hour)?,
            days: days.parse(day)?,
            months: months.parse(month)?,
            weekdays: week,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        let some_day = NaiveDate::from_ymd_opt(2000, 1, 1).and_then(|date| date.and_hms_opt(0, 0, 0));
        match some_day.and_then(|start| cron.next_after(start)) {
            Some(_) => Ok(cron),
            None => Err("no such day ever comes (30 February?)".to_owned()),
        }
    }

    /// The first fitting minute strictly after `moment`.
    pub(crate) fn next_after(&self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        let today = moment.date();
        (0..=HORIZON_DAYS)
            .filter_map(|ahead| today.checked_add_days(Days::new(ahead)))
            .filter(|date| self.fits(*date))
            .find_map(|date| self.times(date).find(|time| *time > moment))
    }

    fn fits(&self, date: NaiveDate) -> bool {
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << date.weekday().num_days_from_sunday()) != 0;
        let day_fits = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        day_fits && self.months & (1 << date.month()) != 0
    }

    fn times(&self, date: NaiveDate) -> impl Iterator<Item = NaiveDateTime> {
        let Cron { minutes, hours, .. } = *self;
        (0..24)
            .filter(move |hour| hours & (1 << hour) != 0)
            .flat_map(move |hour| {
                (0..60)
                    .filter(move |minute| minutes & (1 << minute) != 0)
                    .filter_map(move |minute| date.and_hms_opt(hour, minute, 0))
            })
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',')
            .try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0))),
            None => (part, None),
        };
        let (first, last) = self
            .range(range, step.is_some())
            .ok_or_else(|| self.fault(part))?;
        let step = match step {
            None => 1,
            Some(Some(step)) => step,
            Some(None) => return Err(self.fault(part)),
        };
        Ok((first..=last)
            .step_by(step as usize)
            .fold(0, |set, number| set | 1 << number))
    }

    fn range(&self, text: &str, stepped: bool) -> Option<(u32, u32)> {
        if text == "*" {
            // Sunday once: 7 would count as a second one in a step.
            return Some((self.min, if self.max == 7 { 6 } else { self.max }));
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None => {
                let number = self.number(text)?;
                (number, if stepped { self.max } else { number })
            }
        };
        (first <= last).then_some((first, last))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(index) => u32::try_from(index).ok()? + self.min,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.min..=self.max).contains(&number).then_some(number)
    }

    fn fault(&self, part: &str) -> String {
        format!("`{part}` is no {} (from {} to {})", self.what, self.min, self.max)
    }
}

/// Seconds and below cut off.
pub(crate) fn whole_minute(moment: NaiveDateTime) -> NaiveDateTime {
    moment
        .with_second(0)
        .and_then(|moment| moment.with_nanosecond(0))
        .unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    #[test]
    fn the_next_time_is_the_first_fitting_minute_after_now() {
        for (cron, now, next) in [
            ("* * * * *", "2026-01-01 00:00", "2026-01-01 00:01"),
            ("*/15 * * * *", "2026-01-01 00:15", "2026-01-01 00:30"),
            ("0 2 * * *", "2026-01-01 02:00", "2026-01-02 02:00"),
            ("30 6 * * mon-fri", "2026-11-20 07:00", "2026-11-23 06:30"),
            ("0 0 1 jan *", "2026-01-01 00:00", "2027-01-01 00:00"),
            ("0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00"),
            ("0 12 * * 7", "2026-11-21 00:00", "2026-11-22 12:00"),
            ("0 12 * * 0", "2026-11-21 00:00", "2026-11-22 12:00"),
            ("5,10 8-9 * * *", "2026-01-01 08:10", "2026-01-01 09:05"),
            ("10/20 * * * *", "2026-01-01 00:31", "2026-01-01 00:50"),
            ("0 0 13 * fri", "2026-11-21 00:00", "2026-11-27 00:00"),
            ("59 23 31 12 *", "2026-12-31 23:58", "2026-12-31 23:59"),
        ] {
            assert_eq!(
                Cron::parse(cron).unwrap().next_after(at(now)),
                Some(at(next)),
                "{cron} after {now}"
            );
        }
    }

    #[test]
    fn a_wrong_expression_says_which_field_is_wrong() {
        for (cron, says) in [
            ("* * * *", "5 fields"),
            ("", "5 fields"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * * 13 *", "month"),
            ("* * * foo *", "month"),
            ("* * * * 8", "day of the week"),
            ("9-3 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("*/x * * * *", "minute"),
            ("1,, * * * *", "minute"),
            ("99999999999 * * * *", "minute"),
            ("0 0 30 2 *", "February"),
        ] {
            let fault = Cron::parse(cron).unwrap_err();
            assert!(fault.contains(says), "{cron}: {fault}");
        }
    }
}
