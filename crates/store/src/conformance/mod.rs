//! The conformance suite: every promise of the contract as a case that any backend can be held to.
//!
//! A backend hands in a [`Fixture`] (how to open its store, and to open the same one again) and runs
//! every one of [`cases`], each on a fixture of its own:
//!
//! ```no_run
//! # fn fixture() -> store::conformance::Fixture { unreachable!() }
//! # async fn all() {
//! for case in store::conformance::cases() {
//!     (case.run)(fixture()).await.unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
//! }
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{Error, Store};

mod administration;
mod bare;
mod bodies;
mod build;
mod crash;
mod dispositions;
mod lanes;
mod listings;
mod recovery;
mod replay;
mod retention;
mod search;
mod writing;

pub use crash::{CrashWriter, verify_after_crash};

/// Opens the case's store. The first call makes it; later calls open what the earlier ones left, after
/// the earlier handle was closed.
#[derive(Clone)]
pub struct Fixture(Arc<dyn Fn() -> Opening + Send + Sync>);

type Opening = BoxFuture<'static, Result<Arc<dyn Store>, Error>>;

impl Fixture {
    /// From the backend's way of opening.
    pub fn new<F>(open: F) -> Fixture
    where
        F: Fn() -> Opening + Send + Sync + 'static,
    {
        Fixture(Arc::new(open))
    }

    /// Opens the store.
    pub async fn open(&self) -> Result<Arc<dyn Store>, Error> {
        (self.0)().await
    }
}

/// What a case found wrong.
pub type Outcome = Result<(), Fault>;

/// A broken promise, for a person.
#[derive(Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Fault {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        Fault(text)
    }
}

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Holds a store to it.
    pub run: fn(Fixture) -> BoxFuture<'static, Outcome>,
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        writing::CASES,
        bodies::CASES,
        recovery::CASES,
        lanes::CASES,
        replay::CASES,
        dispositions::CASES,
        listings::CASES,
        search::CASES,
        administration::CASES,
        retention::CASES,
        bare::CASES,
    ]
    .concat()
}

/// Holds two values to be equal, and says which promise speaks of them.
fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Fault(format!("{what}: found {found:?}, expected {expected:?}")))
}

/// Holds a condition.
fn holds(what: &str, condition: bool) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Fault(what.to_owned()))
    }
}

/// A case from an async function.
macro_rules! case {
    ($name:literal, $run:path) => {
        $crate::conformance::Case {
            name: $name,
            run: |fixture| Box::pin($run(fixture)),
        }
    };
}
use case;
