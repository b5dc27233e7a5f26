//! What goes into a statement and comes back, whichever driver carries it.

use std::borrow::Cow;

use model::{Epoch, NameId, Timestamp};
use uuid::Uuid;

use crate::Error;

/// A value of a statement.
#[derive(Debug)]
pub(crate) enum Value<'v> {
    Small(i16),
    Int(i32),
    Big(i64),
    Bit(bool),
    Text(Cow<'v, str>),
    Bytes(Cow<'v, [u8]>),
    Id(Uuid),
    /// A text that may be missing.
    Maybe(Option<&'v str>),
    /// A list of numbers.
    Numbers(&'v [i64]),
    /// A list of pairs of numbers. Where a list is an array it is two values, one after the other.
    Pairs(&'v [(i64, i64)]),
}

macro_rules! from {
    ($($kind:ty => $variant:ident),* $(,)?) => {
        $(impl<'v> From<$kind> for Value<'v> {
            fn from(value: $kind) -> Value<'v> {
                Value::$variant(value.into())
            }
        })*
    };
}
from!(
    i16 => Small, i32 => Int, i64 => Big, bool => Bit, &'v str => Text, String => Text, &'v [u8] => Bytes,
    Vec<u8> => Bytes, Uuid => Id, Option<&'v str> => Maybe, &'v [i64] => Numbers, &'v [(i64, i64)] => Pairs,
);

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::server::value::Value::from($value)),*]
    };
}
pub(crate) use values;

/// Why a value cannot be read.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a driver says went wrong.
pub(crate) trait Driver: std::error::Error + Send + Sync + 'static {
    /// A value of an answer cannot be read.
    fn unreadable(cause: Cause) -> Self;
    /// Why a value could not be read, if that is what went wrong.
    fn why_unreadable(&self) -> Option<&Cause>;
    /// There was to be a row.
    fn no_row() -> Self;
}

/// Wraps a driver's error in what this layer was doing.
pub(crate) fn database<D: std::error::Error + Send + Sync + 'static>(
    doing: &'static str,
) -> impl Fn(D) -> Error {
    move |source| Error::Database {
        doing,
        source: Box::new(source),
    }
}

/// A row of an answer: what a column holds, `None` for NULL. A column is asked for as wide as the schema has it.
pub(crate) trait Row {
    type Driver: Driver;

    fn small(&self, column: usize) -> Result<Option<i16>, Self::Driver>;
    fn int(&self, column: usize) -> Result<Option<i32>, Self::Driver>;
    fn big(&self, column: usize) -> Result<Option<i64>, Self::Driver>;
    fn bit(&self, column: usize) -> Result<Option<bool>, Self::Driver>;
    fn text(&self, column: usize) -> Result<Option<&str>, Self::Driver>;
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Self::Driver>;
    fn id(&self, column: usize) -> Result<Option<Uuid>, Self::Driver>;
    /// The handlers of a routed row.
    fn names(&self, column: usize) -> Result<Vec<NameId>, Self::Driver>;

    /// A column's value; an error where it is NULL, unless an [`Option`] is asked for.
    fn get<T: Column>(&self, column: usize) -> Result<T, Self::Driver> {
        T::of(self, column)?
            .ok_or_else(|| Self::Driver::unreadable(format!("column {column} holds nothing").into()))
    }
}

/// What can be read out of a column; `None` for NULL.
pub(crate) trait Column: Sized {
    fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<Self>, R::Driver>;
}

macro_rules! column {
    ($($kind:ty: $method:ident $(=> $convert:expr)?),* $(,)?) => {
        $(impl Column for $kind {
            fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<$kind>, R::Driver> {
                row.$method(column)$(.map(|found| found.map($convert)))?
            }
        })*
    };
}
column!(
    i16: small, i32: int, i64: big, bool: bit, Uuid: id, String: text => str::to_owned, Vec<u8>: bytes => <[u8]>::to_vec,
    Timestamp: big => Timestamp,
);

impl Column for u32 {
    fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<u32>, R::Driver> {
        let number = row.int(column)?.map(u32::try_from).transpose();
        number.map_err(|error| R::Driver::unreadable(Box::new(error)))
    }
}

impl Column for NameId {
    fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<NameId>, R::Driver> {
        Ok(u32::of(row, column)?.map(NameId))
    }
}

impl Column for Epoch {
    fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<Epoch>, R::Driver> {
        Ok(u32::of(row, column)?.map(Epoch))
    }
}

impl<T: Column> Column for Option<T> {
    fn of<R: Row + ?Sized>(row: &R, column: usize) -> Result<Option<Option<T>>, R::Driver> {
        T::of(row, column).map(Some)
    }
}
