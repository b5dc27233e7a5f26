//! All names that a configuration file can use without loading them.

use std::collections::BTreeSet;

use model::connector::Spec;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};

use crate::declare::connection::RETRY_POSITIONAL;
use crate::helpers;
use crate::host::call_value::{Factory, Undefined};
use crate::host::{declaring, messaging, testing};

/// Builds them for a set of connectors. The `unknown` names stand for values that are reported as missing.
pub(crate) fn build(specs: &[Spec], unknown: &BTreeSet<String>) -> Globals {
    let extensions = [
        LibraryExtension::StructType,
        LibraryExtension::Map,
        LibraryExtension::Filter,
        LibraryExtension::Typing,
        LibraryExtension::SetType,
    ];
    let mut builder = GlobalsBuilder::extended_by(&extensions);
    declaring::functions(&mut builder);
    messaging::functions(&mut builder);
    testing::functions(&mut builder);
    helpers::functions(&mut builder);
    builder.set(
        "retry",
        Factory {
            name: "retry",
            positional: &RETRY_POSITIONAL,
        },
    );
    for spec in specs {
        builder.set(
            spec.name,
            Factory {
                name: spec.name,
                positional: &[],
            },
        );
    }
    for name in unknown {
        builder.set(name, Undefined);
    }
    builder.build()
}
