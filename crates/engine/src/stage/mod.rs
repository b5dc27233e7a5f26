//! The three stages. Each runs one task per lane; each handoff is one unit of the store.

pub(crate) mod handle;
pub(crate) mod intake;
pub(crate) mod keys;
pub(crate) mod outbound;
pub(crate) mod pace;
pub(crate) mod route;
mod through;
pub(crate) mod verdicts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use model::{Body, MessageId, NameId, RowId, Timestamp};

use crate::budget::Held;
use crate::core::{Core, Stopping};
use crate::lane::Lane;
use crate::lane::window::{PageRequest, Row};

/// Rows that one lane hands to its function in one go, at most.
pub(crate) const BATCH: usize = 64;

/// A message as the pipeline carries it, once its bytes are in memory.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) inbound: NameId,
    pub(crate) received_at: Timestamp,
    pub(crate) body: Body,
    /// Indexed, once somebody did that.
    pub(crate) parsed: Option<formats::hl7::Message>,
}

/// A message that waits for its router.
#[derive(Debug)]
pub(crate) struct IngressRow {
    pub(crate) id: MessageId,
    pub(crate) work: Option<Held<Work>>,
    /// When it became durable, unless it was read back from the store.
    pub(crate) since: Option<Instant>,
}

/// A message that waits for one handler.
#[derive(Debug)]
pub(crate) struct HandlerRow {
    pub(crate) row: RowId,
    pub(crate) message: MessageId,
    pub(crate) work: Option<Held<Work>>,
    /// When it became durable, unless it was read back from the store.
    pub(crate) since: Option<Instant>,
}

impl Row for IngressRow {
    fn number(&self) -> i64 {
        self.id.raw()
    }
}

impl Row for HandlerRow {
    fn number(&self) -> i64 {
        self.row.0
    }
}

/// Reads the page that a lane asks for, if it asks for one, and fills its window.
pub(crate) async fn refill<T: Row, F>(
    lane: &Lane<T>,
    read: impl FnOnce(PageRequest) -> F,
) -> Result<(), store::Error>
where
    F: Future<Output = Result<Vec<T>, store::Error>>,
{
    let Some(request) = lane.with(|window| window.page_request()) else {
        return Ok(());
    };
    let rows = read(request).await?;
    lane.with(|window| window.fill(request, rows));
    Ok(())
}

/// Fetches the bytes of rows that came without them. `None` for a message that is gone.
pub(crate) async fn works(
    core: &Core,
    rows: impl Iterator<Item = (MessageId, Option<&Work>)>,
) -> Result<Vec<Option<Work>>, store::Error> {
    let mut works = Vec::new();
    let mut missing = Vec::new();
    for (index, (id, work)) in rows.enumerate() {
        if work.is_none() {
            missing.push((index, id));
        }
        works.push(work.cloned());
    }
    let ids: Vec<MessageId> = missing.iter().map(|(_, id)| *id).collect();
    if ids.is_empty() {
        return Ok(works);
    }
    for ((index, _), found) in missing.into_iter().zip(core.store.messages_for_work(&ids).await?) {
        works[index] = found.map(|found| Work {
            inbound: found.inbound,
            received_at: found.received_at,
            body: found.body,
            parsed: None,
        });
    }
    Ok(works)
}

impl Core {
    /// What a function sees of a message; indexes it if its inbound expects HL7 and nobody did yet.
    pub(crate) fn incoming(
        &self,
        id: MessageId,
        work: &mut Work,
    ) -> Result<script::Incoming, formats::hl7::Fault> {
        let name = self.names.name(work.inbound);
        let raw = self
            .graph
            .inbounds
            .get(&*name)
            .is_some_and(|inbound| inbound.format == model::graph::Format::Raw);
        let content = if raw {
            script::Content::Raw(work.body.bytes().clone())
        } else {
            let message = match &work.parsed {
                Some(message) => message.clone(),
                None => formats::hl7::Message::parse(work.body.bytes().clone())?,
            };
            work.parsed = Some(message.clone());
            script::Content::Hl7(message)
        };
        Ok(script::Incoming {
            content,
            received_at: work.received_at,
            inbound: name,
            id: id.to_string(),
        })
    }

    /// Reads from the store, trying again while it cannot answer; one clear line at the start of the trouble.
    pub(crate) async fn read<R, F>(
        &self,
        what: &'static str,
        mut read: impl FnMut() -> F,
    ) -> Result<R, Stopping>
    where
        F: Future<Output = Result<R, store::Error>>,
    {
        let mut waiting = None;
        loop {
            match read().await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    waiting.get_or_insert_with(|| {
                        WaitingReader::begin(&self.waiting_readers, what, &anyhow_chain(&error))
                    });
                    self.pause(std::time::Duration::from_millis(500)).await?;
                }
            }
        }
    }
}

/// A lane that waits for the store. The first of them says so, the last to go on says that; in between
/// thousands may wait without a line.
struct WaitingReader<'a>(&'a AtomicUsize);

impl WaitingReader<'_> {
    fn begin<'a>(all: &'a AtomicUsize, what: &str, error: &str) -> WaitingReader<'a> {
        if all.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(what, error, "the store cannot be read; lanes wait and try again");
        }
        WaitingReader(all)
    }
}

impl Drop for WaitingReader<'_> {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("no lane waits to read the store any more");
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn anyhow_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What a header says, as a key to look it up by: the zero byte, which not every database takes in a text, is
/// replaced. The message itself stays as it came. `None` when it says nothing.
pub(crate) fn key(text: &str) -> Option<Box<str>> {
    match text {
        "" => None,
        text if text.contains('\0') => Some(text.replace('\0', "\u{fffd}").into()),
        text => Some(text.into()),
    }
}

/// A copy that does not keep a whole read buffer alive.
pub(crate) fn compact(body: &Body) -> Body {
    Body(Bytes::copy_from_slice(body))
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_holds_no_zero_byte_and_is_never_empty() {
        assert_eq!(key(""), None);
        assert_eq!(key("A1").as_deref(), Some("A1"));
        assert_eq!(key("A\0B").as_deref(), Some("A\u{fffd}B"));
    }
}
