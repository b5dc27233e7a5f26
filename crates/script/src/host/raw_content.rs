//! `msg` when the content is not HL7: bytes, text, JSON, FHIR, XML, X12.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::fmt;

use allocative::Allocative;
use bytes::Bytes;
use model::Timestamp;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::starlark_module;
use starlark::values::bytes::StarlarkBytes;
use starlark::values::dict::DictRef;
use starlark::values::{Heap, NoSerialize, StarlarkValue, Value, ValueLike, starlark_value};
use starlark::{StarlarkPagablePanic, starlark_simple_value};

use crate::helpers::{dates, json, trees};

/// The Starlark value.
#[derive(ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(crate) struct RawContent {
    #[allocative(skip)]
    pub(crate) bytes: Bytes,
    #[allocative(skip)]
    pub(crate) received_at: Timestamp,
}
starlark_simple_value!(RawContent);

impl fmt::Display for RawContent {
    /// Never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Raw>")
    }
}

impl fmt::Debug for RawContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.bytes.len())
    }
}

impl RawContent {
    fn text(&self) -> anyhow::Result<&str> {
        std::str::from_utf8(&self.bytes).map_err(|error| {
            anyhow::anyhow!(
                "the content is not UTF-8 text (byte {}): use `.bytes`",
                error.valid_up_to()
            )
        })
    }
}

starlark::methods_static!(METHODS = methods);

#[starlark_value(type = "Raw")]
impl<'v> StarlarkValue<'v> for RawContent {
    fn get_methods() -> Option<&'static Methods> {
        Some(METHODS.methods())
    }

    fn at(&self, _index: Value<'v>, _heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Err(anyhow::anyhow!(
            "this content is not HL7, so it has no paths: use `.text`, `.bytes` or `.json()`"
        )
        .into())
    }

    fn length(&self) -> starlark::Result<i32> {
        Ok(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX))
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other
            .downcast_ref::<RawContent>()
            .is_some_and(|other| other.bytes == self.bytes))
    }
}

#[starlark_module]
fn methods(builder: &mut MethodsBuilder) {
    /// The content as UTF-8 text.
    #[starlark(attribute)]
    fn text(this: &RawContent) -> anyhow::Result<String> {
        Ok(this.text()?.to_owned())
    }

    /// The content as bytes.
    #[starlark(attribute)]
    fn bytes<'v>(this: &RawContent, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        Ok(heap.alloc(StarlarkBytes::new(&this.bytes)))
    }

    /// When the message came in, in UTC.
    #[starlark(attribute)]
    fn received_at(this: &RawContent) -> anyhow::Result<String> {
        Ok(dates::iso(this.received_at))
    }

    /// The content decoded from JSON: dicts, lists, texts, numbers, True, False, None.
    fn json<'v>(this: &RawContent, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        json::decode(heap, &this.bytes)
    }

    /// The content read as XML: a dict with `name`, `namespace`, `attributes`, `text` and `children`.
    fn xml<'v>(this: &RawContent, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        let root = formats::xml::parse(this.text()?)?;
        Ok(trees::element(heap, &root))
    }

    /// The content read as an X12 interchange: a dict with the delimiters and the `segments`.
    fn x12<'v>(this: &RawContent, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        let interchange = formats::x12::parse(this.text()?)?;
        Ok(trees::interchange(heap, &interchange))
    }

    /// The content decoded from JSON, which must be a FHIR resource: a dict with `resourceType`.
    fn fhir<'v>(this: &RawContent, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        let resource = json::decode(heap, &this.bytes)?;
        let kind = DictRef::from_value(resource).and_then(|dict| dict.get_str("resourceType"));
        match kind.and_then(Value::unpack_str) {
            Some(kind) if !kind.is_empty() => Ok(resource),
            _ => anyhow::bail!("the content is JSON but no FHIR resource: it has no `resourceType`"),
        }
    }

    /// HL7 only.
    fn segments<'v>(
        this: &RawContent,
        #[starlark(args)] args: starlark::values::tuple::UnpackTuple<Value<'v>>,
    ) -> anyhow::Result<Value<'v>> {
        let _ = (this, args);
        anyhow::bail!("this content is not HL7, so it has no segments")
    }
}
