//! TOML with places: parses a file and reports every fault in it, not only the first.

use model::problem::{Problem, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::language::source::Source;

/// Parses a file. Faults become problems; what could be read is returned all the same.
pub(crate) fn parse<'a>(source: &'a Source, problems: &mut Vec<Problem>) -> DeTable<'a> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim().replace('\n', "; ");
        problems.push(Problem::error("toml", message).at(source.place(span.start, span.end)));
    }
    table.into_inner()
}

/// The place of a key or value.
pub(crate) fn place<T>(source: &Source, value: &Spanned<T>) -> Span {
    let range = value.span();
    source.place(range.start, range.end)
}

/// A whole number, when it fits.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// A number with a fraction, or a whole one.
pub(crate) fn float(value: &DeValue<'_>) -> Option<f64> {
    match value.as_float() {
        Some(number) => number.as_str().replace('_', "").parse().ok(),
        None => integer(value).map(|number| number as f64),
    }
}
