//! The API over a real node: a real store in a temporary directory, a small config repository, real sockets.

mod api;
