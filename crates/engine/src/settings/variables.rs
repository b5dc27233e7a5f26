//! Environment variables that look like ours and that nobody reads: each is an error, so that a slip in a
//! name is not taken for a setting.

use model::problem::Problem;

use super::{PREFIX, VALUE_PREFIX};

/// Variables that are read elsewhere: by commands, by a command for its child, by builds and tests.
const OTHERS: [&str; 5] = [
    "HOLDFAST_ENV",
    "HOLDFAST_ISOLATED",
    "HOLDFAST_BIN",
    "HOLDFAST_KILLS",
    "HOLDFAST_UPDATE_DOCS",
];

/// The problems of these variables. Names with `__` are settings, known or not, and judged as such.
pub(super) fn unknown(given: impl Iterator<Item = (String, String)>, settings: &[String]) -> Vec<Problem> {
    let mut names: Vec<String> = given
        .filter(|(name, value)| !is_of_a_service(name, value))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with(VALUE_PREFIX))
        .filter(|name| !name.contains("__") && !OTHERS.contains(&name.as_str()))
        .collect();
    names.sort();
    let known: Vec<String> = settings
        .iter()
        .map(|key| format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__")))
        .chain(["HOLDFAST_ENV".to_owned()])
        .collect();
    names.iter().map(|name| problem(name, &known)).collect()
}

fn problem(name: &str, known: &[String]) -> Problem {
    let distance = |known: &&String| strsim::damerau_levenshtein(known, name);
    let near = known
        .iter()
        .min_by_key(distance)
        .filter(|known| distance(known) <= 3);
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("a setting is {PREFIX}<SECTION>__<KEY>, a value for `env()` is {VALUE_PREFIX}<KEY>"),
    };
    let message = format!("nothing reads the environment variable `{name}`");
    Problem::error("unknown-setting", message).suggest(hint)
}

/// What an orchestrator sets by itself for a service of our name: HOLDFAST_SERVICE_HOST, HOLDFAST_PORT.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT") && (address || name.contains("_TCP") || name.contains("_UDP")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_nobody_reads_is_an_error_with_a_suggestion() {
        let settings = ["store.directory".to_owned(), "node.id".to_owned()];
        for (name, value, expected) in [
            (
                "HOLDFAST_STORE_DIRECTORY",
                "x",
                Some("did you mean `HOLDFAST_STORE__DIRECTORY`?"),
            ),
            ("HOLDFAST_ENVV", "dev", Some("did you mean `HOLDFAST_ENV`?")),
            (
                "HOLDFAST_BOGUS_THING",
                "1",
                Some("a setting is HOLDFAST_<SECTION>__<KEY>"),
            ),
            ("HOLDFAST_ENV", "dev", None),
            ("HOLDFAST_VALUE_X", "1", None),
            ("HOLDFAST_STORE__DIRECTORY", "x", None),
            ("HOLDFAST_BIN", "x", None),
            ("HOLDFAST_SERVICE_HOST", "10.0.0.1", None),
            ("HOLDFAST_PORT", "tcp://10.0.0.1:8765", None),
            ("HOLDFAST_PORT_8765_TCP_ADDR", "10.0.0.1", None),
            ("HOLDFAST_PORT", "8765", Some("a setting is")),
            ("PATH", "x", None),
        ] {
            let given = [(name.to_owned(), value.to_owned())].into_iter();
            let found = unknown(given, &settings);
            let hint = found.first().and_then(|problem| problem.suggestion.as_deref());
            assert_eq!(hint.is_some(), expected.is_some(), "{name}: {hint:?}");
            assert!(
                hint.unwrap_or_default().starts_with(expected.unwrap_or_default()),
                "{name}: {hint:?}"
            );
        }
    }
}
