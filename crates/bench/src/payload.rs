//! What is sent: a pool of generated messages in which only the control id changes.
//!
//! Rendering is a copy around one slot, so that the sender's cost is the socket's. The same sequence
//! number always renders to the same bytes: a re-sent message is the same message.

use bytes::Bytes;

use crate::control_id::ControlId;
use crate::recipe::Recipe;

const POOL_MESSAGES: usize = 256;
const POOL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A pool cannot be made of this.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The messages cannot be made.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::Fault),
    /// No message was given.
    #[error("there is no message to send")]
    Empty,
    /// A message has no MSH-10 to carry the control id.
    #[error("message {index} has no MSH segment with a field 10 to carry a control id")]
    NoControlId {
        /// Which one, from 0.
        index: usize,
    },
}

/// Message templates, taken in turn by sequence number.
#[derive(Clone, Debug)]
pub struct Pool(Vec<Template>);

#[derive(Clone)]
struct Template {
    message: Bytes,
    slot: std::ops::Range<usize>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({} bytes)", self.message.len())
    }
}

impl Pool {
    /// A pool of given messages.
    ///
    /// # Errors
    /// [`Fault`] when there are none, or one has no place for a control id.
    pub fn of(messages: impl IntoIterator<Item = Bytes>) -> Result<Pool, Fault> {
        let templates = messages
            .into_iter()
            .enumerate()
            .map(|(index, message)| {
                let slot = control_id_slot(&message).ok_or(Fault::NoControlId { index })?;
                Ok(Template { message, slot })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        if templates.is_empty() {
            Err(Fault::Empty)
        } else {
            Ok(Pool(templates))
        }
    }

    /// A pool of made-up messages: several of each kind, as far as memory is in proportion.
    ///
    /// # Errors
    /// [`Fault::Recipe`] when a kind, version or date is not one.
    pub fn generated(recipe: &Recipe) -> Result<Pool, Fault> {
        let messages = recipe.messages()?;
        let fitting = POOL_BYTES_MAX / recipe.size.unwrap_or(1024).max(1);
        let count = fitting.clamp(4, POOL_MESSAGES).max(messages.kinds());
        Pool::of(messages.take(count))
    }

    /// Appends the message of `id`.
    pub fn render(&self, id: &ControlId, out: &mut Vec<u8>) {
        let Template { message, slot } = &self.0[id.sequence as usize % self.0.len()];
        out.extend_from_slice(&message[..slot.start]);
        id.render(out);
        out.extend_from_slice(&message[slot.end..]);
    }

    /// The mean size of a rendered message, in bytes.
    pub fn mean_size(&self) -> usize {
        let total: usize = self.0.iter().map(|t| t.message.len() - t.slot.len() + 17).sum();
        total / self.0.len()
    }
}

/// Where MSH-10 stands.
fn control_id_slot(message: &[u8]) -> Option<std::ops::Range<usize>> {
    let field = crate::wire::header_field(message, 10)?;
    let start = field.as_ptr() as usize - message.as_ptr() as usize;
    Some(start..start + field.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_id::RunId;

    fn id(sequence: u32) -> ControlId {
        ControlId {
            run: RunId::from_number(1),
            lane: 0,
            sequence,
            part: 0,
        }
    }

    #[test]
    fn only_the_control_id_changes() {
        let pool = Pool::of([
            Bytes::from_static(b"MSH|^~\\&|A|||||x|ADT^A01|OLD|P|2.5\rPID|1\r"),
            Bytes::from_static(b"MSH|^~\\&|B|||||x|ADT^A08||P|2.5\rPID|2\r"),
        ])
        .unwrap();
        for (sequence, text) in [
            (0, "MSH|^~\\&|A|||||x|ADT^A01|R001-L00-00000000|P|2.5\rPID|1\r"),
            (1, "MSH|^~\\&|B|||||x|ADT^A08|R001-L00-00000001|P|2.5\rPID|2\r"),
            (2, "MSH|^~\\&|A|||||x|ADT^A01|R001-L00-00000002|P|2.5\rPID|1\r"),
        ] {
            let mut out = Vec::new();
            pool.render(&id(sequence), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn a_message_that_cannot_carry_an_id_is_refused() {
        assert!(matches!(Pool::of([]), Err(Fault::Empty)));
        let short = Bytes::from_static(b"MSH|^~\\&|A\rPID|1|||||||||");
        assert!(matches!(Pool::of([short]), Err(Fault::NoControlId { index: 0 })));
    }
}
