//! Everything declared so far, by name. A name declared twice is reported at both places.

use std::collections::{BTreeMap, BTreeSet};

use model::graph::{Inbound, Outbound};
use model::problem::{Problem, Span};

/// What a function is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Role {
    /// Names handlers.
    Router,
    /// Filters, transforms, sends.
    Handler,
    /// Checks the others.
    Test,
}

impl Role {
    /// The word that declares it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Router => "router",
            Role::Handler => "handler",
            Role::Test => "test",
        }
    }
}

/// A declared function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// The name it is wired by.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) role: Role,
    /// The file that declares it.
    pub(crate) file: String,
    /// The definition it stands for, in that file; lambdas have none.
    pub(crate) definition: Option<String>,
    /// The module variable that keeps its value.
    pub(crate) variable: String,
    /// The file whose module has that variable: the one that was being loaded.
    pub(crate) module: String,
    /// Where it was declared.
    pub(crate) span: Span,
}

/// What is kept beside a connection.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// Whether its connector was understood.
    pub(crate) complete: bool,
    /// Where it names its router or reply inbound.
    pub(crate) link: Span,
}

/// Everything declared.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By name.
    pub(crate) inbounds: BTreeMap<String, (Inbound, Declared)>,
    /// By name.
    pub(crate) outbounds: BTreeMap<String, (Outbound, Declared)>,
    /// By role and name.
    pub(crate) functions: BTreeMap<(Role, String), Function>,
    /// Names of functions that are declared, but not defined.
    pub(crate) promised: BTreeSet<String>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

impl Registry {
    /// Adds an inbound.
    pub(crate) fn inbound(&mut self, inbound: Inbound, declared: Declared) {
        if self.is_new(&inbound.name, &inbound.span) {
            self.inbounds.insert(inbound.name.clone(), (inbound, declared));
        }
    }

    /// Adds an outbound.
    pub(crate) fn outbound(&mut self, outbound: Outbound, declared: Declared) {
        if self.is_new(&outbound.name, &outbound.span) {
            self.outbounds.insert(outbound.name.clone(), (outbound, declared));
        }
    }

    /// Adds a function.
    pub(crate) fn function(&mut self, function: Function) {
        let key = (function.role, function.name.clone());
        match self.functions.get(&key).map(|earlier| earlier.span.clone()) {
            Some(earlier) => self.twice(
                &format!("{} `{}`", function.role.word(), function.name),
                &earlier,
                &function.span,
            ),
            None => drop(self.functions.insert(key, function)),
        }
    }

    fn is_new(&mut self, name: &str, span: &Span) -> bool {
        let inbound = self.inbounds.get(name).map(|(inbound, _)| inbound.span.clone());
        let earlier = inbound.or_else(|| {
            self.outbounds
                .get(name)
                .map(|(outbound, _)| outbound.span.clone())
        });
        if let Some(earlier) = &earlier {
            self.twice(&format!("connection `{name}`"), earlier, span);
        }
        earlier.is_none()
    }

    fn twice(&mut self, what: &str, first: &Span, second: &Span) {
        for (here, other) in [(first, second), (second, first)] {
            let message = format!(
                "the {what} is declared twice: also at {}:{}",
                other.file, other.line
            );
            let problem = Problem::error("duplicate-name", message)
                .at(here.clone())
                .suggest("give one of them another name");
            // The first place is reported once, however many follow.
            if !self
                .problems
                .iter()
                .any(|known| known.span.as_ref() == Some(here) && known.code == "duplicate-name")
            {
                self.problems.push(problem);
            }
        }
    }
}
