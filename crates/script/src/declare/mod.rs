//! Declarations of connections and functions, whoever makes them. Starlark and TOML both hand in
//! [`raw::Arguments`]; the checks stand here once.

pub(crate) mod connection;
pub(crate) mod keys;
pub(crate) mod options;
pub(crate) mod raw;
pub(crate) mod registry;
