//! Runs the `@test` functions of a configuration.

use std::time::Instant;

use crate::TestResult;
use crate::declare::registry::Role;
use crate::program::Inner;

/// Runs all tests whose name or file holds the filter, each on its own heap, in the order of their files.
pub(crate) fn run(program: &Inner, filter: Option<&str>) -> Vec<TestResult> {
    let Some(tests) = program.functions.get(&Role::Test) else {
        return Vec::new();
    };
    let mut chosen: Vec<_> = tests
        .iter()
        .filter(|(name, test)| {
            filter.is_none_or(|filter| name.contains(filter) || test.span.file.contains(filter))
        })
        .collect();
    chosen.sort_by(|left, right| left.1.span.cmp(&right.1.span));
    let run_one = |(name, test): (&String, &crate::program::Callable)| {
        let start = Instant::now();
        let failure = program.test(name).err().map(|fault| fault.detail);
        TestResult {
            name: name.clone(),
            location: format!("{}:{}", test.span.file, test.span.line),
            failure,
            took: start.elapsed(),
        }
    };
    chosen.into_iter().map(run_one).collect()
}
