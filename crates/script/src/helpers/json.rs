//! `json.encode` and `json.decode`, bounded in depth and without loss of digits. (The interpreter's own
//! overflow the stack on nested values and turn large whole numbers into floats.)

use std::fmt::Write;

use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::dict::{AllocDict, DictRef};
use starlark::values::float::UnpackFloat;
use starlark::values::list::{AllocList, ListRef};
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, Value};

/// How deep values may be nested.
const DEPTH_MAX: usize = 100;

/// JSON as Starlark values. Whole numbers too large for 64 bits become text, since a float would lose their
/// digits.
pub(crate) fn decode<'v>(heap: Heap<'v>, bytes: &[u8]) -> anyhow::Result<Value<'v>> {
    // Its own bound on depth is 128. Its own text can quote the content.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
        anyhow::anyhow!(
            "the content is not JSON (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    Ok(decoded(heap, &value))
}

fn decoded<'v>(heap: Heap<'v>, value: &serde_json::Value) -> Value<'v> {
    match value {
        serde_json::Value::Null => Value::new_none(),
        serde_json::Value::Bool(flag) => Value::new_bool(*flag),
        serde_json::Value::Number(number) => decoded_number(heap, number),
        serde_json::Value::String(text) => heap.alloc(text.as_str()),
        serde_json::Value::Array(items) => {
            heap.alloc(AllocList(items.iter().map(|item| decoded(heap, item))))
        }
        serde_json::Value::Object(entries) => heap.alloc(AllocDict(
            entries
                .iter()
                .map(|(key, value)| (key.as_str(), decoded(heap, value))),
        )),
    }
}

fn decoded_number<'v>(heap: Heap<'v>, number: &serde_json::Number) -> Value<'v> {
    let text = number.to_string();
    if let Ok(whole) = text.parse::<i64>() {
        return heap.alloc(whole);
    }
    let fraction = text.contains(['.', 'e', 'E']);
    match text
        .parse::<f64>()
        .ok()
        .filter(|number| fraction && number.is_finite())
    {
        Some(number) => heap.alloc(number),
        None => heap.alloc(text),
    }
}

fn encode(value: Value<'_>, depth: usize, out: &mut String) -> anyhow::Result<()> {
    if depth > DEPTH_MAX {
        anyhow::bail!("the value is nested more than {DEPTH_MAX} deep");
    }
    if value.is_none() {
        out.push_str("null");
    } else if let Some(flag) = value.unpack_bool() {
        write!(out, "{flag}")?;
    } else if let Some(text) = value.unpack_str() {
        quote(text, out)?;
    } else if value.get_type() == "int" {
        out.push_str(&value.to_str());
    } else if let Ok(Some(number)) = <UnpackFloat as starlark::values::UnpackValue>::unpack_value(value) {
        if !number.0.is_finite() {
            anyhow::bail!("JSON has no infinite numbers");
        }
        write!(out, "{:?}", number.0)?;
    } else if let Some(dict) = DictRef::from_value(value) {
        entries(&dict, depth, out)?;
    } else if let Some(list) = ListRef::from_value(value) {
        items(list.content(), depth, out)?;
    } else if let Some(tuple) = TupleRef::from_value(value) {
        items(tuple.content(), depth, out)?;
    } else {
        anyhow::bail!("JSON cannot hold a value of type `{}`", value.get_type());
    }
    Ok(())
}

fn entries(dict: &DictRef<'_>, depth: usize, out: &mut String) -> anyhow::Result<()> {
    out.push('{');
    for (index, (key, value)) in dict.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let key = key
            .unpack_str()
            .ok_or_else(|| anyhow::anyhow!("a key of a JSON object is a text, not `{}`", key.get_type()))?;
        quote(key, out)?;
        out.push(':');
        encode(value, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn items(all: &[Value<'_>], depth: usize, out: &mut String) -> anyhow::Result<()> {
    out.push('[');
    for (index, value) in all.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        encode(*value, depth + 1, out)?;
    }
    out.push(']');
    Ok(())
}

fn quote(text: &str, out: &mut String) -> anyhow::Result<()> {
    out.push_str(&serde_json::to_string(text)?);
    Ok(())
}

/// Adds the namespace `json`.
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    builder.namespace("json", members);
}

#[starlark_module]
fn members(builder: &mut GlobalsBuilder) {
    /// A value as JSON text.
    fn encode<'v>(#[starlark(require = pos)] value: Value<'v>) -> anyhow::Result<String> {
        let mut out = String::new();
        self::encode(value, 0, &mut out)?;
        Ok(out)
    }

    /// A value from JSON text.
    fn decode<'v>(#[starlark(require = pos)] text: &str, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        self::decode(heap, text.as_bytes())
    }
}
