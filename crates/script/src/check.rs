//! Checks how the declarations fit together: names that nobody carries, functions that nobody uses,
//! replies and sends that go where they cannot.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::graph::Graph;
use model::problem::{Problem, Span};

use crate::declare::registry::{Function, Registry, Role};
use crate::host::Shared;
use crate::language::syntax::{Definition, Named};
use crate::problems;
use crate::program::Names;

/// The connector behind which a handler may send.
const PASSTHROUGH: &str = "passthrough";
/// The connector that takes replies.
const LOOPBACK: &str = "loopback";

/// A definition by file and name.
type Place = (String, String);

/// Declarations with what their code mentions.
pub(crate) struct Wiring<'a> {
    registry: &'a Registry,
    shared: &'a Shared,
    /// Names that exist although their file did not load.
    elsewhere: BTreeSet<String>,
    reached: RefCell<HashMap<Place, Arc<BTreeSet<Place>>>>,
}

impl<'a> Wiring<'a> {
    /// Looks at a registry.
    pub(crate) fn new(registry: &'a Registry, shared: &'a Shared, elsewhere: BTreeSet<String>) -> Self {
        Wiring {
            registry,
            shared,
            elsewhere,
            reached: RefCell::default(),
        }
    }

    fn definition(&self, place: &Place) -> Option<&'a Definition> {
        self.shared.facts.get(&place.0)?.definitions.get(&place.1)
    }

    /// Every definition that a function can reach by name, itself included.
    fn reach(&self, function: &Function) -> Arc<BTreeSet<Place>> {
        let Some(name) = &function.definition else {
            return Arc::default();
        };
        let start = self.resolve(&function.file, name);
        if let Some(known) = self.reached.borrow().get(&start) {
            return known.clone();
        }
        let mut all = BTreeSet::new();
        let mut open = vec![start.clone()];
        while let Some(place) = open.pop() {
            if let Some(definition) = self.definition(&place).filter(|_| !all.contains(&place)) {
                open.extend(definition.reads.iter().map(|name| self.resolve(&place.0, name)));
                all.insert(place);
            }
        }
        let all = Arc::new(all);
        self.reached.borrow_mut().insert(start, all.clone());
        all
    }

    /// Where a name of a file is defined: there, or in the helper that it was loaded from.
    fn resolve(&self, file: &str, name: &str) -> Place {
        match self
            .shared
            .facts
            .get(file)
            .and_then(|facts| facts.loads.get(name))
        {
            Some((module, theirs)) => (format!("config/{module}"), theirs.clone()),
            None => (file.to_owned(), name.to_owned()),
        }
    }

    /// Names of connections and handlers that a function's code mentions, sorted.
    pub(crate) fn mentions(&self, function: &Function) -> Vec<String> {
        let reached = self.reach(function);
        let texts = reached
            .iter()
            .filter_map(|place| self.definition(place))
            .flat_map(|definition| &definition.texts);
        let known = |text: &&Named| self.is_connection(&text.text) || self.has(Role::Handler, &text.text);
        let found: BTreeSet<String> = texts.filter(known).map(|text| text.text.clone()).collect();
        found.into_iter().filter(|name| *name != function.name).collect()
    }

    /// A function's code and what it reaches; of a function that another one makes, its whole file.
    fn code(&self, function: &Function) -> Vec<&'a Definition> {
        let reached = self.reach(function);
        let mut definitions: Vec<&Definition> = reached
            .iter()
            .filter_map(|place| self.definition(place))
            .collect();
        if definitions.is_empty() {
            let file = self.shared.facts.get(&function.file);
            definitions.extend(file.into_iter().flat_map(|facts| facts.definitions.values()));
        }
        definitions
    }

    fn is_connection(&self, name: &str) -> bool {
        self.registry.inbounds.contains_key(name) || self.registry.outbounds.contains_key(name)
    }

    fn has(&self, role: Role, name: &str) -> bool {
        self.registry.functions.contains_key(&(role, name.to_owned()))
    }

    fn names(&self, role: Role) -> impl Iterator<Item = &str> {
        self.registry
            .functions
            .keys()
            .filter(move |(known, _)| *known == role)
            .map(|(_, name)| name.as_str())
    }

    fn functions(&self, role: Role) -> impl Iterator<Item = &Function> {
        self.registry
            .functions
            .values()
            .filter(move |function| function.role == role)
    }

    fn span(&self, file: &str, at: (usize, usize)) -> Span {
        match self.shared.sources.get(file) {
            Some(source) => source.place_parsed(at.0, at.1),
            None => Span {
                file: file.to_owned(),
                line: 1,
                column: 1,
                width: 1,
            },
        }
    }
}

