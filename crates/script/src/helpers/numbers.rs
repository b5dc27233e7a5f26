//! Number helpers.

use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::float::UnpackFloat;
use starlark::values::list_or_tuple::UnpackListOrTuple;
use starlark::values::{Heap, UnpackValue, Value};

fn number(value: Value<'_>) -> anyhow::Result<f64> {
    if let Ok(Some(number)) = i64::unpack_value(value) {
        return Ok(number as f64);
    }
    match UnpackFloat::unpack_value(value) {
        Ok(Some(number)) => Ok(number.0),
        _ => anyhow::bail!("a number is wanted, not `{}`", value.get_type()),
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits.clamp(-15, 15));
    let scaled = number * factor;
    if scaled.is_finite() {
        scaled.round() / factor
    } else {
        number
    }
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// A whole number from text, or the default when it is none.
    fn to_int<'v>(
        #[starlark(require = pos)] text: Value<'v>,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        if let Ok(Some(number)) = i64::unpack_value(text) {
            return Ok(heap.alloc(number));
        }
        match (
            text.unpack_str().and_then(|text| text.trim().parse::<i64>().ok()),
            default,
        ) {
            (Some(number), _) => Ok(heap.alloc(number)),
            (None, Some(default)) => Ok(default),
            (None, None) => anyhow::bail!("this is not a whole number: give a default, `to_int(text, 0)`"),
        }
    }

    /// A number from text, or the default when it is none.
    fn to_float<'v>(
        #[starlark(require = pos)] text: Value<'v>,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        if let Ok(number) = number(text) {
            return Ok(heap.alloc(number));
        }
        let parsed = text
            .unpack_str()
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|number| number.is_finite());
        match (parsed, default) {
            (Some(number), _) => Ok(heap.alloc(number)),
            (None, Some(default)) => Ok(default),
            (None, None) => anyhow::bail!("this is not a number: give a default, `to_float(text, 0.0)`"),
        }
    }

    /// The sum of a list of numbers.
    fn sum<'v>(
        #[starlark(require = pos)] numbers: UnpackListOrTuple<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        let whole: Option<Vec<i64>> = numbers
            .items
            .iter()
            .map(|value| i64::unpack_value(*value).ok().flatten())
            .collect();
        if let Some(whole) = whole {
            let sum = whole.into_iter().try_fold(0_i64, i64::checked_add);
            return sum
                .map(|sum| heap.alloc(sum))
                .ok_or_else(|| anyhow::anyhow!("the sum is too large"));
        }
        let mut sum = 0.0;
        for value in numbers.items {
            sum += number(value)?;
        }
        Ok(heap.alloc(sum))
    }

    /// A number rounded, half away from zero: to a whole number, or to that many digits.
    fn round<'v>(
        #[starlark(require = pos)] number: Value<'v>,
        digits: Option<i32>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        let value = self::number(number)?;
        Ok(match digits {
            Some(digits) => heap.alloc(rounded(value, digits)),
            None if value.abs() < 9e15 => heap.alloc(value.round() as i64),
            None => anyhow::bail!("the number is too large to round"),
        })
    }
}
