//! `inbound(...)` and `outbound(...)`: from arguments to checked declarations.

use std::str::FromStr;
use std::time::Duration;

use formats::hl7;
use model::connector::{self, Spec};
use model::graph::{AckMode, Format, Inbound, OnError, Ordering, Outbound, RETENTION_DAYS_MAX, Retry};
use model::problem::Problem;

use super::keys;
use super::options::{self, Direction};
use super::raw::{Arguments, Raw, Taker};
use super::registry::{Declared, Registry};

/// Positional arguments of both, in order.
pub(crate) const POSITIONAL: [&str; 2] = ["name", "connector"];
/// Positional arguments of `retry`, in order.
pub(crate) const RETRY_POSITIONAL: [&str; 1] = ["max_attempts"];

/// How many sends may be in flight when the order allows more than one and nothing is said.
const CONCURRENCY_DEFAULT: u32 = 16;
const CONCURRENCY_MAX: i64 = 4_096;
/// Deliveries of a strict FIFO lane that may be repeated after a crash, at most.
const UNRECORDED_MAX: i64 = 64;

/// Declares an inbound.
pub(crate) fn inbound(arguments: &Arguments, specs: &[Spec], registry: &mut Registry) {
    let mut problems = std::mem::take(&mut registry.problems);
    let mut taker = Taker::new("inbound", arguments, &mut problems);
    let name = taker.required_text("name", "a text such as \"IB_ACME_ADT\"");
    let connector = taker.take("connector");
    let router = taker.required_text("router", "the name of a router");
    let format = match taker.choice("format", &["hl7", "raw"]) {
        "raw" => Format::Raw,
        _ => Format::Hl7,
    };
    let strict = taker.flag("strict", false);
    let ack = match taker.choice("ack", &["on_commit", "none"]) {
        "none" => AckMode::None,
        _ => AckMode::OnCommit,
    };
    taker.choice("ordering", &["fifo"]);
    let ordering = partition(&mut taker).map_or(Ordering::Fifo, |path| Ordering::Partitioned { path });
    if let (Format::Raw, Ordering::Partitioned { .. }, Some(argument)) =
        (format, &ordering, taker.take("partition"))
    {
        taker.report(
            Problem::error(
                "wrong-value",
                "a partition is an HL7 path, and this inbound is raw",
            )
            .at(argument.span.clone()),
        );
    }
    let mut days = |name| {
        let days = taker.integer(name, 0..=i64::from(RETENTION_DAYS_MAX));
        days.and_then(|days| u32::try_from(days).ok())
    };
    let (retention_days, dead_letter_days) = (days("retention_days"), days("dead_letter_days"));
    let metadata_days = days("metadata_days");
    if let (Some(whole), Some(metadata), Some(argument)) =
        (retention_days, metadata_days, taker.take("metadata_days"))
        && metadata < whole
    {
        taker.report(
            Problem::error("out-of-range", "`metadata_days` is shorter than `retention_days`")
                .at(argument.span.clone())
                .suggest(
                    "`retention_days` says when bodies go, and `metadata_days`, if it is longer, when the rest does",
                ),
        );
    }
    let keys = keys::read(&mut taker, format);
    taker.finish();
    let call = connector_call(connector, Direction::Inbound, arguments, specs, &mut problems);
    registry.problems = problems;
    let (Some(name), Some(router)) = (name, router) else {
        return;
    };
    let (Raw::Text(text), Raw::Text(router_name)) = (&name.value, &router.value) else {
        return;
    };
    check_name(text, "IB_", name.span.clone(), registry);
    let complete = call.is_some();
    registry.inbound(
        Inbound {
            name: text.clone(),
            connector: call.unwrap_or_else(|| broken(arguments)),
            router: router_name.clone(),
            format,
            strict,
            ack,
            ordering,
            retention_days,
            metadata_days,
            dead_letter_days,
            keys,
            span: name.span.clone(),
        },
        Declared {
            complete,
            link: router.span.clone(),
        },
    );
}

