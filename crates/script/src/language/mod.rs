//! Text in, syntax tree out: what happens to a `.star` file before it is evaluated.
//!
//! A file is checked against the limits of the parser ([`guard`]), rewritten so that decorators, `del`
//! and two-part subscripts become plain Starlark ([`rewrite`]; every line keeps its number), parsed and
//! searched ([`syntax`]). [`source`] leads every place back to the author's own text.

pub(crate) mod guard;
pub(crate) mod pythonism;
pub(crate) mod rewrite;
pub(crate) mod source;
pub(crate) mod syntax;
pub(crate) mod tokens;
