//! The running timer.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Local, Utc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::contract::{Received, Source, SourceContext, SourceError};

use super::schedule::Schedule;

/// Pause before a refused message is offered again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct TimerSource {
    pub(crate) schedule: Schedule,
    pub(crate) text: String,
}

#[async_trait]
impl Source for TimerSource {
    async fn bind(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    async fn run(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let mut next = Instant::now();
        loop {
            next = self.following(next)?;
            tokio::select! {
                () = context.stop.cancelled() => return Ok(()),
                () = sleep_until(next) => self.fire(&context).await,
            }
            if context.stop.is_cancelled() {
                return Ok(());
            }
        }
    }
}

impl TimerSource {
    /// The instant to fire at, after `last`. An interval keeps its beat, and skips beats that passed.
    fn following(&self, last: Instant) -> Result<Instant, SourceError> {
        let now = Instant::now();
        if let Schedule::Every(interval) = self.schedule {
            let mut next = last + interval;
            if next < now {
                let missed = (now - last).as_nanos() / interval.as_nanos().max(1);
                next = last + interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX)) + interval;
            }
            return Ok(next);
        }
        let wait = self.schedule.wait(Utc::now()).ok_or_else(|| SourceError {
            doing: "looking for the next time of the timer".to_owned(),
            advice: "no time fits the cron expression; correct it and reload".to_owned(),
            source: None,
        })?;
        Ok(now + wait)
    }

    async fn fire(&self, context: &SourceContext) {
        let body = fill(&self.text, Utc::now());
        let received = Received {
            body: body.into_bytes().into(),
            source: Some("timer".into()),
            parent: None,
        };
        loop {
            match context.intake.accept(vec![received.clone()]).await.pop() {
                Some(Ok(_)) => return,
                Some(Err(refused)) => {
                    tracing::debug!(connection = %context.name, %refused, "timer message not stored, trying again");
                    *context.status.last_fault.lock() = Some(refused.to_string());
                }
                None => return,
            }
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = sleep(REFUSED_PAUSE) => {}
            }
        }
    }
}

/// Fills the template. The id is the microsecond of firing: at most 17 characters, unique per timer.
fn fill(text: &str, now: DateTime<Utc>) -> String {
    text.replace(
        "{now}",
        &now.with_timezone(&Local).format("%Y%m%d%H%M%S").to_string(),
    )
    .replace("{id}", &format!("T{}", now.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn the_template_gets_a_time_and_an_id_that_fits_msh_10() {
        let now = Utc.with_ymd_and_hms(2026, 11, 21, 1, 59, 30).unwrap();
        let text = fill("MSH|^~\\&|||||{now}||ADT^A01|{id}|P|2.5\r", now);
        let fields: Vec<&str> = text.split('|').collect();
        assert_eq!(fields[6].len(), 14);
        assert_eq!(fields[9], "T1795226370000000");
        assert!(fields[9].len() <= 20);
    }
}
