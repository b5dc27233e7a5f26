//! PostgreSQL's messages: what is executed, and when a transaction has ended.

use super::{Asked, Reader};

/// A text of several statements is read as far as this.
const TEXT_MAX: usize = 64 << 10;
/// What a client may send before the server knows it: its length comes first, without a type.
const TLS_WANTED: u32 = 80_877_103;

#[derive(Default)]
pub(super) struct Postgres {
    asking: Messages,
    answering: Messages,
    /// The client has introduced itself.
    introduced: bool,
    /// Something was executed since the last transaction ended.
    executed: bool,
}

impl Reader for Postgres {
    fn sent(&mut self, bytes: &[u8]) -> Asked {
        let mut asked = Asked::default();
        let mut bytes = bytes;
        if !self.introduced {
            // An introduction comes alone, in one piece: nothing may follow before the server's answer.
            let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
            if word(4) == Some(TLS_WANTED) {
                return asked;
            }
            let length = word(0).map_or(bytes.len(), |length| length as usize);
            bytes = bytes.get(length..).unwrap_or_default();
            self.introduced = true;
        }
        self.asking.read(bytes, |kind, body| {
            let statements = match kind {
                b'E' => 1,
                b'Q' => statements(body),
                _ => 0,
            };
            asked.requests += u64::from(statements > 0);
            asked.statements += statements;
        });
        self.executed |= asked.requests > 0;
        asked
    }

    fn received(&mut self, bytes: &[u8]) -> Asked {
        let mut ended = 0;
        // The answer to the wish for TLS is one letter, before the introduction.
        let bytes = if self.introduced { bytes } else { &[] };
        let executed = &mut self.executed;
        self.answering.read(bytes, |kind, body| {
            // Ready for the next request, outside of a transaction.
            if kind == b'Z' && body.first() == Some(&b'I') && std::mem::take(executed) {
                ended += 1;
            }
        });
        Asked {
            transactions: ended,
            ..Asked::default()
        }
    }
}

/// Statements of a text that ends with a zero.
fn statements(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body);
    let parts = text.trim_end_matches('\0').split(';');
    parts.filter(|part| !part.trim().is_empty()).count() as u64
}

/// Puts messages together: a type, a length that counts itself, a body.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    body: Vec<u8>,
    left: usize,
}

impl Messages {
    fn read(&mut self, mut bytes: &[u8], mut whole: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.head.len() < 5 {
                let (head, rest) = bytes.split_at(bytes.len().min(5 - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let [_, length @ ..] = &self.head[..]
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                }
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= body.len();
            bytes = rest;
            let room = TEXT_MAX.saturating_sub(self.body.len());
            self.body.extend_from_slice(&body[..body.len().min(room)]);
            if self.head.len() == 5 && self.left == 0 {
                whole(self.head[0], &self.body);
                self.head.clear();
                self.body.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn asked(requests: u64, statements: u64, transactions: u64) -> Asked {
        Asked {
            requests,
            statements,
            transactions,
        }
    }

    #[test]
    fn statements_and_ends_of_transactions_are_counted_wherever_the_bytes_break() {
        let ask = [
            message(b'P', b"\0SELECT 1\0\0\0"),
            message(b'B', b"\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ]
        .concat();
        let ready = message(b'Z', b"I");
        for piece in [1, 3, 7, 1000] {
            let mut of = Postgres::default();
            assert_eq!(
                of.sent(&[&8_u32.to_be_bytes()[..], &TLS_WANTED.to_be_bytes()].concat()),
                asked(0, 0, 0)
            );
            assert_eq!(of.received(b"N"), asked(0, 0, 0));
            assert_eq!(of.sent(&[0, 0, 0, 9, 0, 3, 0, 0, 0]), asked(0, 0, 0));
            // Ready after the log-in: nothing was executed.
            assert_eq!(of.received(&ready), asked(0, 0, 0));
            let mut sum = asked(0, 0, 0);
            for part in ask.chunks(piece) {
                let now = of.sent(part);
                sum = asked(sum.requests + now.requests, sum.statements + now.statements, 0);
            }
            assert_eq!(sum, asked(1, 1, 0));
            let ends: u64 = ready
                .chunks(piece)
                .map(|part| of.received(part).transactions)
                .sum();
            assert_eq!(ends, 1);
        }
    }

    #[test]
    fn a_transaction_of_several_requests_counts_once() {
        let mut of = Postgres {
            introduced: true,
            ..Postgres::default()
        };
        assert_eq!(of.sent(&message(b'Q', b"BEGIN;\0")), asked(1, 1, 0));
        assert_eq!(of.received(&message(b'Z', b"T")), asked(0, 0, 0));
        assert_eq!(of.sent(&message(b'Q', b"SELECT 1; COMMIT\0")), asked(1, 2, 0));
        assert_eq!(of.received(&message(b'Z', b"I")), asked(0, 0, 1));
    }
}
