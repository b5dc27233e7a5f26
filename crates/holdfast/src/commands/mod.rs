//! One command, one file: its arguments, what it does, what it prints.

pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod connections;
pub(crate) mod demo;
pub(crate) mod drill;
pub(crate) mod dryrun;
pub(crate) mod fencer;
pub(crate) mod generate;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod load;
pub(crate) mod manners;
pub(crate) mod messages;
pub(crate) mod receive;
pub(crate) mod remote;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod skip;
pub(crate) mod test;
pub(crate) mod values;