/// Declares an outbound.
pub(crate) fn outbound(arguments: &Arguments, specs: &[Spec], registry: &mut Registry) {
    let mut problems = std::mem::take(&mut registry.problems);
    let mut taker = Taker::new("outbound", arguments, &mut problems);
    let name = taker.required_text("name", "a text such as \"OB_ACME_ADT\"");
    let connector = taker.take("connector");
    let word = taker.choice("ordering", &["fifo", "unordered", "priority", "lifo"]);
    let ordering = ordering(word, partition(&mut taker), &mut taker);
    let several = matches!(ordering, Ordering::Partitioned { .. } | Ordering::Unordered);
    let concurrency = match taker.integer("concurrency", 1..=CONCURRENCY_MAX) {
        Some(number) => {
            if number > 1
                && !several
                && let Some(argument) = taker.take("concurrency")
            {
                taker.report(
                    Problem::error("wrong-value", format!("`concurrency` above 1 does not go with the order `{word}`"))
                        .at(argument.span.clone())
                        .suggest("add `partition = \"PID-3.1\"` to keep order per patient, or `ordering = \"unordered\"`"),
                );
            }
            u32::try_from(number).unwrap_or(1)
        }
        None if several => CONCURRENCY_DEFAULT,
        None => 1,
    };
    let unrecorded = match taker.integer("unrecorded", 1..=UNRECORDED_MAX) {
        Some(number) => {
            if number > 1
                && ordering != Ordering::Fifo
                && let Some(argument) = taker.take("unrecorded")
            {
                taker.report(
                    Problem::error(
                        "wrong-value",
                        "`unrecorded` above 1 is for outbounds in strict order".to_owned(),
                    )
                    .at(argument.span.clone())
                    .suggest(
                        "leave it out: `concurrency` says how many sends of this outbound are in flight",
                    ),
                );
            }
            u32::try_from(number).unwrap_or(1)
        }
        None => 1,
    };
    let retry_argument = taker.take("retry");
    let on_error = match taker.choice("on_error", &["continue", "stop"]) {
        "stop" => OnError::Stop,
        _ => OnError::Continue,
    };
    let reply_to = taker.text("reply_to");
    let retry = match retry_argument.map(|argument| (&argument.value, argument)) {
        Some((Raw::Call(call), _)) if call.function == "retry" => Some(&call.arguments),
        Some((Raw::None | Raw::Missing, _)) | None => None,
        Some((_, argument)) => {
            taker.wrong(argument, "`retry(...)`");
            None
        }
    };
    taker.finish();
    let retry = retry.map_or_else(Retry::default, |arguments| read_retry(arguments, &mut problems));
    let call = connector_call(connector, Direction::Outbound, arguments, specs, &mut problems);
    registry.problems = problems;
    let Some(name) = name else { return };
    let Raw::Text(text) = &name.value else { return };
    check_name(text, "OB_", name.span.clone(), registry);
    let link = reply_to.map_or_else(|| name.span.clone(), |(_, argument)| argument.span.clone());
    let complete = call.is_some();
    registry.outbound(
        Outbound {
            name: text.clone(),
            connector: call.unwrap_or_else(|| broken(arguments)),
            ordering,
            concurrency,
            unrecorded,
            retry,
            on_error,
            reply_to: reply_to.map(|(text, _)| text.to_owned()),
            span: name.span.clone(),
        },
        Declared { complete, link },
    );
}

fn ordering(word: &str, partition: Option<String>, taker: &mut Taker<'_, '_>) -> Ordering {
    match (word, partition) {
        ("fifo", Some(path)) => Ordering::Partitioned { path },
        (word, Some(_)) => {
            if let Some(argument) = taker.take("partition") {
                taker.report(
                    Problem::error(
                        "wrong-value",
                        format!("`partition` does not go with the order `{word}`"),
                    )
                    .at(argument.span.clone())
                    .suggest("remove one of the two: a partition is order per key"),
                );
            }
            Ordering::Fifo
        }
        ("unordered", None) => Ordering::Unordered,
        ("priority", None) => Ordering::Priority,
        ("lifo", None) => Ordering::Lifo,
        _ => Ordering::Fifo,
    }
}

