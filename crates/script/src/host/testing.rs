//! The functions of a test: `sample`, `run`, `route`, `expect`, `expect_eq`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use model::Timestamp;
use starlark::collections::SmallMap;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::dict::Dict;
use starlark::values::list::AllocList;
use starlark::values::none::NoneType;
use starlark::values::{Heap, Value, ValueLike};

use super::message::Message;
use super::raw_content::RawContent;
use super::{Host, Running};
use crate::contract::{Content, Incoming, Program, Send};
use crate::declare::registry::Role;
use crate::program;

/// The largest sample file, in bytes.
const SAMPLE_BYTES_MAX: u64 = 32 << 20;
/// When samples came in, unless they say otherwise.
const RECEIVED_AT: &str = "2026-01-01T00:00:00Z";

fn running<'h>(eval: &'h Evaluator<'_, '_, '_>, function: &str) -> anyhow::Result<&'h Running> {
    let running = Host::of(eval)?.running(function)?;
    if running.role != Role::Test {
        anyhow::bail!("`{function}` works in `@test` functions only");
    }
    Ok(running)
}

/// A sample's file: under `messages/`, with or without saying so, and nowhere else.
fn sample_path(root: &Path, given: &str) -> anyhow::Result<PathBuf> {
    let relative = Path::new(given);
    if !relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        anyhow::bail!("`{given}` is not a path under messages/");
    }
    let folder = root.join("messages");
    let inside = relative.strip_prefix("messages").unwrap_or(relative);
    let missing = || anyhow::anyhow!("there is no sample messages/{}", inside.display());
    let path = folder.join(inside).canonicalize().map_err(|_| missing())?;
    let folder = folder.canonicalize().map_err(|_| missing())?;
    if !path.starts_with(&folder) || !path.is_file() {
        return Err(missing());
    }
    Ok(path)
}

fn sample_bytes(root: &Path, given: &str) -> anyhow::Result<Bytes> {
    if given.trim_start().starts_with("MSH") {
        // A text in the test itself: its lines may be indented like the code around it.
        let lines: Vec<&str> = given
            .trim()
            .split(['\r', '\n'])
            .map(str::trim_start)
            .filter(|line| !line.is_empty())
            .collect();
        return Ok(Bytes::from(lines.join("\r") + "\r"));
    }
    if given.contains('\n') || given.trim_start().starts_with(['{', '[', '<']) {
        return Ok(Bytes::copy_from_slice(given.as_bytes()));
    }
    let path = sample_path(root, given)?;
    if path.metadata()?.len() > SAMPLE_BYTES_MAX {
        anyhow::bail!("the sample {given} is larger than {} MiB", SAMPLE_BYTES_MAX >> 20);
    }
    Ok(Bytes::from(std::fs::read(path)?))
}

fn content(bytes: Bytes) -> anyhow::Result<Content> {
    let start = bytes
        .iter()
        .take(64)
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace() && byte.is_ascii());
    if start.take(3).eq(*b"MSH") {
        return Ok(Content::Hl7(formats::hl7::Message::parse(bytes)?));
    }
    Ok(Content::Raw(bytes))
}

fn incoming(value: Value<'_>) -> anyhow::Result<Incoming> {
    let (content, received_at) = if let Some(message) = value.downcast_ref::<Message>() {
        let state = message.state();
        // As if it had come in like this: edits of a test are part of what is received.
        let content = match state.message.is_edited() {
            true => Content::Hl7(formats::hl7::Message::parse(state.message.encode()?)?),
            false => Content::Hl7(state.message.clone()),
        };
        (content, message.received_at())
    } else if let Some(raw) = value.downcast_ref::<RawContent>() {
        (Content::Raw(raw.bytes.clone()), raw.received_at)
    } else {
        anyhow::bail!(
            "a sample is wanted: `sample(\"messages/adt_a01.hl7\")`, not `{}`",
            value.get_type()
        );
    };
    Ok(Incoming {
        content,
        received_at,
        inbound: Arc::from("TEST"),
        id: "0-1".to_owned(),
    })
}

