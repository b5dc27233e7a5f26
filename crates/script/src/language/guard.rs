//! Refuses text on which the parser would run out of stack: it is recursive, and a stack overflow
//! cannot be caught. Everything here is far beyond what a person writes.

use model::problem::Problem;

use super::source::Source;
use super::tokens::{Kind, Token};

/// The largest `.star` file, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;
/// The most files in one configuration.
pub(crate) const FILES_MAX: usize = 10_000;
/// How deep brackets may be nested.
const BRACKETS_MAX: usize = 100;
/// How many operators one expression may hold on any way from its root to a leaf.
const OPERATORS_MAX: usize = 2_000;
/// How deep blocks may be indented.
const BLOCKS_MAX: usize = 60;
/// How many `elif` may follow each other.
const ELIFS_MAX: usize = 500;

/// The first limit that a file passes, if any.
pub(crate) fn check(source: &Source, tokens: &[Token<'_>]) -> Option<Problem> {
    let (at, text) = expression_limit(tokens).or_else(|| block_limit(source, tokens))?;
    Some(
        Problem::error("too-complex", text)
            .at(source.place(at, at + 1))
            .suggest("split it: keep long tables in config/codesets/, and long expressions in steps"),
    )
}

fn expression_limit(tokens: &[Token<'_>]) -> Option<(usize, String)> {
    // Operators seen since the last comma, per open bracket; `total` is the sum over all of them.
    let mut open: Vec<usize> = vec![0];
    let mut total = 0;
    for token in tokens {
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => {
                *open.last_mut()? += 1;
                total += 1;
                open.push(0);
            }
            ")" | "]" | "}" if token.kind == Kind::Mark && open.len() > 1 => {
                total -= open.pop().unwrap_or(0);
            }
            "," if token.kind == Kind::Mark => {
                total -= *open.last()?;
                *open.last_mut()? = 0;
            }
            _ if token.kind == Kind::Newline => {
                total = 0;
                open = vec![0];
            }
            _ if is_operator(token) => {
                *open.last_mut()? += 1;
                total += 1;
            }
            _ => {}
        }
        if open.len() > BRACKETS_MAX {
            return Some((
                token.start,
                format!("brackets are nested more than {BRACKETS_MAX} deep"),
            ));
        }
        if total > OPERATORS_MAX {
            return Some((
                token.start,
                format!("this expression has more than {OPERATORS_MAX} operators"),
            ));
        }
    }
    None
}

fn is_operator(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::Mark => !matches!(token.text, ":" | ";" | "=" | "@"),
        Kind::Name => matches!(
            token.text,
            "not" | "and" | "or" | "if" | "else" | "in" | "lambda" | "for"
        ),
        _ => false,
    }
}

fn block_limit(source: &Source, tokens: &[Token<'_>]) -> Option<(usize, String)> {
    let mut indents: Vec<usize> = vec![0];
    let mut elifs: Vec<usize> = vec![0];
    let mut line_start = true;
    for token in tokens {
        if token.kind == Kind::Newline {
            line_start = true;
            continue;
        }
        if !line_start {
            continue;
        }
        line_start = false;
        let begin = source.text[..token.start].rfind('\n').map_or(0, |at| at + 1);
        let indent = token.start - begin;
        while indents.len() > 1 && indents.last().is_some_and(|&last| last > indent) {
            indents.pop();
            elifs.pop();
        }
        if indents.last().is_some_and(|&last| last < indent) {
            indents.push(indent);
            elifs.push(0);
        }
        let run = elifs.last_mut()?;
        *run = if token.is("elif") { *run + 1 } else { 0 };
        if *run > ELIFS_MAX {
            return Some((
                token.start,
                format!("more than {ELIFS_MAX} `elif` follow each other"),
            ));
        }
        if indents.len() > BLOCKS_MAX {
            return Some((
                token.start,
                format!("blocks are nested more than {BLOCKS_MAX} deep"),
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::tokens::tokens;

    #[test]
    fn what_would_overflow_the_parser_is_refused() {
        let nested_blocks: String = (0..80)
            .map(|depth| format!("{}if True:\n", " ".repeat(depth)))
            .collect();
        for (input, expected) in [
            ("x = 1\n".to_owned(), ""),
            (format!("x = [{}]", "1, ".repeat(100_000)), ""),
            (format!("x = {{{}}}", "'a': 1 + 2,\n".repeat(50_000)), ""),
            (
                format!("x = {}1{}", "[".repeat(50_000), "]".repeat(50_000)),
                "nested more than 100 deep",
            ),
            (
                format!("x = 1{}", " + 1".repeat(50_000)),
                "more than 2000 operators",
            ),
            (format!("x = {}1", "-".repeat(50_000)), "more than 2000 operators"),
            (
                format!("x = {}True", "not ".repeat(50_000)),
                "more than 2000 operators",
            ),
            (
                format!("x = f{}", "()".repeat(50_000)),
                "more than 2000 operators",
            ),
            (
                format!("x = a{}", ".b".repeat(50_000)),
                "more than 2000 operators",
            ),
            (
                format!("if a:\n pass\n{}", "elif b:\n pass\n".repeat(5_000)),
                "`elif` follow",
            ),
            (nested_blocks, "blocks are nested"),
        ] {
            let source = Source::new("config/a.star", input);
            let found = check(&source, &tokens(&source.text))
                .map(|problem| problem.message)
                .unwrap_or_default();
            if expected.is_empty() {
                assert_eq!(found, "", "{}", &source.text[..20.min(source.text.len())]);
            } else {
                assert!(found.contains(expected), "{found:?} lacks {expected:?}");
            }
        }
    }
}
