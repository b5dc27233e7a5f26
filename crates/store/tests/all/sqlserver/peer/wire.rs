//! As much of the protocol (MS-TDS) as a peer needs to say: packets and tokens, well formed. Spoiling them is the
//! tests' work.

/// Bytes of a packet's header.
pub(super) const HEADER: usize = 8;
/// The kind of packet that a server answers with.
pub(super) const ANSWER: u8 = 4;

/// One packet, the last of its message.
pub(super) fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + HEADER).expect("the tests' packets are short");
    let mut bytes = vec![kind, 1];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 1, 0]);
    bytes.extend(payload);
    bytes
}

/// An answer in as many packets as it takes.
pub(super) fn message(payload: &[u8]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = payload.chunks(4_000).collect();
    let mut bytes = Vec::new();
    for (place, chunk) in chunks.iter().enumerate() {
        let mut packet = packet(ANSWER, chunk);
        packet[1] = u8::from(place + 1 == chunks.len());
        bytes.extend(packet);
    }
    bytes
}

/// A text of 16-bit units behind the number of its units.
pub(super) fn short_text(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = vec![u8::try_from(units.len()).expect("a name is short")];
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes
}

/// A token with its length in 16 bits.
pub(super) fn token(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(body.len()).expect("a token is short").to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The answer to a client's first packet: version 16, no encryption.
pub(super) fn prelogin() -> Vec<u8> {
    let mut payload = vec![0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff];
    payload.extend([16, 0, 16, 0, 0, 0]);
    payload.push(2);
    packet(ANSWER, &payload)
}

pub(super) fn login_ack() -> Vec<u8> {
    let mut body = vec![1];
    body.extend(0x7400_0004_u32.to_be_bytes());
    body.extend(short_text("Peer"));
    body.extend([16, 0, 16, 0]);
    token(0xad, &body)
}

/// A change of the session's surroundings that is told as two texts.
pub(super) fn change(kind: u8, new: &str, old: &str) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(short_text(new));
    body.extend(short_text(old));
    token(0xe3, &body)
}

/// Go to another server.
pub(super) fn route(host: &str, port: u16) -> Vec<u8> {
    let units: Vec<u16> = host.encode_utf16().collect();
    let mut inner = vec![0];
    inner.extend(port.to_le_bytes());
    inner.extend(u16::try_from(units.len()).expect("a host is short").to_le_bytes());
    inner.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    let mut body = vec![20];
    body.extend(u16::try_from(inner.len()).expect("a host is short").to_le_bytes());
    body.extend(inner);
    body.extend([0, 0]);
    token(0xe3, &body)
}

/// The end of an answer: `0xfd` of a batch, `0xfe` of a call.
pub(super) fn done(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend([0; 12]);
    bytes
}

/// What a server says of an error, and the end of the answer that it ends.
pub(super) fn error(number: u32, class: u8, text: &str) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend([1, class]);
    let units: Vec<u16> = text.encode_utf16().collect();
    body.extend(u16::try_from(units.len()).expect("a text is short").to_le_bytes());
    body.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    body.extend(short_text("peer"));
    body.extend(short_text(""));
    body.extend(1_u32.to_le_bytes());
    let mut bytes = token(0xaa, &body);
    let end = bytes.len();
    bytes.extend(done(0xfd));
    bytes[end + 1] = 2;
    bytes
}

/// A value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// 32 bits.
    Int(i32),
    /// 64 bits.
    Big(i64),
    Text(String),
    /// 64 bits that are missing.
    NoBig,
    NoText,
}

/// Rows of one shape.
pub(super) fn rows(rows: &[Vec<Cell>]) -> Vec<u8> {
    let mut bytes = columns(&rows[0]);
    for row in rows {
        bytes.extend(one_row(row));
    }
    bytes
}

/// What columns there are.
pub(super) fn columns(row: &[Cell]) -> Vec<u8> {
    let mut bytes = vec![0x81];
    bytes.extend(u16::try_from(row.len()).expect("a row is narrow").to_le_bytes());
    for cell in row {
        bytes.extend([0, 0, 0, 0, 1, 0]);
        match cell {
            Cell::Int(_) => bytes.extend([0x26, 4]),
            Cell::Big(_) | Cell::NoBig => bytes.extend([0x26, 8]),
            Cell::Text(_) | Cell::NoText => bytes.extend([0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34]),
        }
        bytes.extend(short_text("c"));
    }
    bytes
}

pub(super) fn one_row(row: &[Cell]) -> Vec<u8> {
    let mut bytes = vec![0xd1];
    for cell in row {
        match cell {
            Cell::Int(value) => {
                bytes.push(4);
                bytes.extend(value.to_le_bytes());
            }
            Cell::Big(value) => {
                bytes.push(8);
                bytes.extend(value.to_le_bytes());
            }
            Cell::NoBig => bytes.push(0),
            Cell::NoText => bytes.extend([0xff, 0xff]),
            Cell::Text(text) => {
                let units: Vec<u16> = text.encode_utf16().collect();
                bytes.extend(
                    u16::try_from(units.len() * 2)
                        .expect("a text is short")
                        .to_le_bytes(),
                );
                bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
            }
        }
    }
    bytes
}

/// The access token in a log-in (LOGIN7): the feature FEDAUTH, library "security token". `None` where there is none, or not
/// as the protocol wants it.
pub(super) fn token_of(login: &[u8]) -> Option<String> {
    const EXTENSION: u8 = 0x10; // of the third byte of options
    const FEDAUTH: u8 = 2;
    const SECURITY_TOKEN: u8 = 1;
    let long = |at: usize| -> Option<usize> {
        let bytes = login.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    if login.get(27)? & EXTENSION == 0 {
        return None;
    }
    let pointer = usize::from(u16::from_le_bytes(login.get(56..58)?.try_into().ok()?));
    let mut at = long(pointer)?;
    while *login.get(at)? != 0xff {
        let (feature, length) = (login[at], long(at + 1)?);
        let body = at + 5;
        if feature == FEDAUTH {
            if login.get(body)? >> 1 != SECURITY_TOKEN {
                return None;
            }
            let units = login.get(body + 5..body + 5 + long(body + 1)?)?;
            let units: Vec<u16> = units
                .chunks_exact(2)
                .map(|two| u16::from_le_bytes([two[0], two[1]]))
                .collect();
            return String::from_utf16(&units).ok();
        }
        at = body + length;
    }
    None
}
