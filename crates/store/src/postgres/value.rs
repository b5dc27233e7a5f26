//! Values that go to the server and come back.

use model::NameId;
use sqlx_core::arguments::Arguments;
use sqlx_core::decode::Decode;
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_core::types::Type;
use sqlx_postgres::{PgArguments, PgRow, Postgres};
use uuid::Uuid;

use crate::server::value::{self, Cause, Value};

/// The values of a statement, in order.
pub(super) fn bound(values: &[Value<'_>]) -> Result<PgArguments, Driver> {
    let mut bound = PgArguments::default();
    let mut add = |value: &Value<'_>| match value {
        Value::Small(value) => bound.add(*value),
        Value::Int(value) => bound.add(*value),
        Value::Big(value) => bound.add(*value),
        Value::Bit(value) => bound.add(*value),
        Value::Text(value) => bound.add(&**value),
        Value::Bytes(value) => bound.add(&**value),
        Value::Id(value) => bound.add(*value),
        Value::Maybe(value) => bound.add(*value),
        Value::Numbers(numbers) => bound.add(*numbers),
        Value::Pairs(pairs) => {
            let (ones, others): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
            bound.add(ones).and_then(|()| bound.add(others))
        }
    };
    values.iter().try_for_each(&mut add).map_err(Driver::Encode)?;
    Ok(bound)
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
        Driver::RowNotFound
    }
}

fn column<'r, T>(row: &'r PgRow, column: usize) -> Result<Option<T>, Driver>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column)
}

impl value::Row for PgRow {
    type Driver = Driver;

    fn small(&self, at: usize) -> Result<Option<i16>, Driver> {
        column(self, at)
    }

    fn int(&self, at: usize) -> Result<Option<i32>, Driver> {
        column(self, at)
    }

    fn big(&self, at: usize) -> Result<Option<i64>, Driver> {
        column(self, at)
    }

    fn bit(&self, at: usize) -> Result<Option<bool>, Driver> {
        column(self, at)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, Driver> {
        column(self, at)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, Driver> {
        column(self, at)
    }

    fn id(&self, at: usize) -> Result<Option<Uuid>, Driver> {
        column(self, at)
    }

    fn names(&self, at: usize) -> Result<Vec<NameId>, Driver> {
        let names: Vec<i32> = self.try_get(at)?;
        Ok(names.into_iter().map(|name| NameId(name as u32)).collect())
    }
}
