//! Text helpers.

use formats::hl7::{Separators, escape};
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;

use super::TEXT_MAX;

fn padding(text: &str, width: i32, fill: &str) -> anyhow::Result<String> {
    let mut characters = fill.chars();
    let (Some(fill), None) = (characters.next(), characters.next()) else {
        anyhow::bail!("`fill` is one character");
    };
    let width = usize::try_from(width).unwrap_or(0);
    if width > TEXT_MAX / 4 {
        anyhow::bail!("`width` is too large");
    }
    let missing = width.saturating_sub(text.chars().count());
    Ok(std::iter::repeat_n(fill, missing).collect())
}

fn capital(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        if within {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        within = c.is_alphanumeric() || (within && c == '\'');
    }
    out
}

/// Family, given and further names of `DOE, JOHN Q`, `DOE^JOHN^Q` or `John Q Doe`.
fn names(text: &str) -> (String, String, String) {
    let words = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let (family, rest) = if let Some((family, rest)) = text.split_once(',') {
        (family.trim().to_owned(), words(rest))
    } else if text.contains('^') {
        let mut parts = text.split('^').map(|part| part.trim().to_owned());
        (parts.next().unwrap_or_default(), parts.collect())
    } else {
        let mut all = words(text);
        (all.pop().unwrap_or_default(), all)
    };
    let mut rest = rest.into_iter();
    (
        family,
        rest.next().unwrap_or_default(),
        rest.collect::<Vec<_>>().join(" ").trim().to_owned(),
    )
}

/// The usual separators, for texts that belong to no message yet.
fn usual() -> anyhow::Result<Separators> {
    Ok(Separators::from_parts(b'|', b"^~\\&")?)
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// Fills a text up on its left side: `pad_left("7", 3, "0")` is `"007"`.
    fn pad_left(text: &str, width: i32, #[starlark(default = " ")] fill: &str) -> anyhow::Result<String> {
        Ok(padding(text, width, fill)? + text)
    }

    /// Fills a text up on its right side.
    fn pad_right(text: &str, width: i32, #[starlark(default = " ")] fill: &str) -> anyhow::Result<String> {
        Ok(text.to_owned() + &padding(text, width, fill)?)
    }

    /// A capital for each word: `"DOE-SMITH"` gives `"Doe-Smith"`.
    fn title(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(capital(text))
    }

    /// Blanks trimmed, and runs of them made one.
    fn normalize_space(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The digits only.
    fn strip_non_digits(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(text.chars().filter(char::is_ascii_digit).collect())
    }

    /// Family, given and further names, from `DOE, JOHN Q`, `DOE^JOHN^Q` or `John Q Doe`.
    fn split_name(#[starlark(require = pos)] text: &str) -> anyhow::Result<(String, String, String)> {
        Ok(names(text))
    }

    /// A text cut to at most that many characters.
    fn truncate(text: &str, length: i32) -> anyhow::Result<String> {
        Ok(text.chars().take(usize::try_from(length).unwrap_or(0)).collect())
    }

    /// Separators escaped, with the usual `|^~\&`; `msg.escape(text)` takes those of a message.
    fn hl7_escape(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(escape::escape(text, &usual()?).into_owned())
    }

    /// Escape sequences resolved, with the usual separators.
    fn hl7_unescape(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(escape::unescape(text, &usual()?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_however_they_are_written() {
        for (text, expected) in [
            ("DOE, JOHN Q", ("DOE", "JOHN", "Q")),
            ("DOE^JOHN^Q", ("DOE", "JOHN", "Q")),
            ("John Q Doe", ("Doe", "John", "Q")),
            ("Doe", ("Doe", "", "")),
            ("", ("", "", "")),
        ] {
            let (family, given, more) = names(text);
            assert_eq!(
                (family.as_str(), given.as_str(), more.as_str()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn words_get_capitals() {
        for (text, expected) in [
            ("DOE-SMITH", "Doe-Smith"),
            ("o'neil", "O'neil"),
            ("élan vital", "Élan Vital"),
        ] {
            assert_eq!(capital(text), expected);
        }
    }
}