/// All problems of the wiring. `incomplete` = some files did not load: nothing is called unused then.
pub(crate) fn check(wiring: &Wiring<'_>, incomplete: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    routers(wiring, &mut found);
    handler_names(wiring, &mut found);
    destinations(wiring, &mut found);
    replies(wiring, &mut found);
    if !incomplete {
        unused(wiring, &mut found);
    }
    found
}

/// Every inbound's router exists.
fn routers(wiring: &Wiring<'_>, found: &mut Vec<Problem>) {
    for (inbound, declared) in wiring.registry.inbounds.values() {
        let router = &inbound.router;
        if wiring.has(Role::Router, router) || wiring.elsewhere.contains(router) {
            continue;
        }
        let message = format!("no router is named `{router}`");
        let problem = problems::unknown(
            "unknown-router",
            message,
            declared.link.clone(),
            router,
            wiring.names(Role::Router),
        );
        found.push(match wiring.has(Role::Handler, router) {
            true => problem.suggest(format!(
                "`{router}` is a handler: an inbound names a router, and the router names handlers"
            )),
            false => problem,
        });
    }
}

/// Every name that a router's `return` gives is a handler.
fn handler_names(wiring: &Wiring<'_>, found: &mut Vec<Problem>) {
    for router in wiring.functions(Role::Router) {
        let Some(name) = &router.definition else { continue };
        let (file, name) = wiring.resolve(&router.file, name);
        let Some(definition) = wiring.definition(&(file.clone(), name)) else {
            continue;
        };
        for text in &definition.returns {
            if wiring.has(Role::Handler, &text.text) || wiring.elsewhere.contains(&text.text) {
                continue;
            }
            let message = format!("no handler is named `{}`", text.text);
            let span = wiring.span(&file, text.at);
            let problem = problems::unknown(
                "unknown-handler",
                message,
                span,
                &text.text,
                wiring.names(Role::Handler),
            );
            found.push(match wiring.is_connection(&text.text) {
                true => problem.suggest("a router names handlers; a handler sends to connections".to_owned()),
                false => problem,
            });
        }
    }
}

/// Every name given to `send(...)` can be sent to.
fn destinations(wiring: &Wiring<'_>, found: &mut Vec<Problem>) {
    let mut files: Vec<_> = wiring.shared.facts.iter().collect();
    files.sort_by_key(|(file, _)| file.as_str());
    for (file, facts) in files {
        for text in facts
            .definitions
            .values()
            .flat_map(|definition| &definition.sends)
        {
            let name = text.text.as_str();
            if wiring.registry.outbounds.contains_key(name) || wiring.elsewhere.contains(name) {
                continue;
            }
            let span = wiring.span(file, text.at);
            if let Some((inbound, declared)) = wiring.registry.inbounds.get(name) {
                if declared.complete && inbound.connector.connector != PASSTHROUGH {
                    let message = format!(
                        "`{name}` is an inbound with the connector `{}`",
                        inbound.connector.connector
                    );
                    let hint =
                        "a handler sends to outbounds, and to inbounds with the connector `passthrough()`";
                    found.push(Problem::error("unknown-outbound", message).at(span).suggest(hint));
                }
                continue;
            }
            let message = format!("no outbound is named `{name}`");
            let passthrough = wiring
                .registry
                .inbounds
                .values()
                .filter(|(inbound, _)| inbound.connector.connector == PASSTHROUGH);
            let known = wiring
                .registry
                .outbounds
                .keys()
                .chain(passthrough.map(|(inbound, _)| &inbound.name));
            found.push(problems::unknown(
                "unknown-outbound",
                message,
                span,
                name,
                known.map(String::as_str),
            ));
        }
    }
}

