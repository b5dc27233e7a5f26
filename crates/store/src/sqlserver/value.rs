//! Values that go to the server and come back.

use std::borrow::Cow;

use tiberius::{ColumnData, ToSql};
use uuid::Uuid;

use super::fault::Driver;

/// A value of a statement. There is none for NULL: a statement says by an empty text that something is missing.
#[derive(Debug)]
pub(super) enum Value<'v> {
    Small(i16),
    Int(i32),
    Big(i64),
    Bit(bool),
    Text(Cow<'v, str>),
    Bytes(Cow<'v, [u8]>),
    Id(Uuid),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> ColumnData<'_> {
        match self {
            Value::Small(value) => ColumnData::I16(Some(*value)),
            Value::Int(value) => ColumnData::I32(Some(*value)),
            Value::Big(value) => ColumnData::I64(Some(*value)),
            Value::Bit(value) => ColumnData::Bit(Some(*value)),
            Value::Text(value) => ColumnData::String(Some(Cow::Borrowed(value))),
            Value::Bytes(value) => ColumnData::Binary(Some(Cow::Borrowed(value))),
            Value::Id(value) => ColumnData::Guid(Some(*value)),
        }
    }
}

macro_rules! from {
    ($($kind:ty => $variant:ident),*) => {
        $(impl<'v> From<$kind> for Value<'v> {
            fn from(value: $kind) -> Value<'v> {
                Value::$variant(value.into())
            }
        })*
    };
}
from!(i16 => Small, i32 => Int, i64 => Big, bool => Bit, &'v str => Text, String => Text, &'v [u8] => Bytes, Vec<u8> => Bytes, Uuid => Id);

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::sqlserver::value::Value::from($value)),*]
    };
}
pub(super) use values;

/// Numbers as one value: a JSON array.
pub(super) fn list(numbers: &[i64]) -> String {
    let mut text = String::with_capacity(numbers.len() * 12 + 2);
    text.push('[');
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(']');
    text
}

/// A row of an answer.
#[derive(Debug)]
pub(super) struct Row(pub(super) tiberius::Row);

impl Row {
    /// A column's value.
    pub(super) fn get<T: FromColumn>(&self, column: usize) -> Result<T, Driver> {
        let found = self.0.get_column_data(column).map_err(Driver::from)?;
        T::from_column(found)
            .ok_or_else(|| Driver::Decode(format!("column {column} holds {}", kind(found)).into()))
    }
}

/// What a column may hold, without its value: that may be a patient's.
fn kind(found: &ColumnData<'_>) -> &'static str {
    match found {
        ColumnData::U8(_) => "tinyint",
        ColumnData::I16(_) => "smallint",
        ColumnData::I32(_) => "int",
        ColumnData::I64(_) => "bigint",
        ColumnData::Bit(_) => "bit",
        ColumnData::String(_) => "text",
        ColumnData::Binary(_) => "bytes",
        ColumnData::Guid(_) => "an identifier",
        _ => "another type, or nothing",
    }
}

/// What can be read out of a column.
pub(super) trait FromColumn: Sized {
    fn from_column(found: &ColumnData<'static>) -> Option<Self>;
}

fn integer(found: &ColumnData<'_>) -> Option<i64> {
    match found {
        ColumnData::U8(value) => value.map(i64::from),
        ColumnData::I16(value) => value.map(i64::from),
        ColumnData::I32(value) => value.map(i64::from),
        ColumnData::I64(value) => *value,
        ColumnData::Bit(value) => value.map(i64::from),
        _ => None,
    }
}

impl FromColumn for i64 {
    fn from_column(found: &ColumnData<'static>) -> Option<i64> {
        integer(found)
    }
}

impl FromColumn for i32 {
    fn from_column(found: &ColumnData<'static>) -> Option<i32> {
        integer(found)?.try_into().ok()
    }
}

impl FromColumn for u32 {
    fn from_column(found: &ColumnData<'static>) -> Option<u32> {
        integer(found)?.try_into().ok()
    }
}

impl FromColumn for i16 {
    fn from_column(found: &ColumnData<'static>) -> Option<i16> {
        integer(found)?.try_into().ok()
    }
}

impl FromColumn for bool {
    fn from_column(found: &ColumnData<'static>) -> Option<bool> {
        integer(found).map(|value| value != 0)
    }
}

impl FromColumn for String {
    fn from_column(found: &ColumnData<'static>) -> Option<String> {
        match found {
            ColumnData::String(Some(text)) => Some(text.clone().into_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(found: &ColumnData<'static>) -> Option<Vec<u8>> {
        match found {
            ColumnData::Binary(Some(bytes)) => Some(bytes.clone().into_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Uuid {
    fn from_column(found: &ColumnData<'static>) -> Option<Uuid> {
        match found {
            ColumnData::Guid(value) => *value,
            _ => None,
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(found: &ColumnData<'static>) -> Option<Option<T>> {
        if is_null(found) {
            Some(None)
        } else {
            T::from_column(found).map(Some)
        }
    }
}

fn is_null(found: &ColumnData<'_>) -> bool {
    matches!(
        found,
        ColumnData::U8(None)
            | ColumnData::I16(None)
            | ColumnData::I32(None)
            | ColumnData::I64(None)
            | ColumnData::Bit(None)
            | ColumnData::String(None)
            | ColumnData::Binary(None)
            | ColumnData::Guid(None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_json_array() {
        assert_eq!(list(&[]), "[]");
        assert_eq!(list(&[1, i64::MAX]), "[1,9223372036854775807]");
    }

    #[test]
    fn whole_numbers_of_any_size_are_read_and_nothing_is_not_zero() {
        assert_eq!(i64::from_column(&ColumnData::I16(Some(7))), Some(7));
        assert_eq!(i16::from_column(&ColumnData::I32(Some(70_000))), None);
        assert_eq!(i64::from_column(&ColumnData::I64(None)), None);
        assert_eq!(<Option<i64>>::from_column(&ColumnData::I32(None)), Some(None));
        assert_eq!(<Option<String>>::from_column(&ColumnData::I32(Some(1))), None);
    }
}
