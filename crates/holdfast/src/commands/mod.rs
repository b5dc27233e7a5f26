//! One command, one file: its arguments, what it does, what it prints.

pub(crate) mod generate;
pub(crate) mod load;
pub(crate) mod manners;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod values;
