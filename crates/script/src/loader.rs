//! Loads a config repository: read, rewrite, parse, check types, evaluate, wire. Goes on after each
//! fault as far as it can, so that all of them are reported at once.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use model::graph::{Function as GraphFunction, Graph};
use model::problem::{Problem, Severity, Span};
use starlark::analysis::AstModuleLint;
use starlark::codemap::FileSpan;
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::{Evaluator, ReturnFileLoader};
use starlark::syntax::AstModule;
use starlark::typing::{AstModuleTypecheck, Interface};

use crate::check::{self, Wiring};
use crate::codesets::CodeSets;
use crate::declare::registry::{Registry, Role};
use crate::environment::Environment;
use crate::host::{Host, Loading, Shared};
use crate::language::source::{Source, Sources};
use crate::parsing::{self, Parsed};
use crate::program::{Callable, Inner};
use crate::repository::Repository;
use crate::{Loaded, Request, fault, globals, limits, problems, toml_connections};

/// Loads a configuration. `Err` holds every error and warning, in the order of files and lines.
pub fn load(request: &Request<'_>) -> Result<Loaded, Vec<Problem>> {
    // The parser is recursive: it gets a stack that its limits fit into.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("config-load".to_owned())
            .stack_size(limits::LOAD_STACK_BYTES)
            .spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(|| load_here(request))));
        let outcome = thread.map(|thread| thread.join().and_then(|outcome| outcome));
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(vec![Problem::error(
                "load",
                "the configuration broke the interpreter while it loaded",
            )]),
            Err(error) => Err(vec![Problem::error(
                "load",
                format!("no thread for loading: {error}"),
            )]),
        }
    })
}

fn load_here(request: &Request<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut found = Vec::new();
    let repository = Repository::read(request.root, request.environment, &mut found);
    let fingerprint = repository.fingerprint(request.environment);
    let parsed = parsing::parse_all(&repository.scripts, &mut found);
    let (shared, asts, static_names) = share(request, &repository, parsed, &mut found);
    let mut loading = Load::new(shared, &asts, found);
    for path in asts.keys().filter(|path| !is_helper(path)) {
        loading.file(path, &mut Vec::new());
    }
    let Load {
        shared,
        mut modules,
        mut registry,
        failed,
        poisoned,
        ..
    } = loading;
    if let Some(source) = shared.sources.get("config/connections.toml") {
        toml_connections::declare(source, &shared.specs, &shared.environment, &mut registry);
    }
    let incomplete = !failed.is_empty() || poisoned || asts.len() < repository.scripts.len();
    let mut elsewhere = std::mem::take(&mut registry.promised);
    if incomplete {
        elsewhere.extend(static_names);
    }
    let wiring = Wiring::new(&registry, &shared, elsewhere);
    let mut found = check::check(&wiring, incomplete);
    let graph = graph(&registry, &wiring);
    let inner = assemble(&shared, &registry, &mut modules, &graph, &mut found);
    found.append(&mut registry.problems);
    let posture = shared.environment.posture();
    // An environment without a file, beside others that have one, is reported already.
    let known = repository.environment.is_some() || repository.environments.is_empty();
    found.extend(
        posture
            .as_ref()
            .err()
            .filter(|_| known)
            .map(|problem| (**problem).clone()),
    );
    shared.sources.quote(&mut found);
    tidy(&mut found);
    let posture = match posture {
        Ok(posture) if found.iter().all(|problem| problem.severity != Severity::Error) => posture,
        _ => return Err(found),
    };
    Ok(Loaded {
        graph,
        program: inner,
        warnings: found,
        fingerprint,
        posture,
    })
}

/// In the order of places, each once.
fn tidy(found: &mut Vec<Problem>) {
    let order = |problem: &Problem| {
        let place = problem.span.clone();
        (
            place,
            Reverse(problem.severity),
            problem.code,
            problem.message.clone(),
        )
    };
    found.sort_by_cached_key(order);
    // The type check and the evaluation can find the same thing.
    found.dedup_by(|later, earlier| earlier.span == later.span && earlier.message == later.message);
}

fn is_helper(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with('_'))
}

type Asts = BTreeMap<String, AstModule>;

