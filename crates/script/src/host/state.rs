//! What hangs on a running evaluation: what it may do and what it has done.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use model::connector::Spec;
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;

use crate::codesets::CodeSets;
use crate::declare::registry::{Registry, Role};
use crate::environment::Environment;
use crate::language::source::Sources;
use crate::language::syntax::Facts;
use crate::program::Inner;

/// What all evaluations of one configuration share.
pub(crate) struct Shared {
    /// Connectors that may be called.
    pub(crate) specs: Vec<Spec>,
    /// Values of the environment.
    pub(crate) environment: Environment,
    /// Code sets.
    pub(crate) codesets: CodeSets,
    /// Every file, for places and excerpts.
    pub(crate) sources: Sources,
    /// Facts of every Starlark file, by path.
    pub(crate) facts: HashMap<String, Facts>,
    /// The config repository's root, for the samples of tests.
    pub(crate) root: PathBuf,
}

/// What an evaluation may do, and what it has done.
#[derive(ProvidesStaticType)]
pub(crate) enum Host {
    /// A file is being loaded: it may declare.
    Load(Loading),
    /// A function runs: it may send and log.
    Run(Running),
}

/// The state of a load.
pub(crate) struct Loading {
    /// See [`Shared`].
    pub(crate) shared: Arc<Shared>,
    /// What is declared.
    pub(crate) registry: RefCell<Registry>,
    /// Makes names for module variables.
    pub(crate) counter: Cell<usize>,
    /// The file that is being loaded.
    pub(crate) module: String,
}

/// The state of a call.
pub(crate) struct Running {
    /// See [`Shared`].
    pub(crate) shared: Arc<Shared>,
    /// What the function is for.
    pub(crate) role: Role,
    /// The bytes that came in.
    pub(crate) incoming: Bytes,
    /// Lines of `log(...)`.
    pub(crate) log: RefCell<Vec<String>>,
    /// Sends in the order made; taken when the function returns them.
    pub(crate) sends: RefCell<Vec<Option<crate::Send>>>,
    /// The program, for tests that run functions.
    pub(crate) program: Weak<Inner>,
}

impl Host {
    /// The host of an evaluation.
    pub(crate) fn of<'h>(eval: &'h Evaluator<'_, '_, '_>) -> anyhow::Result<&'h Host> {
        eval.extra
            .and_then(|extra| extra.downcast_ref::<Host>())
            .ok_or_else(|| anyhow::anyhow!("this evaluation has no host"))
    }

    /// What is shared.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        match self {
            Host::Load(loading) => &loading.shared,
            Host::Run(running) => &running.shared,
        }
    }

    /// The load, or the refusal of a declaration inside a function.
    pub(crate) fn loading(&self, function: &str) -> anyhow::Result<&Loading> {
        match self {
            Host::Load(loading) => Ok(loading),
            Host::Run(_) => {
                anyhow::bail!("`{function}` declares: call it at the top level of a file, not in a function")
            }
        }
    }

    /// The call, or the refusal of a message function at load.
    pub(crate) fn running(&self, function: &str) -> anyhow::Result<&Running> {
        match self {
            Host::Run(running) => Ok(running),
            Host::Load(_) => {
                anyhow::bail!("`{function}` works on a message: call it in a router, handler or test")
            }
        }
    }
}
