//! TDS: batches of statements and calls of `sp_executesql`, and what their texts say of transactions.
//!
//! Statements are told apart by semicolons; a piece that declares a variable or ends a block is none.

use super::{Asked, Reader};

/// A request is kept as far as this: its text comes first.
const TEXT_MAX: usize = 128 << 10;

const BATCH: u8 = 1;
const CALL: u8 = 3;
const LAST: u8 = 1;

#[derive(Default)]
pub(super) struct SqlServer {
    head: Vec<u8>,
    /// Bytes of a packet that are still to come.
    left: usize,
    body: Vec<u8>,
    /// A transaction of several requests is under way.
    within: bool,
}

impl Reader for SqlServer {
    fn sent(&mut self, mut bytes: &[u8]) -> Asked {
        let mut asked = Asked::default();
        while !bytes.is_empty() {
            if self.head.len() < 8 {
                let (head, rest) = bytes.split_at(bytes.len().min(8 - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if self.head.len() < 8 {
                    break;
                }
                let length = u16::from_be_bytes([self.head[2], self.head[3]]);
                self.left = usize::from(length).saturating_sub(8);
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= body.len();
            bytes = rest;
            let room = TEXT_MAX.saturating_sub(self.body.len());
            self.body.extend_from_slice(&body[..body.len().min(room)]);
            if self.left == 0 {
                if self.head[1] & LAST != 0 {
                    self.request(self.head[0], &mut asked);
                    self.body.clear();
                }
                self.head.clear();
            }
        }
        asked
    }

    fn received(&mut self, _bytes: &[u8]) -> Asked {
        Asked::default()
    }
}

impl SqlServer {
    fn request(&mut self, kind: u8, asked: &mut Asked) {
        let text = match kind {
            BATCH => after_headers(&self.body).map(utf16),
            CALL => after_headers(&self.body).and_then(called),
            _ => None,
        };
        let Some(text) = text else { return };
        let pieces = text.split(';').map(str::trim);
        let statements = pieces.filter(|piece| {
            let word = piece.split_whitespace().next().unwrap_or_default();
            !matches!(word.to_ascii_uppercase().as_str(), "" | "DECLARE" | "END")
        });
        asked.requests += 1;
        asked.statements += statements.count() as u64;
        let begins = text.contains("BEGIN TRANSACTION");
        let ends = text.contains("COMMIT TRANSACTION") || text.contains("ROLLBACK TRANSACTION");
        self.within = (self.within || begins) && !ends;
        asked.transactions += u64::from(!self.within);
    }
}

/// What comes before a request's content says how long it is.
fn after_headers(body: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(body.get(..4)?.try_into().ok()?);
    body.get(length as usize..)
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|two| u16::from_le_bytes([two[0], two[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The text that `sp_executesql` is called with: its first value.
fn called(body: &[u8]) -> Option<String> {
    const BY_NUMBER: [u8; 2] = [0xff, 0xff];
    const SP_EXECUTESQL: [u8; 2] = [10, 0];
    const NVARCHAR: u8 = 0xe7;
    const IN_PIECES: u16 = 0xffff;
    let rest = body.strip_prefix(&BY_NUMBER)?.strip_prefix(&SP_EXECUTESQL)?;
    let rest = rest.get(2..)?; // options
    let name = usize::from(*rest.first()?);
    let rest = rest.get(1 + 2 * name + 1..)?; // its name, whether it is given back
    let rest = rest.strip_prefix(&[NVARCHAR])?;
    let most = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
    let rest = rest.get(2 + 5..)?; // collation
    if most != IN_PIECES {
        let length = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        return Some(utf16(rest.get(2..2 + usize::from(length))?));
    }
    let mut rest = rest.get(8..)?;
    let mut text = Vec::new();
    loop {
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        if length == 0 {
            return Some(utf16(&text));
        }
        text.extend_from_slice(rest.get(4..4 + length)?);
        rest = rest.get(4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [u8; 4] = [4, 0, 0, 0];

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// In packets of so many bytes of content.
    fn packets(kind: u8, body: &[u8], each: usize) -> Vec<u8> {
        let count = body.len().div_ceil(each);
        let mut all = Vec::new();
        for (index, part) in body.chunks(each).enumerate() {
            let length = u16::try_from(part.len() + 8).unwrap().to_be_bytes();
            let last = u8::from(index + 1 == count);
            all.extend([kind, last, length[0], length[1], 0, 0, 0, 0]);
            all.extend_from_slice(part);
        }
        all
    }

    fn call(text: &str, in_pieces: bool) -> Vec<u8> {
        let text = wide(text);
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let mut body = [&HEADERS[..], &[0xff, 0xff, 10, 0, 0, 0, 0, 0, 0xe7]].concat();
        if in_pieces {
            body.extend([0xff, 0xff, 0, 0, 0, 0, 0]);
            body.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            for piece in text.chunks(10) {
                body.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
                body.extend_from_slice(piece);
            }
            body.extend([0, 0, 0, 0]);
        } else {
            body.extend([length[0], length[1], 0, 0, 0, 0, 0]);
            body.extend(length);
            body.extend_from_slice(&text);
        }
        body.extend([1, 2, 3]); // the other values
        body
    }

    fn asked(requests: u64, statements: u64, transactions: u64) -> Asked {
        Asked {
            requests,
            statements,
            transactions,
        }
    }

    #[test]
    fn calls_are_read_whole_or_in_pieces_wherever_packets_break() {
        let text = "BEGIN TRANSACTION; DECLARE @own int; SELECT @own = 1; IF @own = 1 BEGIN INSERT INTO a SELECT 1; END; \
                    COMMIT TRANSACTION; SELECT @own;";
        for in_pieces in [false, true] {
            for each in [7, 64, 4000] {
                let mut of = SqlServer::default();
                let bytes = packets(CALL, &call(text, in_pieces), each);
                let mut sum = asked(0, 0, 0);
                for part in bytes.chunks(5) {
                    let now = of.sent(part);
                    sum = asked(
                        sum.requests + now.requests,
                        sum.statements + now.statements,
                        sum.transactions + now.transactions,
                    );
                }
                assert_eq!(sum, asked(1, 5, 1), "{in_pieces} {each}");
            }
        }
    }

    #[test]
    fn a_transaction_of_several_batches_counts_once_and_a_log_in_not_at_all() {
        let batch = |text: &str| packets(BATCH, &[&HEADERS[..], &wide(text)].concat(), 4000);
        let mut of = SqlServer::default();
        assert_eq!(
            of.sent(&packets(16, b"whatever a log-in holds", 4000)),
            asked(0, 0, 0)
        );
        assert_eq!(of.sent(&batch("BEGIN TRANSACTION")), asked(1, 1, 0));
        assert_eq!(of.sent(&batch("SELECT 1; SELECT 2")), asked(1, 2, 0));
        assert_eq!(of.sent(&batch("COMMIT TRANSACTION")), asked(1, 1, 1));
        assert_eq!(of.sent(&batch("SELECT 3")), asked(1, 1, 1));
    }
}