fn share(
    request: &Request<'_>,
    repository: &Repository,
    parsed: Vec<Parsed>,
    found: &mut Vec<Problem>,
) -> (Arc<Shared>, Asts, BTreeSet<String>) {
    let mut sources = Sources::default();
    let mut facts = HashMap::new();
    let mut asts = BTreeMap::new();
    let mut names = BTreeSet::new();
    for one in parsed {
        names.extend(one.declares);
        if let Some((ast, found)) = one.ast {
            facts.insert(one.source.path.clone(), found);
            asts.insert(one.source.path.clone(), ast);
        }
        sources.add(one.source);
    }
    for file in repository
        .codesets
        .iter()
        .chain(&repository.connections)
        .chain(&repository.environment)
    {
        sources.add(Source::new(&file.path, &file.text));
    }
    let codesets: Vec<String> = repository.codesets.iter().map(|file| file.path.clone()).collect();
    let codesets = CodeSets::read(&codesets, &sources, found);
    let environment = repository
        .environment
        .as_ref()
        .and_then(|file| sources.get(&file.path));
    let environment = Environment::read(request.environment, environment, request.secrets, found);
    if repository.environment.is_none() && !repository.environments.is_empty() {
        let name = request.environment;
        let message = format!("there is no environment `{name}`: no file environments/{name}.toml");
        let known = repository.environments.iter().map(String::as_str);
        let suggestion = match problems::did_you_mean(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", repository.environments.join(", ")),
        };
        found.push(Problem::error("unknown-environment", message).suggest(suggestion));
    }
    let specs = request.connectors.to_vec();
    let root = request.root.to_path_buf();
    (
        Arc::new(Shared {
            specs,
            environment,
            codesets,
            sources,
            facts,
            root,
        }),
        asts,
        names,
    )
}

/// A load under way.
struct Load<'a> {
    shared: Arc<Shared>,
    asts: &'a Asts,
    globals: Globals,
    registry: Registry,
    counter: usize,
    modules: BTreeMap<String, FrozenModule>,
    interfaces: HashMap<String, Interface>,
    failed: BTreeSet<String>,
    /// Whether some file uses names that do not exist.
    poisoned: bool,
}

