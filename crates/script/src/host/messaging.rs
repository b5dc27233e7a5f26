//! The functions of a call: `send`, `log`, and what `del` becomes.

use std::sync::Arc;

use bytes::Bytes;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::bytes::StarlarkBytes;
use starlark::values::dict::DictMut;
use starlark::values::none::NoneType;
use starlark::values::starlark_value_as_type::StarlarkValueAsType;
use starlark::values::tuple::{AllocTuple, UnpackTuple};
use starlark::values::{Value, ValueLike};

use super::message::Message;
use super::path;
use super::raw_content::RawContent;
use super::segment::Segment;
use super::sent::Sent;
use super::{Host, Running};
use crate::Send;
use crate::declare::registry::Role;

/// The most sends of one call, and the most lines and bytes of its log.
const SENDS_MAX: usize = 10_000;
const LOG_LINES_MAX: usize = 100;
const LOG_LINE_MAX: usize = 1_000;

/// The bytes to send; `None` = what came in.
fn body(
    running: &Running,
    value: Value<'_>,
) -> anyhow::Result<(Option<Bytes>, Option<formats::hl7::Message>)> {
    if let Some(message) = value.downcast_ref::<Message>() {
        let message = message.state().message.clone();
        let same = !message.is_edited() && message.raw().as_ptr() == running.incoming.as_ptr();
        let body = if same { None } else { Some(message.encode()?) };
        return Ok((body, Some(message)));
    }
    if let Some(raw) = value.downcast_ref::<RawContent>() {
        let same =
            raw.bytes.as_ptr() == running.incoming.as_ptr() && raw.bytes.len() == running.incoming.len();
        return Ok(((!same).then(|| raw.bytes.clone()), None));
    }
    if let Some(text) = value.unpack_str() {
        return Ok((Some(Bytes::copy_from_slice(text.as_bytes())), None));
    }
    if let Some(bytes) = value.downcast_ref::<StarlarkBytes>() {
        return Ok((Some(Bytes::copy_from_slice(bytes.as_bytes())), None));
    }
    anyhow::bail!(
        "`send` wants a message, a text or bytes, not `{}`",
        value.get_type()
    )
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// The type of `msg`, for annotations.
    const Message: StarlarkValueAsType<Message> = StarlarkValueAsType::new();

    /// Sends a message, as it is now, to an outbound (or to a passthrough inbound).
    fn send<'v>(
        destination: &str,
        message: Value<'v>,
        #[starlark(default = 0)] priority: i32,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<Sent> {
        let running = Host::of(eval)?.running("send")?;
        if running.role != Role::Handler {
            anyhow::bail!("only a handler sends; a {} does not", running.role.word());
        }
        let mut sends = running.sends.borrow_mut();
        if sends.len() >= SENDS_MAX {
            anyhow::bail!("more than {SENDS_MAX} sends of one message");
        }
        let (body, message) = body(running, message)?;
        sends.push(Some(Send {
            destination: Arc::from(destination),
            body,
            priority,
            message,
        }));
        Ok(Sent(sends.len() - 1))
    }

    /// Writes a line to the message's trail. Never give it a message: its text is kept.
    fn log<'v>(
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        let mut lines = Host::of(eval)?.running("log")?.log.borrow_mut();
        if text.contains(['\r', '\n']) || text.starts_with("MSH|") {
            anyhow::bail!("`log` takes one line about the message, never the message itself");
        }
        if lines.len() < LOG_LINES_MAX {
            lines.push(text.chars().take(LOG_LINE_MAX).collect());
        }
        Ok(NoneType)
    }

    /// What `del x[key]` becomes.
    fn _delete<'v>(
        #[starlark(require = pos)] from: Value<'v>,
        #[starlark(require = pos)] key: Value<'v>,
        #[starlark(args)] more: UnpackTuple<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> anyhow::Result<NoneType> {
        let heap = eval.heap();
        let index = if more.items.is_empty() {
            key
        } else {
            let all: Vec<Value<'v>> = std::iter::once(key).chain(more.items).collect();
            heap.alloc(AllocTuple(all))
        };
        if let Some(message) = from.downcast_ref::<Message>() {
            message.change()?.delete(&path::of(index)?)?;
        } else if let Some(segment) = from.downcast_ref::<Segment<'v>>() {
            segment.delete(index)?;
        } else {
            let mut dict = DictMut::from_value(from).map_err(|_| {
                anyhow::anyhow!(
                    "`del` works on messages, segments and dicts, not on `{}`",
                    from.get_type()
                )
            })?;
            let hashed = index
                .get_hashed()
                .map_err(|error| anyhow::anyhow!("{}", error.without_diagnostic()))?;
            if dict.aref.remove_hashed(hashed).is_none() {
                anyhow::bail!("the key is not in the dict");
            }
        }
        Ok(NoneType)
    }
}
