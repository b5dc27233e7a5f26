//! Prints problems of a configuration: all of them, each with its place.

use std::process::ExitCode;

use model::problem::{Problem, Severity};

use crate::output::Output;

/// Exit code for a configuration that is refused.
pub(crate) const REFUSED: u8 = 2;

/// Prints the problems and a count; the exit code says refused.
pub(crate) fn refuse(out: &Output, problems: &[Problem]) -> ExitCode {
    show(out, problems);
    ExitCode::from(REFUSED)
}

/// Prints problems: on the error stream for people, as one JSON array for machines.
pub(crate) fn show(out: &Output, problems: &[Problem]) {
    if out.is_json() {
        out.json(&serde_json::json!({ "problems": problems }));
        return;
    }
    for problem in problems {
        out.error_text(&script::diagnostics::render(problem, out.colour_on_error()));
    }
    out.error_text(&summary(problems));
}

/// `2 errors, 1 warning`.
pub(crate) fn summary(problems: &[Problem]) -> String {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let warnings = problems.len() - errors;
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"))
}