fn partition(taker: &mut Taker<'_, '_>) -> Option<String> {
    let (text, argument) = taker.text("partition")?;
    match hl7::Path::from_str(text) {
        Ok(path) if path.within().is_some() => Some(text.to_owned()),
        Ok(_) => {
            taker.report(
                Problem::error(
                    "bad-path",
                    format!("`{text}` is a whole segment; a partition is one value"),
                )
                .at(argument.span.clone())
                .suggest(format!("name a field, such as `{text}-3.1`")),
            );
            None
        }
        Err(error) => {
            let problem = Problem::error("bad-path", error.text.clone()).at(argument.span.clone());
            taker.report(match error.suggestion {
                Some(path) => problem.suggest(format!("did you mean `{path}`?")),
                None => problem,
            });
            None
        }
    }
}

fn read_retry(arguments: &Arguments, problems: &mut Vec<Problem>) -> Retry {
    let mut taker = Taker::new("retry", arguments, problems);
    let max_attempts = taker
        .integer("max_attempts", 1..=1_000_000)
        .and_then(|number| u32::try_from(number).ok());
    let backoff = taker.number("backoff", 0.0..=86_400.0, 1.0);
    let default_max = 60.0_f64.max(backoff);
    let backoff_max = taker.number("backoff_max", 0.0..=604_800.0, default_max);
    let factor = taker.number("factor", 1.0..=100.0, 2.0);
    let jitter = taker.number("jitter", 0.0..=1.0, 0.2);
    if backoff_max < backoff
        && let Some(argument) = taker.take("backoff_max")
    {
        taker.report(
            Problem::error("out-of-range", "`backoff_max` is shorter than `backoff`")
                .at(argument.span.clone()),
        );
    }
    taker.finish();
    let permille = |number: f64| (number * 1_000.0).round() as u32;
    Retry {
        max_attempts,
        backoff: Duration::from_secs_f64(backoff),
        backoff_max: Duration::from_secs_f64(backoff_max.max(backoff)),
        factor_permille: permille(factor),
        jitter_permille: permille(jitter),
    }
}

fn connector_call(
    argument: Option<&super::raw::Argument>,
    direction: Direction,
    arguments: &Arguments,
    specs: &[Spec],
    problems: &mut Vec<Problem>,
) -> Option<connector::Call> {
    let wanted = format!(
        "a connector, such as `{}(...)`",
        specs.first().map_or("mllp", |spec| spec.name)
    );
    let function = direction.function();
    match argument.map(|argument| (&argument.value, argument)) {
        Some((Raw::Call(call), _)) if specs.iter().any(|spec| spec.name == call.function) => {
            options::check(call, direction, specs, problems)
        }
        Some((Raw::Missing, _)) => None,
        Some((_, argument)) => {
            let message = format!(
                "`connector` of `{function}` wants {wanted}, not {}",
                argument.value.kind()
            );
            problems.push(Problem::error("wrong-type", message).at(argument.span.clone()));
            None
        }
        None => {
            let message = format!("`{function}` needs {wanted}");
            problems.push(Problem::error("missing-option", message).at(arguments.span.clone()));
            None
        }
    }
}

/// Stands in for a connector whose faults are reported; such a configuration never loads.
fn broken(arguments: &Arguments) -> connector::Call {
    connector::Call {
        connector: String::new(),
        options: Default::default(),
        span: arguments.span.clone(),
    }
}

/// Names stand in the database, in addresses and in metrics.
pub(crate) fn is_legal_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(legal)
}

fn check_name(name: &str, prefix: &str, span: model::problem::Span, registry: &mut Registry) {
    if !is_legal_name(name) {
        let message = "a connection's name has 1 to 64 letters, digits, `_`, `-` or `.`";
        registry
            .problems
            .push(Problem::error("bad-name", message).at(span));
    } else if !name.starts_with(prefix) {
        let message = format!("`{name}` does not follow the naming of connections: {prefix}PARTNER_TYPE");
        let bare = name
            .trim_start_matches("IB_")
            .trim_start_matches("OB_")
            .to_uppercase();
        let problem = Problem::warning("naming", message)
            .at(span)
            .suggest(format!("call it `{prefix}{bare}`"));
        registry.problems.push(problem);
    }
}
