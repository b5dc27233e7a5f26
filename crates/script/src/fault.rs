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
pub(crate) fn of_error(error: &starlark::Error, name: &str, declared: &Span, shared: &Shared) -> Fault {
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
    // A limit has no place of its own: the function's stands in.
    let at = Some(at.map_or_else(|| declared.clone(), |at| place(shared, &at)));
    let mut detail = excerpt(&text, at.as_ref(), shared);
    for frame in frames.iter().rev() {
        let called = frame.location.as_ref().map(|called| place(shared, called));
        // The call that failed is in the excerpt already.
        if let Some(called) = called.filter(|called| Some(called) != at.as_ref()) {
            let line = format!("{}:{}:{}", called.file, called.line, called.column);
            detail.push_str(&format!("\n  `{}` called at {line}", frame.name));
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

/// What the interpreter says (how it begins, what it holds) and what we say instead: its own words quote
/// values, and values come from messages.
const PLAIN: &[(&str, &str, &str)] = &[
    (
        "Key `",
        "not",
        "the key is not in the dict: use `.get(key, default)`",
    ),
    (
        "Cannot parse `",
        "integer",
        "the text is not a whole number: use `to_int(text, default)`",
    ),
    (
        "",
        "is not a valid number",
        "the text is not a number: use `to_float(text, default)`",
    ),
    ("float()", "too large", "the number is too large"),
    (
        "Substring '",
        "",
        "the text does not hold what is looked for: use `.find(text)`",
    ),
    (
        "Element '",
        "",
        "the list does not hold the element: ask with `in` first",
    ),
    (
        "`",
        "` not found in `",
        "the set does not hold the element: ask with `in` first",
    ),
    ("Unknown enum element", "", "the enum does not have this element"),
    (
        "Float `",
        "exact integer",
        "the number has a fraction: use `round(number)`",
    ),
    ("", "by zero", "division by zero"),
    ("ord()", "", "`ord` wants one character"),
    ("chr()", "", "`chr` wants the number of a character"),
    (
        "bytes()",
        "",
        "`bytes` wants a text or a list of numbers from 0 to 255",
    ),
    ("byte value", "", "a byte goes from 0 to 255"),
    ("dict()", "", "`dict` wants pairs"),
    ("Found a non-pair", "", "`dict` wants pairs"),
    ("Index `", "out of bound", "the index is out of bounds"),
    (
        "Immutable",
        "",
        "this value is frozen: what stands at the top level of a file cannot be changed by a function",
    ),
];

/// The interpreter's words without values, and plainer where possible.
fn plain(text: &str) -> String {
    for (begins, holds, instead) in PLAIN {
        if text.starts_with(begins) && text.contains(holds) {
            return (*instead).to_owned();
        }
    }
    // "Value `Smith` of type `string` does not match ...": from the type on.
    if let Some((_, rest)) = text
        .strip_prefix("Value `")
        .and_then(|rest| rest.split_once("` of type `"))
    {
        return format!("a value of type `{rest}");
    }
    // "... got `string (repr: "Smith")`": without the value.
    match text.split_once(" (repr:") {
        Some((kept, _)) => format!("{kept}`"),
        None => text.to_owned(),
    }
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
