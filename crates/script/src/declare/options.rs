//! Checks one call of a connector factory against what the connector says of itself.

use std::collections::BTreeMap;

use model::connector::{self, Param, ParamKind, Spec, Value};
use model::problem::Problem;

use super::raw::{Argument, Call, Raw, Taker};
use crate::{problems, secrets};

/// Which side of a connector is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// It receives.
    Inbound,
    /// It sends.
    Outbound,
}

impl Direction {
    /// The function that declares it.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }

    fn params(self, spec: &Spec) -> Option<&[Param]> {
        match self {
            Direction::Inbound => spec.inbound.as_deref(),
            Direction::Outbound => spec.outbound.as_deref(),
        }
    }
}

/// The call with every option of that direction filled in; `None` (and problems) when it does not fit.
pub(crate) fn check(
    call: &Call,
    direction: Direction,
    specs: &[Spec],
    problems: &mut Vec<Problem>,
) -> Option<connector::Call> {
    let span = &call.arguments.span;
    let spec = specs.iter().find(|spec| spec.name == call.function)?;
    let Some(params) = direction.params(spec) else {
        let can = if direction == Direction::Inbound {
            "cannot receive"
        } else {
            "cannot send"
        };
        let message = format!(
            "the connector `{}` {can}: it does not go with `{}`",
            spec.name,
            direction.function()
        );
        let others = specs
            .iter()
            .filter(|spec| direction.params(spec).is_some())
            .map(|spec| spec.name);
        let others = others.collect::<Vec<_>>().join(", ");
        problems.push(
            Problem::error("wrong-direction", message)
                .at(span.clone())
                .suggest(format!("use one of {others}")),
        );
        return None;
    };
    let before = problems.len();
    let mut options = BTreeMap::new();
    let mut taker = Taker::new(spec.name, &call.arguments, problems);
    for param in params {
        let given = taker
            .take(param.name)
            .filter(|argument| argument.value != Raw::Missing);
        let value = match (given, &param.default) {
            (Some(argument), default) => match value(param, argument, default.as_ref()) {
                Ok(value) => Some(value),
                Err(problem) => {
                    taker.report(problem.at(argument.span.clone()));
                    None
                }
            },
            (None, Some(default)) => Some(default.clone()),
            (None, None) => {
                // Given, but undefined: reported where it is read.
                if taker.take(param.name).is_none() {
                    taker.missing(param.name, &param.kind.to_string());
                }
                None
            }
        };
        options.extend(value.map(|value| (param.name.to_owned(), value)));
    }
    taker.finish();
    for argument in call
        .arguments
        .all
        .iter()
        .filter(|argument| argument.literal && secrets::is_secret(&argument.name))
    {
        problems.push(problems::secret_in_file(&argument.name, argument.span.clone()));
    }
    for argument in &call.arguments.all {
        if argument.literal && matches!(&argument.value, Raw::Text(text) if secrets::in_address(text)) {
            problems.push(problems::password_in_address(
                &argument.name,
                argument.span.clone(),
            ));
        }
    }
    (problems.len() == before).then(|| connector::Call {
        connector: spec.name.to_owned(),
        options,
        span: span.clone(),
    })
}

/// One option's value; the problem lacks its place.
fn value(param: &Param, argument: &Argument, default: Option<&Value>) -> Result<Value, Box<Problem>> {
    let refuse = |code, text: String| Err(Box::new(Problem::error(code, text)));
    let range = |text: String| refuse("out-of-range", format!("`{}` {text}", param.name));
    match (&argument.value, param.kind) {
        (Raw::None, _) if default == Some(&Value::None) => Ok(Value::None),
        (Raw::Bool(flag), ParamKind::Bool) => Ok(Value::Bool(*flag)),
        (Raw::Int(number), ParamKind::Int) => Ok(Value::Int(*number)),
        (Raw::Int(number), ParamKind::Port) => match number {
            0..=65535 => Ok(Value::Int(*number)),
            _ => range(format!("is {number}; a port goes from 1 to 65535")),
        },
        (Raw::Text(text), ParamKind::Text) => Ok(Value::Text(text.clone())),
        (Raw::Text(text), ParamKind::Choice(words)) if words.contains(&text.as_str()) => {
            Ok(Value::Text(text.clone()))
        }
        (Raw::Text(text), ParamKind::Choice(words)) => {
            let message = format!("`{}` is one of {}", param.name, words.join(", "));
            Err(Box::new(problems::unknown(
                "wrong-value",
                message,
                argument.span.clone(),
                text,
                words.iter().copied(),
            )))
        }
        (Raw::Int(number), ParamKind::Seconds) => {
            seconds(*number as f64).map_or_else(|| range("is no time".into()), Ok)
        }
        (Raw::Float(number), ParamKind::Seconds) => {
            seconds(*number).map_or_else(|| range("is no time".into()), Ok)
        }
        (Raw::List(items), ParamKind::TextList) => texts(items).map(Value::List).map_or_else(
            || {
                refuse(
                    "wrong-type",
                    format!("`{}` wants a list of texts only", param.name),
                )
            },
            Ok,
        ),
        (given, kind) => refuse(
            "wrong-type",
            format!("`{}` wants {kind}, not {}", param.name, given.kind()),
        ),
    }
}

fn texts(items: &[Raw]) -> Option<Vec<String>> {
    items
        .iter()
        .map(|item| match item {
            Raw::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// Seconds as microseconds, up to a hundred years.
fn seconds(number: f64) -> Option<Value> {
    const MAX: f64 = 100.0 * 366.0 * 86_400.0;
    (0.0..=MAX)
        .contains(&number)
        .then(|| Value::Micros((number * 1e6).round() as i64))
}
