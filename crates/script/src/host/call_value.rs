//! Values that stand for a call to be checked later: connectors and `retry(...)`; and for a value whose
//! absence is reported already.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::fmt;

use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::eval::{Arguments, Evaluator};
use starlark::typing::Ty;
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, NoSerialize, StarlarkValue, UnpackValue, Value, ValueLike, starlark_value};
use starlark::{StarlarkPagablePanic, starlark_simple_value};

use super::declaring;
use crate::declare::raw::{self, Raw};

/// `mllp(...)` or `retry(...)`, called.
#[derive(Debug, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(crate) struct CallValue(#[allocative(skip)] pub(crate) raw::Call);
starlark_simple_value!(CallValue);

impl fmt::Display for CallValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(...)", self.0.function)
    }
}

#[starlark_value(type = "connector")]
impl<'v> StarlarkValue<'v> for CallValue {
    fn typechecker_ty(&self) -> Option<Ty> {
        Some(Ty::any())
    }
}

/// The function that makes a connector's [`CallValue`].
#[derive(Debug, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(crate) struct Factory {
    /// The connector's name, or `retry`.
    pub(crate) name: &'static str,
    /// Names for arguments without one.
    #[allocative(skip)]
    pub(crate) positional: &'static [&'static str],
}
starlark_simple_value!(Factory);

impl fmt::Display for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[starlark_value(type = "function")]
impl<'v> StarlarkValue<'v> for Factory {
    fn typechecker_ty(&self) -> Option<Ty> {
        Some(Ty::any())
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        arguments: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        let positional: Vec<Value<'v>> = arguments.positions(heap)?.collect();
        let names = arguments.names_map()?;
        let named = names
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), *value))
            .collect();
        let arguments = declaring::arguments(eval, self.name, self.positional, positional, named)?;
        Ok(heap.alloc(CallValue(raw::Call {
            function: self.name.to_owned(),
            arguments,
        })))
    }
}

/// Stands for a value that is not defined anywhere, so that the load goes on and finds more.
#[derive(Debug, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(crate) struct Undefined;
starlark_simple_value!(Undefined);

impl fmt::Display for Undefined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<undefined>")
    }
}

/// What is made of it is undefined again. Only what decides which code runs (a loop over it) ends the load.
#[starlark_value(type = "undefined")]
impl<'v> StarlarkValue<'v> for Undefined {
    fn typechecker_ty(&self) -> Option<Ty> {
        Some(Ty::any())
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        _arguments: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        Ok(eval.heap().alloc(Undefined))
    }

    fn get_attr(&self, _attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        Some(heap.alloc(Undefined))
    }

    fn at(&self, _index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(heap.alloc(Undefined))
    }

    fn add(&self, _right: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(heap.alloc(Undefined)))
    }

    fn radd(&self, _left: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(heap.alloc(Undefined)))
    }
}

/// A Starlark value as the checks take it.
pub(crate) fn raw(value: Value<'_>) -> Raw {
    if value.is_none() {
        return Raw::None;
    }
    if let Some(flag) = value.unpack_bool() {
        return Raw::Bool(flag);
    }
    if let Some(text) = value.unpack_str() {
        return Raw::Text(text.to_owned());
    }
    if let Ok(Some(number)) = i64::unpack_value(value) {
        return Raw::Int(number);
    }
    if let Ok(Some(number)) = UnpackFloat::unpack_value(value) {
        return Raw::Float(number.0);
    }
    if let Some(call) = value.downcast_ref::<CallValue>() {
        return Raw::Call(Box::new(call.0.clone()));
    }
    if value.downcast_ref::<Undefined>().is_some() {
        return Raw::Missing;
    }
    if let Some(dict) = DictRef::from_value(value) {
        let entry = |(key, of): (Value<'_>, Value<'_>)| Some((key.unpack_str()?.to_owned(), raw(of)));
        let entries: Option<Vec<_>> = dict.iter().map(entry).collect();
        return entries.map_or_else(|| Raw::Other("dict".to_owned()), Raw::Dict);
    }
    let items = ListRef::from_value(value)
        .map(|list| list.content())
        .or_else(|| TupleRef::from_value(value).map(|tuple| tuple.content()));
    match items {
        Some(items) => Raw::List(items.iter().map(|item| raw(*item)).collect()),
        None => Raw::Other(value.get_type().to_owned()),
    }
}
