//! The functions of a load: `inbound`, `outbound`, `router`, `handler`, `test`, `env`, `code_set`.

use model::problem::Span;
use starlark::collections::SmallMap;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::none::NoneType;
use starlark::values::tuple::UnpackTuple;
use starlark::values::{Value, ValueLike};

use super::call_value::{self, Undefined};
use super::{Host, Loading};
use crate::declare::connection;
use crate::declare::raw::{Argument, Arguments};
use crate::declare::registry::{Function, Role};
use crate::environment::{self, Wanted};
use crate::language::syntax::{self, ArgumentPlace};

/// Where a call stands: its file and its range in the parsed text.
struct Site {
    file: String,
    range: syntax::Range,
}

fn site(eval: &Evaluator<'_, '_, '_>) -> anyhow::Result<Site> {
    let span = eval
        .call_stack_top_location()
        .ok_or_else(|| anyhow::anyhow!("called from nowhere"))?;
    Ok(Site {
        file: span.filename().to_owned(),
        range: syntax::range(span.span),
    })
}

fn span_of(loading: &Loading, site: &Site, range: syntax::Range) -> Span {
    match loading.shared.sources.get(&site.file) {
        Some(source) => source.place_parsed(range.0, range.1),
        None => Span {
            file: site.file.clone(),
            line: 1,
            column: 1,
            width: 1,
        },
    }
}

/// The place of the call that is being made.
pub(crate) fn here(eval: &Evaluator<'_, '_, '_>, loading: &Loading) -> anyhow::Result<Span> {
    let site = site(eval)?;
    Ok(span_of(loading, &site, site.range))
}

/// The arguments of the call that is being made, each with its place.
pub(crate) fn arguments(
    eval: &Evaluator<'_, '_, '_>,
    function: &str,
    names: &'static [&'static str],
    positional: Vec<Value<'_>>,
    named: Vec<(String, Value<'_>)>,
) -> anyhow::Result<Arguments> {
    let loading = Host::of(eval)?.loading(function)?;
    if positional.len() > names.len() {
        anyhow::bail!("`{function}` takes its options by name: `{function}(option = value)`");
    }
    let site = site(eval)?;
    let facts = loading.shared.facts.get(&site.file);
    let places = facts
        .and_then(|facts| facts.arguments(site.range))
        .unwrap_or_default();
    let spot = |place: Option<&ArgumentPlace>| {
        let key = place.map_or(site.range, |place| place.key);
        let value = place.map_or(site.range, |place| place.value);
        (
            span_of(loading, &site, key),
            span_of(loading, &site, value),
            place.is_some_and(|place| place.literal),
        )
    };
    let unnamed: Vec<&ArgumentPlace> = places.iter().filter(|place| place.name.is_none()).collect();
    let mut all = Vec::new();
    for (index, value) in positional.into_iter().enumerate() {
        let (key, span, literal) = spot(unnamed.get(index).copied());
        all.push(Argument {
            name: names[index].to_owned(),
            key,
            value: call_value::raw(value),
            span,
            literal,
        });
    }
    for (name, value) in named {
        let (key, span, literal) = spot(places.iter().find(|place| place.name.as_deref() == Some(&name)));
        all.push(Argument {
            name,
            key,
            value: call_value::raw(value),
            span,
            literal,
        });
    }
    Ok(Arguments {
        all,
        span: span_of(loading, &site, site.range),
    })
}

fn declare_function<'v>(
    role: Role,
    function: Value<'v>,
    name: Option<&str>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> anyhow::Result<NoneType> {
    let word = role.word();
    let loading = Host::of(eval)?.loading(word)?;
    if function.downcast_ref::<Undefined>().is_some() {
        // The name exists all the same, so that those who use it are not blamed.
        let promised = name.map(ToOwned::to_owned);
        loading.registry.borrow_mut().promised.extend(promised);
        return Ok(NoneType);
    }
    let Some(parameters) = function.parameters_spec() else {
        anyhow::bail!(
            "`{word}` wants a function, not a value of type `{}`",
            function.get_type()
        );
    };
    let wanted = if role == Role::Test { 0 } else { 1 };
    let callable = parameters.can_fill_with_args(wanted, &[]);
    let definition = function.function_name().map(ToOwned::to_owned);
    let name = name
        .map(ToOwned::to_owned)
        .or_else(|| definition.clone().filter(|name| name != "lambda"));
    let Some(name) = name else {
        anyhow::bail!("`{word}` of a lambda wants a name: `{word}(lambda msg: ..., \"name\")`");
    };
    let site = site(eval)?;
    let number = loading.counter.get();
    loading.counter.set(number + 1);
    let variable = format!("_declared_{number}");
    let span = span_of(loading, &site, site.range);
    let mut registry = loading.registry.borrow_mut();
    if !callable {
        let message = match role {
            Role::Test => format!("the test `{name}` must take no parameter"),
            _ => format!("the {word} `{name}` must take one parameter, the message: `def {name}(msg):`"),
        };
        registry
            .problems
            .push(model::problem::Problem::error("wrong-parameters", message).at(span.clone()));
    }
    if role != Role::Test && !crate::declare::connection::is_legal_name(&name) {
        let message = format!("a {word}'s name has 1 to 64 letters, digits, `_`, `-` or `.`");
        let problem = model::problem::Problem::error("bad-name", message);
        registry.problems.push(problem.at(span.clone()));
    }
    registry.function(Function {
        name,
        role,
        file: site.file,
        definition,
        variable: variable.clone(),
        module: loading.module.clone(),
        span,
    });
    drop(registry);
    eval.set_module_variable_at_some_point(&variable, function)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(NoneType)
}

