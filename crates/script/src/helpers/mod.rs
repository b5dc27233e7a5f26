//! Functions that every file has: text, dates, numbers, patterns, identifiers. All are pure: the same
//! arguments give the same answer on every node and at every rerun.

pub(crate) mod dates;
pub(crate) mod identifiers;
pub(crate) mod json;
pub(crate) mod numbers;
pub(crate) mod patterns;
pub(crate) mod text;
pub(crate) mod trees;

/// The longest text that a helper makes, in bytes.
pub(crate) const TEXT_MAX: usize = 16 << 20;

/// Adds all of them.
pub(crate) fn functions(builder: &mut starlark::environment::GlobalsBuilder) {
    dates::functions(builder);
    identifiers::functions(builder);
    json::functions(builder);
    numbers::functions(builder);
    patterns::functions(builder);
    text::functions(builder);
}
