//! `timer()`: an inbound that makes a message of its own at an interval or at times of a cron
//! expression.
//!
//! It fires only while its node leads. Times that pass while no node leads, or while a message waits to
//! be stored, are not made up for. A message that is refused is offered again until it is stored.

mod cron;
mod schedule;
mod source;

use std::time::Duration;

use model::connector::{Call, Param, ParamKind, Spec, Value};
use model::problem::Problem;

use crate::contract::{Connector, Sink, Source};
use crate::internal::wrong_direction;
use crate::options::Options;

use cron::Cron;
use schedule::Schedule;

/// The shortest interval: a timer is a clock, not a load generator.
const SHORTEST: Duration = Duration::from_millis(10);

/// The connector.
pub struct Timer;

impl Connector for Timer {
    fn spec(&self) -> Spec {
        use ParamKind::{Choice, Seconds, Text};
        Spec {
            name: "timer",
            summary: "Makes a message at an interval or at times of a cron expression.",
            inbound: Some(vec![
                Param::optional(
                    "every",
                    Seconds,
                    Value::None,
                    "Interval, in seconds. Give this or `cron`.",
                ),
                Param::optional(
                    "cron",
                    Text,
                    "",
                    "Five fields: minute hour day month weekday, such as `0 2 * * mon-fri`.",
                ),
                Param::optional(
                    "zone",
                    Choice(&["local", "utc"]),
                    "local",
                    "Whose clock `cron` goes by: the node's or UTC.",
                ),
                Param::required(
                    "text",
                    Text,
                    "The message. `{now}` becomes the time (YYYYMMDDHHMMSS), `{id}` an id of its own (at most 20 characters).",
                ),
            ]),
            outbound: None,
        }
    }

    fn source(&self, call: &Call) -> Result<Box<dyn Source>, Vec<Problem>> {
        let mut options = Options::of(call);
        let schedule = schedule(&mut options);
        let text = options.text("text");
        let (schedule, text) = options.finish(schedule.map(|schedule| (schedule, text)))?;
        Ok(Box::new(source::TimerSource { schedule, text }))
    }

    fn sink(&self, call: &Call) -> Result<Box<dyn Sink>, Vec<Problem>> {
        Err(wrong_direction(call, "outbound"))
    }
}

fn schedule(options: &mut Options<'_>) -> Option<Schedule> {
    let every = options.duration_or_off("every");
    match (every, options.text_or_empty("cron")) {
        (Some(interval), "") if interval >= SHORTEST => Some(Schedule::Every(interval)),
        (Some(_), "") => {
            options.problem(
                "`every` of timer() must be at least 0.01 seconds".to_owned(),
                "use a longer interval",
            );
            None
        }
        (None, "") => {
            options.problem(
                "timer() needs `every` or `cron`".to_owned(),
                "for example every = 60",
            );
            None
        }
        (Some(_), _) => {
            options.problem(
                "timer() takes `every` or `cron`, not both".to_owned(),
                "take one away",
            );
            None
        }
        (None, expression) => match Cron::parse(expression) {
            Ok(cron) if options.text_or_empty("zone") == "utc" => Some(Schedule::Utc(cron)),
            Ok(cron) => Some(Schedule::Local(cron)),
            Err(fault) => {
                options.problem(
                    format!("`cron` of timer(): {fault}"),
                    "write minute hour day month weekday, such as \"0 2 * * *\"",
                );
                None
            }
        },
    }
}
