//! Why bytes were refused or an edit could not be made. Never holds content of a message.

/// What went wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// Byte offset in the bytes that were given, if the fault has a place there.
    pub offset: Option<usize>,
    /// The HL7 path concerned, such as `PID-3`, if there is one.
    pub path: Option<String>,
    /// For a person, complete in itself.
    pub text: String,
}

/// Kinds of fault, for those who must decide by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// No bytes, or nothing but white space.
    Empty,
    /// Does not begin with an MSH segment.
    NotHl7,
    /// MSH-1 or MSH-2 cannot be used.
    Separators,
    /// A line that is not a segment, or a second MSH.
    Segment,
    /// The character set is unknown or not supported.
    Charset,
    /// Bytes that are not valid in the declared character set.
    Undecodable,
    /// A character that has no place in the message's character set.
    Unencodable,
    /// A limit on bytes, segments, fields or gaps was passed.
    Limit,
    /// The segment addressed does not exist.
    NoSegment,
    /// The message declares no separator or escape character that the edit needs.
    NoSeparator,
    /// What the path names cannot be changed this way (MSH-1, MSH-2, a whole segment).
    Fixed,
    /// An acknowledgement that cannot be understood.
    Reply,
    /// A batch or file envelope that cannot be understood.
    Batch,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Fault {
        Fault {
            kind,
            offset: None,
            path: None,
            text: text.into(),
        }
    }

    pub(crate) fn at(mut self, offset: usize) -> Fault {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn on(mut self, path: impl ToString) -> Fault {
        self.path = Some(path.to_string());
        self
    }

    /// Names the path, unless a more exact one is known already.
    pub(crate) fn or_on(self, path: impl ToString) -> Fault {
        if self.path.is_some() { self } else { self.on(path) }
    }

    /// The code of HL7 table 0357 that fits best in an ERR segment.
    pub fn ack_code(&self) -> u16 {
        match self.kind {
            FaultKind::Segment | FaultKind::NotHl7 | FaultKind::Empty | FaultKind::NoSegment => 100,
            FaultKind::Separators => 101,
            FaultKind::Charset | FaultKind::Undecodable | FaultKind::Unencodable => 102,
            _ => 207,
        }
    }
}
