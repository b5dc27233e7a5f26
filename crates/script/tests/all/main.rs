//! The crate from outside: a repository on disk in, problems or a running program out.

mod feed;
mod limits;
mod message;
mod options;
mod problems;
mod repository;
mod selftest;
mod support;
mod unsafe_code;
