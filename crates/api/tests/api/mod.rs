//! One file per part of the API; [`site`] is what they stand on.

mod client;
mod commands;
mod limits;
mod probes;
mod reads;
mod refusals;
mod site;
