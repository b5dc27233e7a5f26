//! What `send(...)` returns: a token for a send that is kept beside the evaluation.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::fmt;

use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::values::{NoSerialize, StarlarkValue, starlark_value};
use starlark::{StarlarkPagablePanic, starlark_simple_value};

/// The number of a send, in the order made.
#[derive(Debug, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(crate) struct Sent(pub(crate) usize);
starlark_simple_value!(Sent);

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<send>")
    }
}

#[starlark_value(type = "Send")]
impl<'v> StarlarkValue<'v> for Sent {}
