//! Runs frozen functions on messages: a fresh heap and fresh limits for each call, nothing kept after it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use model::problem::Span;
use starlark::environment::Module;
use starlark::eval::Evaluator;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, OwnedFrozenValue, Value, ValueLike};

use crate::contract::{Content, Handled, Incoming, Program, Routed, TestResult};
use crate::declare::registry::Role;
use crate::host::message::Message;
use crate::host::raw_content::RawContent;
use crate::host::sent::Sent;
use crate::host::{Host, Running, Shared};
use crate::{Fault, FaultKind, Send, fault, limits, testing};

/// A frozen function.
pub(crate) struct Callable {
    /// Its value.
    pub(crate) value: OwnedFrozenValue,
    /// Where it was declared.
    pub(crate) span: Span,
}

/// Names as an answer may give them.
#[derive(Default)]
pub(crate) struct Names {
    /// Handlers, each with its shared name.
    pub(crate) handlers: BTreeMap<String, Arc<str>>,
    /// Outbounds and passthrough inbounds, each with its shared name.
    pub(crate) destinations: BTreeMap<String, Arc<str>>,
    /// Inbounds that are no passthrough.
    pub(crate) inbounds: BTreeSet<String>,
}

/// The functions of one configuration.
pub(crate) struct Inner {
    /// What all evaluations share.
    pub(crate) shared: Arc<Shared>,
    /// Routers, handlers and tests by role and name.
    pub(crate) functions: BTreeMap<Role, BTreeMap<String, Callable>>,
    /// What may be named.
    pub(crate) names: Names,
    /// Itself, for tests.
    pub(crate) me: Weak<Inner>,
}

/// What a call leaves behind.
struct Outcome<T> {
    answer: T,
    log: Vec<String>,
}

impl Inner {
    fn function(&self, role: Role, name: &str) -> Option<&Callable> {
        self.functions.get(&role)?.get(name)
    }

