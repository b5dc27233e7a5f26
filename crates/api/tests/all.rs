//! The API over a real node: a real store in a temporary directory, a small config repository, real sockets.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod api;
