//! The list of connectors. A new one is a folder and a line here; nothing else changes.

use model::connector::Spec;

use crate::contract::Connector;
use crate::{file, loopback, mllp, passthrough, timer};

static ALL: &[&dyn Connector] = &[
    &mllp::Mllp,
    &file::File,
    &timer::Timer,
    &loopback::Loopback,
    &passthrough::Passthrough,
];

/// Every connector.
pub fn all() -> &'static [&'static dyn Connector] {
    ALL
}

/// The connector of that name.
pub fn find(name: &str) -> Option<&'static dyn Connector> {
    all()
        .iter()
        .copied()
        .find(|connector| connector.spec().name == name)
}

/// What every connector offers, for the authoring layer, screens and documents.
pub fn specs() -> Vec<Spec> {
    all().iter().map(|connector| connector.spec()).collect()
}
