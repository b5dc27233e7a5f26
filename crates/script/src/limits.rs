//! Bounds on one call of a function. They stop what people do by accident; only people who may change
//! the configuration can load code at all.
//!
//! Ticks (one per call or loop turn) are counted exactly alike on every node; the deadline is a second
//! line for slow host calls. Memory and time are looked at every thousand ticks, memory once more at the end,
//! so that one huge allocation (`"x" * n`) is noticed only after it was made, however long that takes.

use std::time::{Duration, Instant};

use starlark::eval::Evaluator;

/// Calls and loop turns.
pub(crate) const TICKS_MAX: u64 = 1_000_000;
/// Memory of one call, in bytes.
pub(crate) const HEAP_BYTES_MAX: usize = 64 << 20;
/// Calls within calls.
pub(crate) const DEPTH_MAX: usize = 50;
/// Wall time of one call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// Calls and loop turns while one file loads.
const LOAD_TICKS_MAX: u64 = 5_000_000;
const LOAD_HEAP_BYTES_MAX: usize = 512 << 20;
const LOAD_DEADLINE: Duration = Duration::from_secs(30);

/// The stack of the thread that parses and loads.
pub(crate) const LOAD_STACK_BYTES: usize = 64 << 20;

/// The stack that a thread which runs functions should have, in bytes. The interpreter shows and encodes
/// nested values by recursion, and an overflow of the stack cannot be caught: with this, a value may be
/// nested some ten thousand deep, more than any message has segments. It is reserved, not used.
pub const CALL_STACK_BYTES: usize = 128 << 20;

/// Bounds a call.
pub(crate) fn bound_call(eval: &mut Evaluator<'_, '_, '_>) -> anyhow::Result<()> {
    bound(eval, TICKS_MAX, HEAP_BYTES_MAX, DEADLINE)
}

/// Bounds the load of a file.
pub(crate) fn bound_load(eval: &mut Evaluator<'_, '_, '_>) -> anyhow::Result<()> {
    bound(eval, LOAD_TICKS_MAX, LOAD_HEAP_BYTES_MAX, LOAD_DEADLINE)
}

fn bound(
    eval: &mut Evaluator<'_, '_, '_>,
    ticks: u64,
    heap: usize,
    deadline: Duration,
) -> anyhow::Result<()> {
    eval.set_max_tick_count(ticks)?;
    eval.set_max_heap_size(heap)?;
    eval.set_max_callstack_size(DEPTH_MAX)?;
    let start = Instant::now();
    eval.set_check_cancelled(Box::new(move || start.elapsed() > deadline));
    Ok(())
}

/// What a limit's breach is called, from the interpreter's own words.
pub(crate) fn breach(text: &str) -> Option<String> {
    if text.contains("ticks has been exceeded") {
        Some(format!("it took more than {TICKS_MAX} steps"))
    } else if text.contains("Heap memory limit") {
        Some(format!(
            "it took more than {} MiB of memory",
            HEAP_BYTES_MAX >> 20
        ))
    } else if text.contains("Evaluation cancelled") {
        Some(format!("it took longer than {} s", DEADLINE.as_secs()))
    } else if text.contains("call stack overflow") {
        Some(format!("calls are nested more than {DEPTH_MAX} deep"))
    } else {
        None
    }
}
