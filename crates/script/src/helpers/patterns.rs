//! Regular expressions, in linear time. Patterns are compiled once per thread, within limits.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::none::NoneOr;

use super::TEXT_MAX;

const PATTERN_BYTES_MAX: usize = 4_096;
const COMPILED_BYTES_MAX: usize = 1 << 20;
const KEPT_MAX: usize = 256;

thread_local! {
    static KEPT: RefCell<HashMap<String, Regex>> = RefCell::new(HashMap::new());
}

fn compile(pattern: &str) -> anyhow::Result<Regex> {
    if let Some(found) = KEPT.with_borrow(|kept| kept.get(pattern).cloned()) {
        return Ok(found);
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        anyhow::bail!("the pattern is longer than {PATTERN_BYTES_MAX} bytes");
    }
    let compiled = RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build();
    let compiled = compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => anyhow::anyhow!("the pattern is too large once compiled"),
        // The library's text draws the pattern over several lines; its last line says why.
        error => {
            let text = error.to_string();
            let why = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            anyhow::anyhow!("this is not a regular expression: {why}")
        }
    })?;
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), compiled.clone());
    });
    Ok(compiled)
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// Whether the pattern fits at the beginning of the text.
    fn re_match(pattern: &str, text: &str) -> anyhow::Result<bool> {
        // `find` alone could skip a shorter match at the beginning only if there is an earlier one: there is none.
        Ok(compile(pattern)?
            .find(text)
            .is_some_and(|found| found.start() == 0))
    }

    /// The first match (or one group of it), or None.
    fn re_find(
        pattern: &str,
        text: &str,
        #[starlark(default = 0)] group: u32,
    ) -> anyhow::Result<NoneOr<String>> {
        let compiled = compile(pattern)?;
        let group = usize::try_from(group)?;
        if group >= compiled.captures_len() {
            anyhow::bail!("the pattern has no group {group}");
        }
        let found = compiled
            .captures(text)
            .and_then(|found| found.get(group).map(|found| found.as_str().to_owned()));
        Ok(found.map_or(NoneOr::None, NoneOr::Other))
    }

    /// All matches (their first group, when the pattern has one).
    fn re_findall(pattern: &str, text: &str) -> anyhow::Result<Vec<String>> {
        let compiled = compile(pattern)?;
        let group = usize::from(compiled.captures_len() > 1);
        let found = compiled.captures_iter(text);
        Ok(found
            .map(|found| {
                found
                    .get(group)
                    .map_or_else(String::new, |found| found.as_str().to_owned())
            })
            .collect())
    }

    /// The text with every match replaced; `$1` stands for a group.
    fn re_replace(pattern: &str, replacement: &str, text: &str) -> anyhow::Result<String> {
        let compiled = compile(pattern)?;
        let matches = compiled.find_iter(text).count();
        // A bound on the outcome: every match can bring the replacement with a copy of the text in it.
        let groups = 1 + replacement.matches('$').count();
        let bound =
            text.len() + matches.saturating_mul(replacement.len()) + groups.saturating_mul(text.len());
        if bound > TEXT_MAX {
            anyhow::bail!("the outcome would be too long");
        }
        Ok(compiled.replace_all(text, replacement).into_owned())
    }
}
