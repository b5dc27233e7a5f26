//! Reads the options of a checked call into settings, and gathers every problem instead of stopping at
//! the first. The authoring layer has checked the types already; this checks ranges and meanings.

use std::time::Duration;

use model::connector::{Call, Value};
use model::problem::Problem;

/// Reads one call.
pub(crate) struct Options<'a> {
    call: &'a Call,
    problems: Vec<Problem>,
}

impl<'a> Options<'a> {
    pub(crate) fn of(call: &'a Call) -> Self {
        Options {
            call,
            problems: Vec::new(),
        }
    }

    /// Records a problem at the place of the call.
    pub(crate) fn problem(&mut self, message: String, suggestion: &str) {
        self.problems.push(
            Problem::error("bad-option", message)
                .at(self.call.span.clone())
                .suggest(suggestion),
        );
    }

    fn complain(&mut self, name: &str, must: &str, suggestion: &str) {
        self.problem(
            format!("`{name}` of {}() must be {must}", self.call.connector),
            suggestion,
        );
    }

    /// The settings, if nothing was wrong.
    pub(crate) fn finish<T>(self, settings: Option<T>) -> Result<T, Vec<Problem>> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => Err(self.problems),
        }
    }

    /// A text that must not be empty.
    pub(crate) fn text(&mut self, name: &str) -> String {
        let text = self.call.text(name).to_owned();
        if text.trim().is_empty() {
            self.complain(
                name,
                "a text that is not empty",
                &format!("give {name} = \"...\""),
            );
        }
        text
    }

    /// A text that may be empty (an option left off).
    pub(crate) fn text_or_empty(&self, name: &str) -> &'a str {
        self.call.text(name)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.call.flag(name)
    }

    pub(crate) fn list(&self, name: &str) -> &'a [String] {
        self.call.list(name)
    }

    /// A TCP port. `zero` = the system may choose.
    pub(crate) fn port(&mut self, name: &str, zero: bool) -> u16 {
        let lowest = if zero { 0 } else { 1 };
        match self.call.int(name).and_then(|port| u16::try_from(port).ok()) {
            Some(port) if port >= lowest => port,
            _ => {
                self.complain(
                    name,
                    "a port from 1 to 65535",
                    "use a port that no other connection listens on",
                );
                0
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, name: &str, min: usize, max: usize) -> usize {
        match self
            .call
            .int(name)
            .and_then(|number| usize::try_from(number).ok())
        {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                self.complain(
                    name,
                    &format!("from {min} to {max}"),
                    "choose a number within these bounds",
                );
                min
            }
        }
    }

    /// A duration above zero and at most a day.
    pub(crate) fn duration(&mut self, name: &str) -> Duration {
        self.duration_or_off(name).unwrap_or_else(|| {
            self.complain(name, "a number of seconds above 0", "for example 30");
            Duration::from_secs(30)
        })
    }

    /// A duration of at most a day; 0 and `None` switch it off.
    pub(crate) fn duration_or_off(&mut self, name: &str) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(86_400);
        if matches!(self.call.options.get(name), Some(Value::Micros(micros)) if *micros < 0) {
            self.complain(name, "0 seconds or more", "a negative duration has no meaning");
        }
        match self.call.duration(name) {
            Some(duration) if duration > DAY => {
                self.complain(name, "at most 86400 seconds", "a day is the longest");
                Some(DAY)
            }
            Some(Duration::ZERO) | None => None,
            set => set,
        }
    }
}
