//! What every backend with segments shares: which segments live, how the rows of several are read as one
//! whole, and when a segment may go. A backend answers narrow questions about one segment
//! ([`source::Source`]); everything that spans segments is decided here, once.
//!
//! Nothing here knows SQL, files or connections.

pub(crate) mod catalog;
mod census;
mod detail;
mod drain;
mod lanes;
mod listing;
pub(crate) mod profile;
mod recovery;
pub(crate) mod retention;
pub(crate) mod revision;
pub(crate) mod search;
pub(crate) mod source;
pub(crate) mod view;

pub(crate) use lanes::Span;
pub(crate) use view::View;
