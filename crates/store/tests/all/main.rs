//! The store's tests that need whole stores, processes or file systems.

mod conformance;