impl<'a> Load<'a> {
    fn new(shared: Arc<Shared>, asts: &'a Asts, found: Vec<Problem>) -> Load<'a> {
        let registry = Registry {
            problems: found,
            ..Registry::default()
        };
        let globals = globals::build(&shared.specs, &BTreeSet::new());
        Load {
            shared,
            asts,
            globals,
            registry,
            counter: 0,
            modules: BTreeMap::new(),
            interfaces: HashMap::new(),
            failed: BTreeSet::new(),
            poisoned: false,
        }
    }

    fn fail(&mut self, path: &str, problem: Option<Problem>) {
        self.failed.insert(path.to_owned());
        self.registry.problems.extend(problem);
    }

    /// Loads a file after the helpers that it names. `open` are the files that wait for this one.
    fn file(&mut self, path: &str, open: &mut Vec<String>) {
        if self.modules.contains_key(path) || self.failed.contains(path) {
            return;
        }
        let Some(ast) = self.asts.get(path) else {
            return self.fail(path, None);
        };
        open.push(path.to_owned());
        let mut ready = true;
        let mut needed = Vec::new();
        for load in ast.loads() {
            match self.helper(load.module_id, open) {
                Ok(helper) => {
                    ready &= self.modules.contains_key(&helper);
                    needed.push((load.module_id.to_owned(), helper));
                }
                Err(problem) => {
                    ready = false;
                    let span = fault::place(&self.shared, &load.span);
                    self.registry.problems.push(problem.at(span));
                }
            }
        }
        open.pop();
        let globals = self.check_types(path, ast, &needed);
        match ready {
            true => self.evaluate(path, ast.clone(), &needed, &globals),
            false => self.fail(path, None),
        }
    }

    /// Loads the helper that a `load(...)` names, and gives its path.
    fn helper(&mut self, name: &str, open: &mut Vec<String>) -> Result<String, Box<Problem>> {
        let hint = "helpers are files like config/_codes.star: `load(\"_codes.star\", \"SEX\")`";
        if !name.starts_with('_') || !name.ends_with(".star") || name.contains(['/', '\\']) {
            let message = format!(
                "only helpers beside this file can be loaded, not `{}`",
                fault::tidy(name)
            );
            return Err(Box::new(Problem::error("bad-load", message).suggest(hint)));
        }
        let path = format!("config/{name}");
        if open.contains(&path) {
            return Err(Box::new(Problem::error(
                "load-cycle",
                format!("`{name}` loads itself, directly or through others"),
            )));
        }
        if !self.asts.contains_key(&path) && self.shared.sources.get(&path).is_none() {
            let known: Vec<&str> = self
                .asts
                .keys()
                .filter(|path| is_helper(path))
                .filter_map(|path| path.strip_prefix("config/"))
                .collect();
            let problem = Problem::error("bad-load", format!("there is no helper config/{name}"));
            return Err(Box::new(match problems::did_you_mean(name, known) {
                Some(near) => problem.suggest(format!("did you mean `{near}`?")),
                None => problem.suggest(hint),
            }));
        }
        self.file(&path, open);
        Ok(path)
    }

    /// Lint and type check. Gives what the file is to be evaluated with: names that do not exist are
    /// reported here and stand for undefined values from then on, so that the rest of the file is looked at.
    fn check_types(&mut self, path: &str, ast: &AstModule, needed: &[(String, String)]) -> Globals {
        for lint in ast
            .lint(None)
            .into_iter()
            .filter(|lint| is_useful(&lint.short_name))
        {
            let span = fault::place(&self.shared, &lint.location);
            let line = self
                .shared
                .sources
                .get(&span.file)
                .and_then(|source| source.line_of(&span));
            if lint.short_name == "unused-assign"
                && line.is_some_and(|line| line.trim_start().starts_with("for "))
            {
                // `for i in range(10)` needs a name even when nobody reads it.
                continue;
            }
            self.registry
                .problems
                .push(Problem::warning("lint", fault::tidy(&lint.problem)).at(span));
        }
        let loads = needed
            .iter()
            .filter_map(|(name, path)| Some((name.clone(), self.interfaces.get(path)?.clone())))
            .collect();
        let mut globals = self.globals.clone();
        let mut unknown = BTreeSet::new();
        loop {
            let (errors, _, interface, _) = ast.clone().typecheck(&globals, &loads);
            let told: Vec<(String, Option<FileSpan>)> = errors.iter().map(told).collect();
            let before = unknown.clone();
            for (text, at) in &told {
                if let Some(name) = unknown_name(text).filter(|name| !before.contains(*name)) {
                    unknown.insert(name.to_owned());
                    let problem = self.problem("unknown-name", text, at.as_ref());
                    self.registry.problems.push(problem);
                }
            }
            if unknown.len() == before.len() {
                // What else it said of a file with unknown names only followed from them.
                for (text, at) in told.iter().filter(|(text, _)| unknown_name(text).is_none()) {
                    let problem = self.problem("type", text, at.as_ref());
                    self.registry.problems.push(problem);
                }
                self.interfaces.insert(path.to_owned(), interface);
                self.poisoned |= !unknown.is_empty();
                return globals;
            }
            globals = globals::build(&self.shared.specs, &unknown);
        }
    }

    fn problem(&self, code: &'static str, text: &str, at: Option<&FileSpan>) -> Problem {
        let mut text = fault::tidy(text);
        let mut suggestion = None;
        if let Some((what, near)) = text.rsplit_once(", did you mean ") {
            suggestion = Some(format!("did you mean {near}"));
            text = what.to_owned();
        }
        if let Some(name) = unknown_name(&text) {
            // The interpreter's own guess knows only its library and takes the first of equals.
            let known: Vec<String> = self
                .globals
                .names()
                .map(|name| name.as_str().to_owned())
                .collect();
            let near = problems::did_you_mean(name, known.iter().map(String::as_str));
            suggestion = near.map(|near| format!("did you mean `{near}`?")).or(suggestion);
        }
        if text.starts_with("Variable `print`") {
            suggestion = Some("use `log(\"text\")`: it goes to the message's trail".to_owned());
        }
        let mut problem = Problem::error(code, text);
        problem.span = at.map(|at| fault::place(&self.shared, at));
        problem.suggestion = suggestion;
        problem
    }

    fn evaluate(&mut self, path: &str, ast: AstModule, needed: &[(String, String)], globals: &Globals) {
        let host = Host::Load(Loading {
            shared: self.shared.clone(),
            registry: RefCell::new(std::mem::take(&mut self.registry)),
            counter: Cell::new(self.counter),
            module: path.to_owned(),
        });
        let known = needed
            .iter()
            .filter_map(|(name, path)| Some((name.as_str(), self.modules.get(path)?)))
            .collect();
        let file_loader = ReturnFileLoader { modules: &known };
        let outcome = Module::with_temp_heap(|module| {
            {
                let mut eval = Evaluator::new(&module);
                eval.extra = Some(&host);
                eval.set_loader(&file_loader);
                limits::bound_load(&mut eval)?;
                eval.eval_module(ast, globals)?;
            }
            module.freeze().map_err(starlark::Error::from)
        });
        if let Host::Load(loading) = host {
            self.registry = loading.registry.into_inner();
            self.counter = loading.counter.get();
        }
        self.conclude(path, outcome);
    }

    /// Whether an evaluation ended only because of a value that is reported as undefined; that problem then
    /// says that more may follow.
    fn follows_from_another(&mut self, path: &str, text: &str) -> bool {
        let undefined = text.contains("`undefined`") || text.contains("<undefined>");
        let cause = self.registry.problems.iter_mut().rev().find(|problem| {
            let here = problem.span.as_ref().is_some_and(|span| span.file == path);
            here && matches!(problem.code, "unknown-name" | "undefined-value")
        });
        let Some(cause) = cause.filter(|_| undefined) else {
            return false;
        };
        cause.suggestion = Some(match cause.suggestion.take() {
            Some(first) => format!("{first}; {REST}"),
            None => REST.to_owned(),
        });
        true
    }

    fn conclude(&mut self, path: &str, outcome: Result<FrozenModule, starlark::Error>) {
        match outcome {
            Ok(module) => drop(self.modules.insert(path.to_owned(), module)),
            Err(error) => {
                let text = error.without_diagnostic().to_string();
                if self.follows_from_another(path, &text) {
                    return self.fail(path, None);
                }
                let text = limits::breach(&text).map_or(text, |_| {
                    "the file takes too long, or too much memory, to load".to_owned()
                });
                let frames = error.call_stack().clone().into_frames();
                let at = error
                    .span()
                    .cloned()
                    .or_else(|| frames.into_iter().rev().find_map(|frame| frame.location));
                let mut problem =
                    self.problem("evaluation", text.trim_start_matches("fail:").trim(), at.as_ref());
                // A limit has no place of its own.
                let start = || Span {
                    file: path.to_owned(),
                    line: 1,
                    column: 1,
                    width: 1,
                };
                problem.span.get_or_insert_with(start);
                problem.suggestion.get_or_insert_with(|| REST.to_owned());
                self.fail(path, Some(problem));
            }
        }
    }
}

/// What an evaluation that ends early leaves open.
const REST: &str = "what stands after it in this file is checked once this is corrected";

/// What the type check says, and where. An unknown name that a top-level variable is made of stops it with an
/// error of its own making.
fn told(error: &starlark::Error) -> (String, Option<FileSpan>) {
    let text = error.without_diagnostic().to_string();
    let at = error.span().cloned();
    match &at {
        Some(at) if text.contains("unresolved ident") => (
            format!("Variable `{}` not found", at.source_span()),
            Some(at.clone()),
        ),
        _ => (text, at),
    }
}

/// The name that the interpreter does not know.
fn unknown_name(text: &str) -> Option<&str> {
    Some(text.strip_prefix("Variable `")?.split_once('`')?.0)
}

/// Lints that point at mistakes; those about taste stay out.
fn is_useful(lint: &str) -> bool {
    matches!(
        lint,
        "missing-return"
            | "missing-return-expression"
            | "unreachable"
            | "no-effect"
            | "ident-as-statement"
            | "duplicate-key"
            | "duplicate-top-level-assign"
            | "unused-load"
            | "unused-assign"
            | "using-unassigned"
            | "using-maybe-undefined"
    )
}

fn graph(registry: &Registry, wiring: &Wiring<'_>) -> Graph {
    let mut graph = Graph::default();
    for (name, (inbound, _)) in &registry.inbounds {
        graph.inbounds.insert(name.clone(), inbound.clone());
    }
    for (name, (outbound, _)) in &registry.outbounds {
        graph.outbounds.insert(name.clone(), outbound.clone());
    }
    for ((role, name), function) in &registry.functions {
        let mentions = wiring.mentions(function);
        let declared = GraphFunction {
            name: name.clone(),
            span: function.span.clone(),
            mentions,
        };
        match role {
            Role::Router => drop(graph.routers.insert(name.clone(), declared)),
            Role::Handler => drop(graph.handlers.insert(name.clone(), declared)),
            Role::Test => {}
        }
    }
    graph
}

fn assemble(
    shared: &Arc<Shared>,
    registry: &Registry,
    modules: &mut BTreeMap<String, FrozenModule>,
    graph: &Graph,
    found: &mut Vec<Problem>,
) -> Arc<Inner> {
    let mut functions: BTreeMap<Role, BTreeMap<String, Callable>> = BTreeMap::new();
    for ((role, name), function) in &registry.functions {
        // A file that failed later on has no module; that is reported already.
        let Some(module) = modules.get(&function.module) else {
            continue;
        };
        match module.get_any_visibility(&function.variable) {
            Ok((value, _)) => {
                let callable = Callable {
                    value,
                    span: function.span.clone(),
                };
                functions.entry(*role).or_default().insert(name.clone(), callable);
            }
            Err(_) => found.push(
                Problem::error(
                    "load",
                    format!("the {} `{name}` was lost while loading", role.word()),
                )
                .at(function.span.clone()),
            ),
        }
    }
    let names = check::names(graph);
    Arc::new_cyclic(|me| Inner {
        shared: shared.clone(),
        functions,
        names,
        me: me.clone(),
    })
}