fn wanted_type(value: Option<Value<'_>>) -> anyhow::Result<Wanted> {
    let Some(value) = value else {
        return Ok(Wanted::Text);
    };
    let name = value
        .unpack_str()
        .map_or_else(|| value.to_str(), ToOwned::to_owned);
    let short = ["str", "string", "int", "bool", "float"]
        .into_iter()
        .find(|word| name == *word || name.contains(&format!("\"{word}\"")));
    short
        .and_then(Wanted::by_name)
        .ok_or_else(|| anyhow::anyhow!("`env` converts to str, int, bool or float only"))
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// Declares an endpoint that receives.
    fn inbound<'v>(
        #[starlark(args)] args: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] kwargs: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        let given = arguments(
            eval,
            "inbound",
            &connection::POSITIONAL,
            args.items,
            kwargs.into_iter().collect(),
        )?;
        let loading = Host::of(eval)?.loading("inbound")?;
        connection::inbound(&given, &loading.shared.specs, &mut loading.registry.borrow_mut());
        Ok(NoneType)
    }

    /// Declares an endpoint that sends.
    fn outbound<'v>(
        #[starlark(args)] args: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] kwargs: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        let given = arguments(
            eval,
            "outbound",
            &connection::POSITIONAL,
            args.items,
            kwargs.into_iter().collect(),
        )?;
        let loading = Host::of(eval)?.loading("outbound")?;
        connection::outbound(&given, &loading.shared.specs, &mut loading.registry.borrow_mut());
        Ok(NoneType)
    }

    /// Declares a router.
    fn router<'v>(
        #[starlark(require = pos)] function: Value<'v>,
        name: Option<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        declare_function(Role::Router, function, name, eval)
    }

    /// Declares a handler.
    fn handler<'v>(
        #[starlark(require = pos)] function: Value<'v>,
        name: Option<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        declare_function(Role::Handler, function, name, eval)
    }

    /// Declares a test.
    fn test<'v>(
        #[starlark(require = pos)] function: Value<'v>,
        name: Option<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        declare_function(Role::Test, function, name, eval)
    }

    /// A value of the environment, read at load.
    fn env<'v>(
        #[starlark(require = pos)] key: &str,
        r#type: Option<Value<'v>>,
        default: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Value<'v>> {
        let wanted = wanted_type(r#type)?;
        let loading = Host::of(eval)?.loading("env")?;
        let heap = eval.heap();
        let problem = match loading.shared.environment.get(key, wanted) {
            Some(Ok(value)) => {
                return Ok(match value {
                    environment::Value::Text(text) => heap.alloc(text),
                    environment::Value::Int(number) => heap.alloc(number),
                    environment::Value::Bool(flag) => Value::new_bool(flag),
                    environment::Value::Float(number) => heap.alloc(number),
                });
            }
            Some(Err(message)) => model::problem::Problem::error("wrong-type", message),
            None => match default {
                Some(default) => return Ok(default),
                None => loading.shared.environment.undefined(key),
            },
        };
        let span = here(eval, loading)?;
        loading.registry.borrow_mut().problems.push(problem.at(span));
        Ok(heap.alloc(Undefined))
    }

    /// A frozen dict from config/codesets.
    fn code_set<'v>(
        #[starlark(require = pos)] name: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Value<'v>> {
        let host = Host::of(eval)?;
        if let Some(dict) = host.shared().codesets.get(name) {
            return Ok(eval.heap().access_owned_frozen_value(&dict));
        }
        let Host::Load(loading) = host else {
            anyhow::bail!("{}", host.shared().codesets.unknown_text(name))
        };
        let span = here(eval, loading)?;
        let problem = loading.shared.codesets.unknown(name, span);
        loading.registry.borrow_mut().problems.push(problem);
        Ok(eval.heap().alloc(starlark::values::dict::AllocDict(
            Vec::<(Value<'v>, Value<'v>)>::new(),
        )))
    }

    /// The name of the environment.
    fn current_environment(eval: &mut Evaluator) -> anyhow::Result<String> {
        Ok(Host::of(eval)?.shared().environment.name.clone())
    }
}
