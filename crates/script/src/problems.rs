//! Small tools for writing problems: suggestions and lists of words.

use model::problem::{Problem, Span};

/// The known word nearest to a mistyped one, if any is near.
pub(crate) fn did_you_mean<I, T>(given: &str, known: I) -> Option<T>
where
    I: IntoIterator<Item = T>,
    T: AsRef<str>,
{
    let lower = given.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&lower, &word.as_ref().to_lowercase()),
                word,
            )
        })
        .filter(|(distance, word)| {
            let length = given.chars().count().max(word.as_ref().chars().count());
            *distance <= (length / 3).max(1)
        })
        .min_by(|(distance, word), (other_distance, other)| {
            // Of two equally near words, the one that begins alike: `mlp` means `mllp`, not `map`.
            let likeness = |word: &T| strsim::jaro_winkler(&lower, &word.as_ref().to_lowercase());
            distance
                .cmp(other_distance)
                .then_with(|| likeness(other).total_cmp(&likeness(word)))
        })
        .map(|(_, word)| word)
}

/// An error for a word that nobody knows, with the nearest known one or all of them.
pub(crate) fn unknown<'a>(
    code: &'static str,
    message: String,
    span: Span,
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let known: Vec<&str> = known.into_iter().collect();
    let problem = Problem::error(code, message).at(span);
    match did_you_mean(given, known.iter().copied()) {
        Some(near) => problem.suggest(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem,
        None => problem.suggest(format!("known: {}", shorten(&known))),
    }
}

fn shorten(words: &[&str]) -> String {
    const SHOWN: usize = 12;
    let shown = words.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if words.len() > SHOWN {
        format!("{shown} and {} more", words.len() - SHOWN)
    } else {
        shown
    }
}

/// The refusal of a secret that stands in a file.
pub(crate) fn secret_in_file(name: &str, span: Span) -> Problem {
    let variable = variable(name);
    Problem::error(
        "secret-in-file",
        format!("`{name}` looks like a secret and has its value in this file"),
    )
    .at(span)
    .suggest(format!(
        "put it in {variable} (an environment variable of the service) and remove it here"
    ))
}

/// The refusal of an address that holds a password.
pub(crate) fn password_in_address(key: &str, span: Span) -> Problem {
    let variable = variable(key);
    Problem::error("secret-in-file", "this address has a password in it")
        .at(span)
        .suggest(format!(
            "put the whole address in {variable} (an environment variable of the service), and read it with `env()`"
        ))
}

/// The environment variable for a key.
pub(crate) fn variable(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("HOLDFAST_VALUE_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        for (given, expected) in [
            ("acme_adt_handlr", Some("acme_adt_handler")),
            ("ACME_ADT_HANDLER", Some("acme_adt_handler")),
            ("lab", None),
            ("prot", Some("port")),
            ("mlp", Some("mllp")),
        ] {
            assert_eq!(
                did_you_mean(given, ["acme_adt_handler", "port", "map", "mllp"]),
                expected,
                "{given}"
            );
        }
    }
}
