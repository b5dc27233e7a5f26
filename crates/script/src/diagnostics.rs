//! Shows a problem to a person: file, line, a caret under the fault and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use model::problem::{Problem, Severity, Span};

/// One problem as text of several lines, without an end of line. `color` adds ANSI colours.
pub fn render(problem: &Problem, color: bool) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code);
    let mut group = match (&problem.span, &problem.source_line) {
        (Some(span), Some(line)) => title.element(
            Snippet::source(line.as_str())
                .path(span.file.as_str())
                .line_start(usize::try_from(span.line).unwrap_or(1))
                .annotation(AnnotationKind::Primary.span(bytes(line, span))),
        ),
        _ => Group::with_title(title),
    };
    if let Some(suggestion) = &problem.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let shown = renderer.render(&[group]);
    match (&problem.span, &problem.source_line) {
        (Some(span), None) => format!("{shown}\n --> {}:{}:{}", span.file, span.line, span.column),
        _ => shown,
    }
}

/// The byte range of a span within its line.
fn bytes(line: &str, span: &Span) -> std::ops::Range<usize> {
    let at = |column: usize| {
        line.char_indices()
            .nth(column)
            .map_or(line.len(), |(byte, _)| byte)
    };
    let start = usize::try_from(span.column).unwrap_or(1).saturating_sub(1);
    let width = usize::try_from(span.width).unwrap_or(1).max(1);
    at(start)..at(start.saturating_add(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_file_line_caret_and_suggestion() {
        let mut problem = Problem::error("unknown-handler", "no handler is named `acme_adt_handlr`")
            .at(Span {
                file: "config/adt.star".into(),
                line: 7,
                column: 13,
                width: 17,
            })
            .suggest("did you mean `acme_adt_handler`?");
        problem.source_line = Some("    return [\"acme_adt_handlr\"]".into());
        insta::assert_snapshot!(render(&problem, false), @r#"
        error[unknown-handler]: no handler is named `acme_adt_handlr`
         --> config/adt.star:7:13
          |
        7 |     return ["acme_adt_handlr"]
          |             ^^^^^^^^^^^^^^^^^
          |
          = help: did you mean `acme_adt_handler`?
        "#);
    }

    #[test]
    fn a_problem_without_a_place_is_still_shown() {
        let problem = Problem::warning("empty", "nothing is declared");
        assert_eq!(render(&problem, false), "warning[empty]: nothing is declared");
        let placed = problem.at(Span {
            file: "a".into(),
            line: 9,
            column: 1,
            width: 1,
        });
        assert!(render(&placed, true).contains("a:9:1"));
    }
}
