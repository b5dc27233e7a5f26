//! Values that go to the server and come back.

use std::borrow::Cow;

use model::NameId;
use tiberius::{ColumnData, ToSql};
use uuid::Uuid;

use super::fault::Driver;
use crate::server::value::{self, Cause, Column, Value};

/// No value is NULL: a statement says by an empty text that something is missing. A list is a JSON array.
impl ToSql for Value<'_> {
    fn to_sql(&self) -> ColumnData<'_> {
        let text = |text| ColumnData::String(Some(text));
        match self {
            Value::Small(value) => ColumnData::I16(Some(*value)),
            Value::Int(value) => ColumnData::I32(Some(*value)),
            Value::Big(value) => ColumnData::I64(Some(*value)),
            Value::Bit(value) => ColumnData::Bit(Some(*value)),
            Value::Text(value) => text(Cow::Borrowed(value)),
            Value::Bytes(value) => ColumnData::Binary(Some(Cow::Borrowed(value))),
            Value::Id(value) => ColumnData::Guid(Some(*value)),
            Value::Maybe(value) => text(Cow::Borrowed(value.unwrap_or_default())),
            Value::Numbers(numbers) => text(Cow::Owned(list(numbers))),
            Value::Pairs(pairs) => text(Cow::Owned(list_of_pairs(pairs))),
        }
    }
}

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

fn list_of_pairs(pairs: &[(i64, i64)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(one, other)| format!("[{one},{other}]"))
        .collect();
    format!("[{}]", pairs.join(","))
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) struct Row(pub(super) tiberius::Row);

impl Row {
    /// A column's value; an error where it is NULL, unless an [`Option`] is asked for.
    pub(super) fn get<T: Column>(&self, column: usize) -> Result<T, Driver> {
        value::Row::get(self, column)
    }

    fn column<'r, T>(
        &'r self,
        column: usize,
        read: impl FnOnce(&'r ColumnData<'static>) -> Option<T>,
    ) -> Result<Option<T>, Driver> {
        let found = self.0.get_column_data(column).map_err(Driver::from)?;
        if is_null(found) {
            return Ok(None);
        }
        let value = read(found);
        value
            .map(Some)
            .ok_or_else(|| Driver::Decode(format!("column {column} holds {}", kind(found)).into()))
    }
}

impl value::Row for Row {
    type Driver = Driver;

    fn small(&self, column: usize) -> Result<Option<i16>, Driver> {
        self.column(column, |found| integer(found)?.try_into().ok())
    }

    fn int(&self, column: usize) -> Result<Option<i32>, Driver> {
        self.column(column, |found| integer(found)?.try_into().ok())
    }

    fn big(&self, column: usize) -> Result<Option<i64>, Driver> {
        self.column(column, integer)
    }

    fn bit(&self, column: usize) -> Result<Option<bool>, Driver> {
        self.column(column, |found| integer(found).map(|value| value != 0))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Driver> {
        self.column(column, |found| match found {
            ColumnData::String(Some(text)) => Some(&**text),
            _ => None,
        })
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Driver> {
        self.column(column, |found| match found {
            ColumnData::Binary(Some(bytes)) => Some(&**bytes),
            _ => None,
        })
    }

    fn id(&self, column: usize) -> Result<Option<Uuid>, Driver> {
        self.column(column, |found| match found {
            ColumnData::Guid(value) => *value,
            _ => None,
        })
    }

    /// They lie as text, `,7,12,`.
    fn names(&self, column: usize) -> Result<Vec<NameId>, Driver> {
        let names: String = self.get(column)?;
        let number = |text: &str| {
            text.parse()
                .map(NameId)
                .map_err(|error| Driver::Decode(Box::new(error)))
        };
        names
            .split(',')
            .filter(|text| !text.is_empty())
            .map(number)
            .collect()
    }
}

impl value::Driver for Driver {
    fn unreadable(cause: Cause) -> Driver {
        Driver::Decode(cause)
    }

    fn why_unreadable(&self) -> Option<&Cause> {
        match self {
            Driver::Decode(cause) => Some(cause),
            _ => None,
        }
    }

    fn no_row() -> Driver {
        Driver::NoRow
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
        assert_eq!(list_of_pairs(&[(1, 2), (3, 4)]), "[[1,2],[3,4]]");
    }

    #[test]
    fn whole_numbers_of_any_size_are_read_and_nothing_is_not_zero() {
        assert_eq!(integer(&ColumnData::I16(Some(7))), Some(7));
        assert_eq!(integer(&ColumnData::Bit(Some(true))), Some(1));
        assert_eq!(integer(&ColumnData::I64(None)), None);
        assert!(is_null(&ColumnData::I32(None)) && !is_null(&ColumnData::I32(Some(0))));
    }
}
