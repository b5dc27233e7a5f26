//! One segment of a message: `seg["5.1"]`. It stays the same segment while others come and go.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::fmt;

use allocative::Allocative;
use starlark::StarlarkPagablePanic;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::starlark_module;
use starlark::values::none::NoneType;
use starlark::values::{
    AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};

use super::message::Message;
use super::path;

/// The Starlark value.
#[derive(Debug, ProvidesStaticType, Trace, Allocative, NoSerialize, StarlarkPagablePanic)]
pub(crate) struct Segment<'v> {
    message: Value<'v>,
    id: u32,
}

impl<'v> Segment<'v> {
    /// The segment of that lasting number.
    pub(crate) fn new(message: Value<'v>, id: u32) -> Segment<'v> {
        Segment { message, id }
    }

    /// Its lasting number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether it is a part of that message value.
    pub(crate) fn belongs_to(&self, message: Value<'_>) -> bool {
        self.message.ptr_eq(message)
    }

    fn message(&self) -> anyhow::Result<&'v Message> {
        self.message
            .downcast_ref::<Message>()
            .ok_or_else(|| anyhow::anyhow!("this segment has no message"))
    }

    /// Its position in the message and its name.
    fn place(&self) -> anyhow::Result<(usize, String)> {
        let state = self.message()?.state();
        let position = state.position(self.id)?;
        let segment = state.message.segments().nth(position);
        Ok((
            position,
            segment
                .map(|segment| segment.name.to_string())
                .unwrap_or_default(),
        ))
    }

    /// Empties a field or component of it.
    pub(crate) fn delete(&self, index: Value<'_>) -> anyhow::Result<()> {
        let (position, name) = self.place()?;
        let within = path::within(index, &name)?;
        self.message()?.change()?.message.delete_at(position, &within)?;
        Ok(())
    }

    fn set(&self, index: Value<'_>, value: Value<'_>) -> anyhow::Result<()> {
        let (position, name) = self.place()?;
        let within = path::within(index, &name)?;
        let text = path::text_of(value)?;
        Ok(self
            .message()?
            .change()?
            .message
            .set_at(position, &within, &text)?)
    }

    fn get(&self, index: Value<'_>) -> anyhow::Result<Option<String>> {
        let (position, name) = self.place()?;
        let within = path::within(index, &name)?;
        Ok(self
            .message()?
            .state()
            .message
            .get_at(position, &within)
            .map(|text| text.into_owned()))
    }
}

impl fmt::Display for Segment<'_> {
    /// Never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Segment>")
    }
}

impl<'v> AllocValue<'v> for Segment<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

starlark::methods_static!(METHODS = methods);

#[starlark_value(type = "Segment", StarlarkTypeRepr, UnpackValue)]
impl<'v> StarlarkValue<'v> for Segment<'v> {
    type Canonical = Self;

    fn get_methods() -> Option<&'static Methods> {
        Some(METHODS.methods())
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(heap.alloc(self.get(index)?.unwrap_or_default()))
    }

    fn set_at(&self, index: Value<'v>, value: Value<'v>) -> starlark::Result<()> {
        Ok(self.set(index, value)?)
    }
}

#[starlark_module]
fn methods(builder: &mut MethodsBuilder) {
    /// The value of a field or component, or the default when it is absent.
    fn get<'v>(
        this: &Segment<'v>,
        #[starlark(require = pos)] field: Value<'v>,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        Ok(match this.get(field)? {
            Some(text) => heap.alloc(text),
            None => default.unwrap_or_else(Value::new_none),
        })
    }

    /// Writes a value; the same as an assignment.
    fn set<'v>(
        this: &Segment<'v>,
        #[starlark(require = pos)] field: Value<'v>,
        #[starlark(require = pos)] value: Value<'v>,
    ) -> anyhow::Result<NoneType> {
        this.set(field, value)?;
        Ok(NoneType)
    }

    /// Empties a field or component; the same as `del`.
    fn delete<'v>(
        this: &Segment<'v>,
        #[starlark(require = pos)] field: Value<'v>,
    ) -> anyhow::Result<NoneType> {
        this.delete(field)?;
        Ok(NoneType)
    }

    /// The name, such as `OBX`.
    #[starlark(attribute)]
    fn name<'v>(this: &Segment<'v>) -> anyhow::Result<String> {
        Ok(this.place()?.1)
    }

    /// The position in the message; MSH is 0.
    #[starlark(attribute)]
    fn index<'v>(this: &Segment<'v>) -> anyhow::Result<usize> {
        Ok(this.place()?.0)
    }

    /// The whole segment as text.
    #[starlark(attribute)]
    fn text<'v>(this: &Segment<'v>) -> anyhow::Result<String> {
        let position = this.place()?.0;
        Ok(this
            .message()?
            .state()
            .message
            .segment_text(position)
            .map(|text| text.into_owned())
            .unwrap_or_default())
    }
}