    /// Calls a function within limits and reads its answer while its values live.
    fn call<T>(
        &self,
        role: Role,
        name: &str,
        incoming: Option<&Incoming>,
        read: impl FnOnce(Value<'_>, &Running) -> Result<T, String>,
    ) -> Result<Outcome<T>, Fault> {
        let Some(function) = self.function(role, name) else {
            let text = format!("there is no {} `{name}`", role.word());
            return Err(Fault {
                location: format!("`{name}`"),
                detail: text.clone(),
                text,
                kind: FaultKind::Nonsense,
            });
        };
        let run = AssertUnwindSafe(|| self.evaluate(role, name, function, incoming, read));
        catch_unwind(run).unwrap_or_else(|_| {
            let text =
                "it broke the interpreter: most likely a text or list that grew without bound".to_owned();
            Err(fault::whole(
                FaultKind::Panicked,
                text,
                &function.span,
                name,
                &self.shared,
            ))
        })
    }

    fn evaluate<T>(
        &self,
        role: Role,
        name: &str,
        function: &Callable,
        incoming: Option<&Incoming>,
        read: impl FnOnce(Value<'_>, &Running) -> Result<T, String>,
    ) -> Result<Outcome<T>, Fault> {
        let host = Host::Run(Running {
            shared: self.shared.clone(),
            role,
            incoming: incoming.map(raw).unwrap_or_default(),
            log: RefCell::default(),
            sends: RefCell::default(),
            program: self.me.clone(),
        });
        let whole = |kind, text| fault::whole(kind, text, &function.span, name, &self.shared);
        let answer = Module::with_temp_heap(|module| {
            let heap = module.heap();
            let mut eval = Evaluator::new(&module);
            eval.extra = Some(&host);
            limits::bound_call(&mut eval).map_err(|error| whole(FaultKind::Panicked, error.to_string()))?;
            let callee = heap.access_owned_frozen_value(&function.value);
            let argument = incoming.map(|incoming| allocate(heap, incoming, role == Role::Router));
            let answer = eval
                .eval_function(callee, argument.as_slice(), &[])
                .map_err(|error| fault::of_error(&error, name, &function.span, &self.shared))?;
            if heap.allocated_bytes() > limits::HEAP_BYTES_MAX {
                let text = limits::breach("Heap memory limit").unwrap_or_default();
                return Err(whole(FaultKind::Limit, text));
            }
            let Host::Run(running) = &host else {
                return Err(whole(FaultKind::Panicked, "no host".to_owned()));
            };
            read(answer, running).map_err(|text| whole(FaultKind::Nonsense, text))
        })?;
        let log = match host {
            Host::Run(running) => running.log.into_inner(),
            Host::Load(_) => Vec::new(),
        };
        Ok(Outcome { answer, log })
    }

    fn handlers(&self, answer: Value<'_>) -> Result<Vec<Arc<str>>, String> {
        let mut found: Vec<Arc<str>> = Vec::new();
        for value in items(answer) {
            let Some(name) = value.unpack_str() else {
                return Err(format!(
                    "a router returns handler names, not `{}`",
                    value.get_type()
                ));
            };
            let Some(name) = self.names.handlers.get(name) else {
                let near = crate::problems::did_you_mean(name, self.names.handlers.keys());
                let hint = near
                    .map(|near| format!(": did you mean `{near}`?"))
                    .unwrap_or_default();
                return Err(fault::tidy(&format!(
                    "it names a handler `{name}` that does not exist{hint}"
                )));
            };
            if !found.contains(name) {
                found.push(name.clone());
            }
        }
        Ok(found)
    }

    fn sends(&self, answer: Value<'_>, running: &Running) -> Result<Vec<Send>, String> {
        let mut sends = running.sends.borrow_mut();
        let mut found = Vec::new();
        for value in items(answer) {
            let Some(sent) = value.downcast_ref::<Sent>() else {
                let kind = value.get_type();
                return Err(format!(
                    "a handler returns `send(...)`, a list of them, or None; not `{kind}`"
                ));
            };
            let Some(mut send) = sends.get_mut(sent.0).and_then(Option::take) else {
                return Err("it returns one `send(...)` twice: call `send` for each".to_owned());
            };
            send.destination = self.destination(&send.destination)?;
            found.push(send);
        }
        Ok(found)
    }

    fn destination(&self, name: &str) -> Result<Arc<str>, String> {
        if let Some(known) = self.names.destinations.get(name) {
            return Ok(known.clone());
        }
        if self.names.inbounds.contains(name) {
            return Err(format!(
                "it sends to the inbound `{name}`, which is no passthrough()"
            ));
        }
        let near = crate::problems::did_you_mean(name, self.names.destinations.keys());
        let hint = near
            .map(|near| format!(": did you mean `{near}`?"))
            .unwrap_or_default();
        Err(fault::tidy(&format!(
            "it sends to `{name}`, which does not exist{hint}"
        )))
    }

    /// Runs one test function.
    pub(crate) fn test(&self, name: &str) -> Result<(), Fault> {
        self.call(Role::Test, name, None, |_, _| Ok(())).map(drop)
    }
}

/// A list's or tuple's items, nothing for None, or the value alone.
fn items<'v>(answer: Value<'v>) -> Vec<Value<'v>> {
    if answer.is_none() {
        return Vec::new();
    }
    let list = ListRef::from_value(answer).map(|list| list.content().to_vec());
    list.or_else(|| TupleRef::from_value(answer).map(|tuple| tuple.content().to_vec()))
        .unwrap_or_else(|| vec![answer])
}

fn raw(incoming: &Incoming) -> Bytes {
    match &incoming.content {
        Content::Hl7(message) => message.raw().clone(),
        Content::Raw(bytes) => bytes.clone(),
    }
}

/// The value that a function gets for a message.
pub(crate) fn allocate<'v>(heap: Heap<'v>, incoming: &Incoming, read_only: bool) -> Value<'v> {
    match &incoming.content {
        Content::Hl7(message) => heap.alloc(Message::new(message.clone(), incoming.received_at, read_only)),
        Content::Raw(bytes) => heap.alloc(RawContent {
            bytes: bytes.clone(),
            received_at: incoming.received_at,
        }),
    }
}

impl Program for Inner {
    fn route(&self, router: &str, message: &Incoming) -> Result<Routed, Fault> {
        let outcome = self.call(Role::Router, router, Some(message), |answer, _| {
            self.handlers(answer)
        })?;
        Ok(Routed {
            handlers: outcome.answer,
            log: outcome.log,
        })
    }

    fn handle(&self, handler: &str, message: &Incoming) -> Result<Handled, Fault> {
        let outcome = self.call(Role::Handler, handler, Some(message), |answer, running| {
            self.sends(answer, running)
        })?;
        Ok(Handled {
            sends: outcome.answer,
            log: outcome.log,
        })
    }

    fn run_tests(&self, filter: Option<&str>) -> Vec<TestResult> {
        testing::run(self, filter)
    }
}