/// Every `reply_to` is a loopback inbound.
fn replies(wiring: &Wiring<'_>, found: &mut Vec<Problem>) {
    for (outbound, declared) in wiring.registry.outbounds.values() {
        let Some(name) = &outbound.reply_to else { continue };
        let span = declared.link.clone();
        match wiring.registry.inbounds.get(name) {
            Some((inbound, known)) if known.complete && inbound.connector.connector != LOOPBACK => found
                .push(
                    Problem::error(
                        "bad-reply",
                        format!(
                            "replies go to an inbound with the connector `loopback()`; `{name}` has `{}`",
                            inbound.connector.connector
                        ),
                    )
                    .at(span)
                    .suggest(format!(
                        "declare `inbound(\"{name}\", loopback(), router = \"...\")`"
                    )),
                ),
            Some(_) => {}
            None if wiring.elsewhere.contains(name) => {}
            None => {
                let message = format!("no inbound is named `{name}`");
                let known = wiring.registry.inbounds.keys().map(String::as_str);
                found.push(problems::unknown("unknown-inbound", message, span, name, known));
            }
        }
    }
}

/// The pieces of a text between its placeholders: `%s`, `{}`, `{name}`.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    // After the first, each begins with the letter of its `%s`.
    text.split('%')
        .enumerate()
        .map(|(index, piece)| piece.get(usize::from(index > 0)..).unwrap_or_default())
        .flat_map(|piece| piece.split('{'))
        .map(|piece| piece.split_once('}').map_or(piece, |(_, rest)| rest))
        .filter(|piece| !piece.is_empty())
}

/// A shorter text in a router that is not put together with others says nothing about a handler whose name begins or ends with it.
const NAME_PART_MIN: usize = 3;

/// Routers that no inbound names, and handlers that no router's code mentions, whole or by a part that
/// names are put together from (`"edit_" + kind`).
fn unused(wiring: &Wiring<'_>, found: &mut Vec<Problem>) {
    let named: BTreeSet<&str> = wiring
        .registry
        .inbounds
        .values()
        .map(|(inbound, _)| inbound.router.as_str())
        .collect();
    for router in wiring
        .functions(Role::Router)
        .filter(|router| !named.contains(router.name.as_str()))
    {
        let message = format!("no inbound uses the router `{}`", router.name);
        found.push(Problem::warning("unused-router", message).at(router.span.clone()));
    }
    let routers: Vec<&Function> = wiring.functions(Role::Router).collect();
    let mut mentioned: BTreeSet<String> = BTreeSet::new();
    for router in &routers {
        mentioned.extend(wiring.mentions(router));
        // `mentions` leaves a function's own name out; a router may share it with its handler.
        mentioned.extend(
            wiring
                .has(Role::Handler, &router.name)
                .then(|| router.name.clone()),
        );
    }
    let code: Vec<&Definition> = routers.iter().flat_map(|router| wiring.code(router)).collect();
    let texts = code.iter().flat_map(|definition| &definition.texts);
    let long = texts
        .flat_map(|text| pieces(&text.text))
        .filter(|piece| piece.len() >= NAME_PART_MIN);
    let combined = code.iter().flat_map(|definition| &definition.parts);
    let parts: BTreeSet<&str> = combined.flat_map(|text| pieces(text)).chain(long).collect();
    let composed = |name: &str| {
        let mut parts = parts.iter();
        parts.any(|part| name.starts_with(part) || name.ends_with(part))
    };
    for handler in wiring
        .functions(Role::Handler)
        .filter(|handler| !mentioned.contains(&handler.name) && !composed(&handler.name))
    {
        let message = format!("no router names the handler `{}`", handler.name);
        found.push(Problem::warning("unused-handler", message).at(handler.span.clone()));
    }
}

/// What functions may name at run time.
pub(crate) fn names(graph: &Graph) -> Names {
    let shared = |names: Vec<&String>| -> BTreeMap<String, Arc<str>> {
        names
            .into_iter()
            .map(|name| (name.clone(), Arc::from(name.as_str())))
            .collect()
    };
    let (open, closed): (Vec<_>, Vec<_>) = graph
        .inbounds
        .values()
        .partition(|inbound| inbound.connector.connector == PASSTHROUGH);
    Names {
        handlers: shared(graph.handlers.keys().collect()),
        destinations: shared(
            graph
                .outbounds
                .keys()
                .chain(open.iter().map(|inbound| &inbound.name))
                .collect(),
        ),
        inbounds: closed.iter().map(|inbound| inbound.name.clone()).collect(),
    }
}
