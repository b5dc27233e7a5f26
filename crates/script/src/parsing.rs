//! Parses the files of a configuration: limits, rewrite, syntax tree and facts. A file that cannot be parsed
//! still tells which names it declares, so that others which use them are not blamed.

use model::problem::Problem;
use starlark::syntax::{AstModule, Dialect, DialectTypes};

use crate::language::source::Source;
use crate::language::syntax::Facts;
use crate::language::{guard, pythonism, rewrite, syntax, tokens};
use crate::repository::File;
use crate::{fault, problems};

/// One file, parsed or not.
pub(crate) struct Parsed {
    /// Its text and the way back to it.
    pub(crate) source: Source,
    /// Its tree and what is in it.
    pub(crate) ast: Option<(AstModule, Facts)>,
    /// Names that the file declares, as far as they are seen without evaluating it.
    pub(crate) declares: Vec<String>,
}

/// Parses all files; problems go into `found`.
pub(crate) fn parse_all(files: &[File], found: &mut Vec<Problem>) -> Vec<Parsed> {
    files.iter().map(|file| parse(file, found)).collect()
}

fn parse(file: &File, found: &mut Vec<Problem>) -> Parsed {
    let seen = tokens::tokens(&file.text);
    let plain = Source::new(&file.path, &file.text);
    let mut declares = declared_texts(&seen);
    if let Some(problem) = guard::check(&plain, &seen) {
        found.push(problem);
        return Parsed {
            source: plain,
            ast: None,
            declares,
        };
    }
    let mut rewritten = rewrite::rewrite(&file.path, &file.text);
    declares.extend(rewritten.decorated.iter().map(|one| one.name.clone()));
    let refused = !rewritten.problems.is_empty();
    found.append(&mut rewritten.problems);
    match AstModule::parse(&file.path, rewritten.text, &dialect()) {
        Ok(ast) => {
            let facts = Facts::read(&ast);
            let refusal = |at: &syntax::Range| {
                Problem::error(
                    "too-complex",
                    "this repeats a text or list more than 1,000,000 times",
                )
                .at(rewritten.source.place_parsed(at.0, at.1))
            };
            found.extend(facts.repeats.iter().map(refusal));
            let secret = |found: &syntax::Named| {
                problems::secret_in_file(&found.text, rewritten.source.place_parsed(found.at.0, found.at.1))
            };
            found.extend(facts.secrets.iter().map(secret));
            let ast = facts.repeats.is_empty().then_some((ast, facts));
            Parsed {
                source: rewritten.source,
                ast,
                declares,
            }
        }
        Err(error) => {
            if !refused {
                found.push(parse_problem(&error, &rewritten.source, &seen));
            }
            Parsed {
                source: rewritten.source,
                ast: None,
                declares,
            }
        }
    }
}

/// The language: functions, `load`, types, f-strings, and statements at the top level.
fn dialect() -> Dialect {
    Dialect {
        enable_types: DialectTypes::Enable,
        enable_f_strings: true,
        enable_keyword_only_arguments: true,
        enable_top_level_stmt: true,
        ..Dialect::Standard
    }
}

/// First arguments of `inbound(` and `outbound(`, seen without a parser.
fn declared_texts(seen: &[tokens::Token<'_>]) -> Vec<String> {
    seen.windows(3)
        .filter(|three| (three[0].is("inbound") || three[0].is("outbound")) && three[1].is("("))
        .filter(|three| three[2].kind == tokens::Kind::Text)
        .map(|three| three[2].text.trim_matches(['"', '\'']).to_owned())
        .collect()
}

fn parse_problem(error: &starlark::Error, source: &Source, seen: &[tokens::Token<'_>]) -> Problem {
    let text = error.without_diagnostic().to_string();
    let text = fault::tidy(text.trim_start_matches("Parse error:").trim());
    let mut problem = Problem::error("syntax", text);
    if let Some(at) = error.span() {
        let (start, end) = syntax::range(at.span);
        let span = source.place_parsed(start, end);
        let line = line_range(source, span.line);
        if let Some(hint) = pythonism::hint(seen, line.0, line.1) {
            problem = problem.suggest(hint);
        }
        problem = problem.at(span);
    }
    problem
}

fn line_range(source: &Source, line: u32) -> (usize, usize) {
    let skip = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let mut start = 0;
    for (index, text) in source.text.split_inclusive('\n').enumerate() {
        if index == skip {
            return (start, start + text.len());
        }
        start += text.len();
    }
    (start, start)
}