/// A send as the test sees it: a message, or raw content.
fn received<'v>(heap: Heap<'v>, send: Send, from: &Incoming) -> Value<'v> {
    let content = match (send.message, send.body) {
        (Some(message), _) => Content::Hl7(message),
        (None, Some(body)) => Content::Raw(body),
        (None, None) => from.content.clone(),
    };
    program::allocate(
        heap,
        &Incoming {
            content,
            ..from.clone()
        },
        false,
    )
}

fn shown(value: Value<'_>) -> String {
    value.to_repr().chars().take(300).collect()
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// A message from a file under messages/, or from a text in the test.
    fn sample<'v>(
        #[starlark(require = pos)] source: &str,
        #[starlark(require = named)] received_at: Option<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Value<'v>> {
        let at = DateTime::parse_from_rfc3339(received_at.unwrap_or(RECEIVED_AT));
        let at =
            at.map_err(|_| anyhow::anyhow!("`received_at` is an ISO time, such as \"{RECEIVED_AT}\""))?;
        let bytes = sample_bytes(&running(eval, "sample")?.shared.root, source)?;
        let incoming = Incoming {
            content: content(bytes)?,
            received_at: Timestamp(at.timestamp_micros()),
            inbound: Arc::from("TEST"),
            id: "0-1".to_owned(),
        };
        Ok(program::allocate(eval.heap(), &incoming, false))
    }

    /// Runs a handler: a dict from destination to the message sent there (a list when there are several).
    fn run<'v>(
        #[starlark(require = pos)] handler: &str,
        #[starlark(require = pos)] message: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        let incoming = incoming(message)?;
        let program = running(eval, "run")?
            .program
            .upgrade()
            .ok_or_else(|| anyhow::anyhow!("the program is gone"))?;
        let handled = program
            .handle(handler, &incoming)
            .map_err(|fault| anyhow::anyhow!("{fault}"))?;
        let mut sends: SmallMap<String, Vec<Value<'v>>> = SmallMap::new();
        for send in handled.sends {
            let destination = send.destination.to_string();
            let message = received(heap, send, &incoming);
            match sends.get_mut(&destination) {
                Some(list) => list.push(message),
                None => drop(sends.insert(destination, vec![message])),
            }
        }
        let mut answer = SmallMap::new();
        for (destination, messages) in sends {
            let value = match messages.as_slice() {
                [one] => *one,
                all => heap.alloc(AllocList(all.iter().copied())),
            };
            answer.insert_hashed(heap.alloc(destination).get_hashed()?, value);
        }
        Ok(heap.alloc(Dict::new(answer)))
    }

    /// Runs a router: the list of handler names.
    fn route<'v>(
        #[starlark(require = pos)] router: &str,
        #[starlark(require = pos)] message: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Vec<String>> {
        let incoming = incoming(message)?;
        let program = running(eval, "route")?
            .program
            .upgrade()
            .ok_or_else(|| anyhow::anyhow!("the program is gone"))?;
        let routed = program
            .route(router, &incoming)
            .map_err(|fault| anyhow::anyhow!("{fault}"))?;
        Ok(routed.handlers.iter().map(ToString::to_string).collect())
    }

    /// Fails the test when the condition does not hold.
    fn expect<'v>(
        #[starlark(require = pos)] condition: Value<'v>,
        #[starlark(default = "the condition does not hold")] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        running(eval, "expect")?;
        if !condition.to_bool() {
            anyhow::bail!("{text}");
        }
        Ok(NoneType)
    }

    /// Fails the test when the two differ.
    fn expect_eq<'v>(
        #[starlark(require = pos)] found: Value<'v>,
        #[starlark(require = pos)] expected: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        running(eval, "expect_eq")?;
        if !found.equals(expected)? {
            return Err(anyhow::anyhow!("found {}, expected {}", shown(found), shown(expected)).into());
        }
        Ok(NoneType)
    }

    /// Fails the test when the function does not fail, or fails for another reason.
    fn expect_fail<'v>(
        #[starlark(require = pos)] function: Value<'v>,
        #[starlark(default = "")] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        running(eval, "expect_fail")?;
        match eval.eval_function(function, &[], &[]) {
            Ok(_) => anyhow::bail!("it did not fail"),
            Err(error) if error.without_diagnostic().to_string().contains(text) => Ok(NoneType),
            Err(error) => anyhow::bail!("it failed for another reason: {}", error.without_diagnostic()),
        }
    }
}
