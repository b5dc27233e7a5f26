//! Parsed documents as Starlark values.

use formats::x12::Interchange;
use formats::xml::Element;
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::{Heap, Value};

/// An XML element with all that is in it.
pub(crate) fn element<'v>(heap: Heap<'v>, element: &Element) -> Value<'v> {
    let attributes = element
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), heap.alloc(value.as_str())));
    let children = element.children.iter().map(|child| self::element(heap, child));
    let namespace = match &element.namespace {
        Some(namespace) => heap.alloc(namespace.as_str()),
        None => Value::new_none(),
    };
    heap.alloc(AllocDict([
        ("name", heap.alloc(element.name.as_str())),
        ("namespace", namespace),
        ("attributes", heap.alloc(AllocDict(attributes))),
        ("text", heap.alloc(element.text.as_str())),
        ("children", heap.alloc(AllocList(children))),
    ]))
}

/// An X12 interchange: segments as lists of texts, the name first, and what separates their parts.
pub(crate) fn interchange<'v>(heap: Heap<'v>, interchange: &Interchange<'_>) -> Value<'v> {
    let text = |separator: char| heap.alloc(separator.to_string());
    let segments = interchange
        .segments
        .iter()
        .map(|segment| heap.alloc(AllocList(segment.iter().map(|element| heap.alloc(*element)))));
    heap.alloc(AllocDict([
        ("segments", heap.alloc(AllocList(segments))),
        ("element", text(interchange.element)),
        ("component", text(interchange.component)),
        (
            "repetition",
            interchange.repetition.map_or_else(Value::new_none, text),
        ),
    ]))
}
