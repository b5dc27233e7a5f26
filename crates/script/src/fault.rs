//! From an interpreter's error to a [`Fault`]: place, one line, excerpt with call stack. The line never
//! quotes long values, since they may come from a message.

use model::problem::{Problem, Span};
use starlark::ErrorKind;
use starlark::codemap::FileSpan;

use crate::diagnostics;
use crate::host::Shared;
use crate::language::syntax;
use crate::limits;
use crate::{Fault, FaultKind};

/// The longest quoted value in a fault's text, in characters.
const QUOTE_MAX: usize = 80;
/// The longest text.
const TEXT_MAX: usize = 400;

/// The author's place for a place of the parsed text.
pub(crate) fn place(shared: &Shared, at: &FileSpan) -> Span {
    let (start, end) = syntax::range(at.span);
    match shared.sources.get(at.filename()) {
        Some(source) => source.place_parsed(start, end),
        None => Span {
            file: at.filename().to_owned(),
            line: 1,
            column: 1,
            width: 1,
        },
    }
}

/// A fault for an error that a function raised.
pub(crate) fn of_error(error: &starlark::Error, name: &str, shared: &Shared) -> Fault {
    let raw = error.without_diagnostic().to_string();
    let (kind, text) = match (limits::breach(&raw), error.kind()) {
        (Some(text), _) => (FaultKind::Limit, text),
        (None, ErrorKind::Fail(_)) => (FaultKind::Raised, tidy(raw.trim_start_matches("fail:").trim())),
        (None, _) => (FaultKind::Raised, tidy(&plain(&raw))),
    };
    let frames = error.call_stack().clone().into_frames();
    let at = error
        .span()
        .cloned()
        .or_else(|| frames.iter().rev().find_map(|frame| frame.location.clone()));
    let at = at.map(|at| place(shared, &at));
    let mut detail = excerpt(&text, at.as_ref(), shared);
    for frame in frames.iter().rev() {
        // The innermost frames are host functions, which have no place of their own.
        if let Some(called) = &frame.location {
            let span = place(shared, called);
            detail.push_str(&format!(
                "\n  `{}` called at {}:{}:{}",
                frame.name, span.file, span.line, span.column
            ));
        }
    }
    Fault {
        location: location(at.as_ref(), name),
        text,
        kind,
        detail,
    }
}

/// A fault that is about the function as a whole.
pub(crate) fn whole(kind: FaultKind, text: String, span: &Span, name: &str, shared: &Shared) -> Fault {
    let detail = excerpt(&text, Some(span), shared);
    Fault {
        location: location(Some(span), name),
        text,
        kind,
        detail,
    }
}

fn location(span: Option<&Span>, name: &str) -> String {
    match span {
        Some(span) => format!("{}:{}:{} in `{name}`", span.file, span.line, span.column),
        None => format!("`{name}`"),
    }
}

fn excerpt(text: &str, span: Option<&Span>, shared: &Shared) -> String {
    let mut problem = Problem::error("failed", text);
    problem.span = span.cloned();
    let mut problems = [problem];
    shared.sources.quote(&mut problems);
    diagnostics::render(&problems[0], false)
}

/// The interpreter's words, where plainer ones are at hand.
fn plain(text: &str) -> String {
    if text.starts_with("Key `") && text.ends_with("was not found") {
        // The key is a value of the message more often than not.
        return "the key is not in the dict: use `.get(key, default)`".to_owned();
    }
    if text == "Immutable" {
        return "this value is frozen: what stands at the top level of a file cannot be changed by a function".to_owned();
    }
    text.to_owned()
}

/// One line, without control characters and without long quotes.
pub(crate) fn tidy(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut out = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        if index % 2 == 1 && part.chars().count() > QUOTE_MAX {
            out.extend(part.chars().take(8));
            out.push('…');
        } else {
            out.push_str(part);
        }
    }
    if out.chars().count() > TEXT_MAX {
        out = out.chars().take(TEXT_MAX).collect::<String>() + "…";
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_without_long_quotes() {
        for (input, expected) in [
            ("a `b` c".to_owned(), "a `b` c".to_owned()),
            ("MSH|^\rPID|1".to_owned(), "MSH|^ PID|1".to_owned()),
            (format!("x `{}` y", "s".repeat(100)), "x `ssssssss…` y".to_owned()),
        ] {
            assert_eq!(tidy(&input), expected);
        }
        assert!(tidy(&"z".repeat(1_000)).chars().count() <= TEXT_MAX + 1);
    }

    #[test]
    fn a_missing_key_is_not_quoted() {
        assert_eq!(
            plain("Key `Smith` was not found"),
            "the key is not in the dict: use `.get(key, default)`"
        );
    }
}
