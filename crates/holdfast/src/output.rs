//! Everything the command line prints: text for people, JSON for machines, colour only on a terminal.
//!
//! The only place that writes to the standard streams. A reader that hangs up (`| head`) ends the
//! command quietly.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Something went right.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something to look at.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
/// Something of less weight.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Where a command's results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// An output for people, or for machines.
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Whether results are to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One line.
    pub(crate) fn line(self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// A line that a comparison added.
    pub(crate) fn added(self, line: &str) {
        self.line(&paint(AnsiColor::Green.on_default(), line));
    }

    /// A line that a comparison removed.
    pub(crate) fn removed(self, line: &str) {
        self.line(&paint(AnsiColor::Red.on_default(), line));
    }

    /// A text of several lines; ends with a line break.
    pub(crate) fn text(self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(format!("{text}{end}").as_bytes());
    }

    /// Bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        hang_up_quietly(io::stdout().lock().write_all(bytes));
    }

    /// One JSON document, laid out for reading.
    pub(crate) fn json(self, value: &impl Serialize) {
        self.write_json(serde_json::to_string_pretty(value));
    }

    /// One JSON document on one line, for streams of events.
    pub(crate) fn json_line(self, value: &impl Serialize) {
        self.write_json(serde_json::to_string(value));
    }

    /// A table with a heading; columns of numbers stand to the right.
    pub(crate) fn table(self, heading: &[&str], rows: Vec<Vec<String>>) {
        let numeric = |column: usize| {
            let figure = |text: &String| text.chars().all(|c| c.is_ascii_digit() || ".,-".contains(c));
            !rows.is_empty() && rows.iter().all(|row| row.get(column).is_some_and(figure))
        };
        let right: Vec<usize> = (0..heading.len()).filter(|&column| numeric(column)).collect();
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_header(heading)
            .add_rows(rows);
        for column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.text(&table.to_string());
    }

    /// Text on the error stream; ends with a line break.
    pub(crate) fn error_text(self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        hang_up_quietly(write!(anstream::stderr().lock(), "{text}{end}"));
    }

    /// A remark for people on the error stream; machines do not get it.
    pub(crate) fn remark(self, text: &str) {
        if !self.json {
            self.error_text(&paint(FAINT, text));
        }
    }

    /// Whether people watch the error stream on a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Whether text on the error stream may be coloured.
    pub(crate) fn colour_on_error(self) -> bool {
        !matches!(
            anstream::AutoStream::choice(&io::stderr()),
            anstream::ColorChoice::Never
        )
    }

    /// A progress bar on the error stream when that is a terminal and people read it; otherwise one
    /// that shows nothing. Without a length it is a spinner.
    pub(crate) fn progress(self, length: Option<u64>) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()),
                "{elapsed:>4} [{bar:32}] {percent:>3}% {msg}",
            ),
            None => (
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
                "{elapsed:>4} {spinner} {msg}",
            ),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// An error: what failed, each cause on its own line, and what to do about it.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let advice = error.downcast_ref::<Advice>();
        let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        // A cause that its parent has already quoted says nothing new.
        let mut place = 1;
        while place < causes.len() {
            if causes[place - 1].contains(causes[place].as_str()) {
                causes.remove(place);
            } else {
                place += 1;
            }
        }
        let hint = advice.map(|advice| advice.hint.as_ref());
        if self.json {
            self.json(
                &serde_json::json!({ "error": causes.first(), "causes": causes.get(1..), "hint": hint }),
            );
            return;
        }
        let mut text = String::new();
        for (place, cause) in causes.iter().enumerate() {
            let label = if place == 0 {
                paint(BAD, "error:")
            } else {
                "  because:".to_owned()
            };
            text.push_str(&format!("{label} {cause}\n"));
        }
        if let Some(hint) = hint {
            text.push_str(&format!("{} {hint}\n", paint(GOOD, "  hint:")));
        }
        self.error_text(&text);
    }

    fn write(self, bytes: &[u8]) {
        hang_up_quietly(anstream::stdout().lock().write_all(bytes));
    }

    fn write_json(self, rendered: serde_json::Result<String>) {
        match rendered {
            Ok(text) => self.text(&text),
            Err(error) => self.error_text(&format!("the result cannot be written as JSON: {error}")),
        }
    }
}

/// Text in a style; the stream takes the style off again where it does not belong.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A number with its thousands set apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An error that knows what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Advice {
    problem: Cow<'static, str>,
    hint: Cow<'static, str>,
    usage: bool,
}

impl Advice {
    /// Work that failed.
    pub(crate) fn new(problem: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Advice {
        Advice {
            problem: problem.into(),
            hint: hint.into(),
            usage: false,
        }
    }

    /// Arguments or configuration that cannot be used: exit code 2.
    pub(crate) fn usage(problem: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Advice {
        Advice {
            usage: true,
            ..Advice::new(problem, hint)
        }
    }

    /// Whether an error is the caller's use of the command rather than its work.
    pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Advice>().is_some_and(|advice| advice.usage)
    }
}

/// Nothing can be printed any more: a closed pipe is a reader that has enough, anything else a
/// failure that cannot even be told.
fn hang_up_quietly(written: io::Result<()>) {
    if let Err(error) = written {
        std::process::exit(if error.kind() == io::ErrorKind::BrokenPipe {
            0
        } else {
            1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn advice_keeps_its_place_in_a_chain_of_causes() {
        let usage = anyhow::Error::new(Advice::usage("no such kind", "try ADT")).context("cannot generate");
        let work = anyhow::Error::new(Advice::new("refused", "start it")).context("cannot send");
        let wrapped = anyhow::anyhow!("not found")
            .context(Advice::usage("cannot be read", "give a path"))
            .context("sorry");
        assert!(Advice::is_usage(&usage));
        assert!(Advice::is_usage(&wrapped));
        assert!(!Advice::is_usage(&work));
        assert!(!Advice::is_usage(&anyhow::anyhow!("other")));
    }
}
