//! What a connector says of itself: its name, directions and options. The authoring layer makes one
//! factory function per connector from this, checks each call against it and writes the editor stubs;
//! screens and documents walk the same list.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::problem::Span;

/// What one connector offers.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, and the name of its factory function: `mllp`, `file`, ...
    pub name: &'static str,
    /// One sentence for a reader of the documents.
    pub summary: &'static str,
    /// Options when used by an `inbound`; `None` when it cannot receive.
    pub inbound: Option<Vec<Param>>,
    /// Options when used by an `outbound`; `None` when it cannot send.
    pub outbound: Option<Vec<Param>>,
}

/// One option of a connector.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its keyword.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
    /// `None` when the option must be given.
    pub default: Option<Value>,
    /// One sentence, with the unit.
    pub doc: &'static str,
}

impl Param {
    /// An option that must be given.
    pub fn required(name: &'static str, kind: ParamKind, doc: &'static str) -> Param {
        Param {
            name,
            kind,
            default: None,
            doc,
        }
    }

    /// An option with a default.
    pub fn optional(
        name: &'static str,
        kind: ParamKind,
        default: impl Into<Value>,
        doc: &'static str,
    ) -> Param {
        Param {
            name,
            kind,
            default: Some(default.into()),
            doc,
        }
    }
}

/// The type of an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamKind {
    /// A whole number.
    Int,
    /// A TCP port, 1 to 65535 (0 asks the system for one, in tests).
    Port,
    /// `True` or `False`.
    Bool,
    /// A text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    TextList,
    /// Seconds, whole or with a fraction (`2.5`).
    Seconds,
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamKind::Int => f.write_str("a whole number"),
            ParamKind::Port => f.write_str("a port (1 to 65535)"),
            ParamKind::Bool => f.write_str("True or False"),
            ParamKind::Text => f.write_str("a text"),
            ParamKind::Choice(words) => write!(f, "one of {}", words.join(", ")),
            ParamKind::TextList => f.write_str("a list of texts"),
            ParamKind::Seconds => f.write_str("a number of seconds"),
        }
    }
}

/// The value of an option.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing: the option is off.
    None,
    /// For `Bool`.
    Bool(bool),
    /// For `Int` and `Port`.
    Int(i64),
    /// For `Seconds`, in microseconds, so that no float is stored.
    Micros(i64),
    /// For `Text` and `Choice`.
    Text(String),
    /// For `TextList`.
    List(Vec<String>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}
impl From<std::time::Duration> for Value {
    fn from(value: std::time::Duration) -> Self {
        Value::Micros(i64::try_from(value.as_micros()).unwrap_or(i64::MAX))
    }
}

/// One call of a connector factory, checked against its [`Spec`]: every declared option is present,
/// defaults filled in, types right.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Call {
    /// Which connector.
    pub connector: String,
    /// Its options by keyword.
    pub options: BTreeMap<String, Value>,
    /// Where the call stands.
    #[serde(skip)]
    pub span: Span,
}

impl Call {
    /// A text option; empty when it is not one.
    pub fn text(&self, name: &str) -> &str {
        match self.options.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A whole-number option; `None` when it is off.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.options.get(name) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A flag; false when it is not one.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.options.get(name), Some(Value::Bool(true)))
    }

    /// A duration option; `None` when it is off.
    pub fn duration(&self, name: &str) -> Option<std::time::Duration> {
        match self.options.get(name) {
            Some(Value::Micros(micros)) => {
                Some(std::time::Duration::from_micros(u64::try_from(*micros).ok()?))
            }
            _ => None,
        }
    }

    /// A list option; empty when it is not one.
    pub fn list(&self, name: &str) -> &[String] {
        match self.options.get(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }
}
