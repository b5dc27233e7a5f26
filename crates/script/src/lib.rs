//! The only crate that runs user code.
//!
//! [`load`] turns a config repository into a [`Loaded`] configuration: a graph of connections, and a
//! [`Program`] of frozen functions that all threads may run at once. Behind it stands Starlark, which no
//! public signature shows. Functions see no clock, network, file or state; each call has limits of
//! steps, memory, depth and time.
//!
//! | module | what |
//! |---|---|
//! | `repository`, `tables`, `environment`, `codesets` | files in |
//! | `language`, `parsing` | rewrite, parse, facts, places |
//! | `declare`, `toml_connections`, `check` | connections and functions, checked and wired |
//! | `host`, `helpers`, `globals` | what code can use |
//! | `program`, `limits`, `fault`, `testing` | calls |
//! | [`secrets`] | what may stand in no file |
//! | [`diagnostics`], [`stub()`] | for people and their editors |

mod check;
mod codesets;
pub mod contract;
mod declare;
pub mod diagnostics;
mod environment;
mod fault;
mod globals;
mod helpers;
mod host;
mod language;
mod limits;
mod loader;
mod parsing;
mod problems;
mod program;
mod repository;
pub mod secrets;
mod stub;
mod tables;
mod testing;
mod toml_connections;

pub use contract::{
    Content, Fault, FaultKind, Handled, Incoming, Loaded, Program, Request, Routed, Send, TestResult,
};
pub use limits::CALL_STACK_BYTES;
pub use loader::load;
pub use stub::stub;
