//! When a timer fires next: an interval, or a cron expression in the node's zone or in UTC.

use std::time::Duration;

use chrono::{DateTime, Local, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};

use super::cron::{Cron, whole_minute};

/// When to fire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schedule {
    /// This long after the start, and again.
    Every(Duration),
    /// At the minutes of an expression, by the node's wall clock.
    Local(Cron),
    /// At the minutes of an expression, in UTC.
    Utc(Cron),
}

impl Schedule {
    /// How long to wait from `now`. `None` when no time fits.
    pub(crate) fn wait(&self, now: DateTime<Utc>) -> Option<Duration> {
        match self {
            Schedule::Every(interval) => Some(*interval),
            Schedule::Utc(cron) => until(cron, &Utc, now),
            Schedule::Local(cron) => until(cron, &Local, now),
        }
    }
}

fn until<Z: TimeZone>(cron: &Cron, zone: &Z, now: DateTime<Utc>) -> Option<Duration> {
    let mut local = whole_minute(now.with_timezone(zone).naive_local());
    // The hour that the clock repeats in autumn could give a time that has passed: look further.
    for _ in 0..120 {
        local = cron.next_after(local)?;
        let next = to_utc(zone, local)?;
        if next > now {
            return (next - now).to_std().ok();
        }
    }
    None
}

/// A wall-clock time as an instant. A time that the spring change leaves out becomes the first minute
/// that exists; of a time that comes twice the first is taken.
fn to_utc<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    (0..=240).find_map(
        |minutes| match zone.from_local_datetime(&(local + TimeDelta::minutes(minutes))) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => Some(moment.to_utc()),
            LocalResult::None => None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cron_timer_waits_until_its_minute() {
        let now = Utc.with_ymd_and_hms(2026, 11, 21, 1, 59, 30).unwrap();
        let schedule = Schedule::Utc(Cron::parse("0 2 * * *").unwrap());
        assert_eq!(schedule.wait(now), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_cron_timer_that_just_fired_waits_for_the_next_time() {
        let now = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
        let schedule = Schedule::Utc(Cron::parse("0 2 * * *").unwrap());
        assert_eq!(schedule.wait(now), Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn the_local_zone_never_gives_a_wait_of_zero() {
        let schedule = Schedule::Local(Cron::parse("* * * * *").unwrap());
        for minute in 0..600 {
            let now = Utc.with_ymd_and_hms(2026, 10, 24, 20, 0, 0).unwrap() + TimeDelta::minutes(minute);
            assert!(schedule.wait(now).unwrap() > Duration::ZERO);
        }
    }
}
