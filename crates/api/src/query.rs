//! The query part of a listing's address. Each key at most once, unknown keys refused: a misspelt filter
//! must not become a listing of everything.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::error::{Error, did_you_mean};
use crate::wire::Time;

/// Key and value pairs, decoded, not yet understood.
pub(crate) struct Pairs(Vec<(String, String)>);

impl<S: std::marker::Sync> FromRequestParts<S> for Pairs {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
            Error::bad_request("the query cannot be decoded").hint("write it as key=value&key=value")
        })?;
        Ok(Pairs(pairs.0))
    }
}

impl Pairs {
    /// Whether one of these keys is given.
    pub(crate) fn has_any(&self, keys: &[&str]) -> bool {
        self.0.iter().any(|(key, _)| keys.contains(&key.as_str()))
    }

    /// Holds the pairs against the keys that this listing knows.
    pub(crate) fn only(self, known: &'static [&'static str]) -> Result<Filter, Error> {
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in &self.0 {
            if !known.contains(&key.as_str()) {
                let hint = did_you_mean(key, known.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("the keys are {}", known.join(", ")));
                return Err(Error::bad_request(format!("`{key}` is not a key of this query")).hint(hint));
            }
            if seen.contains(&key.as_str()) {
                return Err(Error::bad_request(format!("`{key}` is given twice")).hint("give it once"));
            }
            seen.push(key);
        }
        Ok(Filter(self.0))
    }
}

/// Pairs whose keys are known. An empty value counts as not given.
pub(crate) struct Filter(Vec<(String, String)>);

impl Filter {
    /// From the fields of a request's body.
    pub(crate) fn of<const N: usize>(fields: [(&str, Option<String>); N]) -> Filter {
        let given = fields
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Filter(given.collect())
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    }

    /// A value that its type reads; its error is the answer.
    pub(crate) fn value<T: FromStr<Err: std::fmt::Display>>(&self, key: &str) -> Result<Option<T>, Error> {
        let parsed = self.text(key).map(|text| text.parse::<T>());
        parsed
            .transpose()
            .map_err(|error| Error::bad_request(format!("{key}: {error}")))
    }

    pub(crate) fn time(&self, key: &str) -> Result<Option<model::Timestamp>, Error> {
        // A `+` that was not written as %2B arrives as a space; in a time it can only be an offset's sign.
        let text = self.text(key).map(|text| text.replace(' ', "+"));
        let parsed = text.map(|text| text.parse::<Time>()).transpose();
        Ok(parsed
            .map_err(|error| Error::bad_request(format!("{key}: {error}")))?
            .map(|time| time.0))
    }

    /// A page size within 1 to `max`.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Error> {
        let Some(text) = self.text("limit") else {
            return Ok(default);
        };
        let limit = text
            .parse::<usize>()
            .ok()
            .filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| {
            Error::bad_request(format!("limit: `{text}` is not a page size")).hint(format!("use 1 to {max}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["inbound", "status", "since", "limit"];

    fn filter(pairs: &[(&str, &str)]) -> Result<Filter, Error> {
        Pairs(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        )
        .only(KNOWN)
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_right_one() {
        let error = filter(&[("inbuond", "adt")]).err().unwrap();
        assert_eq!(error.hint.as_deref(), Some("did you mean `inbound`?"));
        let error = filter(&[("zzz", "1")]).err().unwrap();
        assert_eq!(
            error.hint.as_deref(),
            Some("the keys are inbound, status, since, limit")
        );
        assert!(filter(&[("limit", "1"), ("limit", "2")]).is_err());
    }

    #[test]
    fn a_page_size_has_bounds() {
        for (text, expected) in [
            ("1", Some(1)),
            ("1000", Some(1000)),
            ("", Some(50)),
            ("0", None),
            ("1001", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(
                filter(&[("limit", text)]).unwrap().limit(50, 1000).ok(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_offset_whose_plus_was_decoded_as_a_space_is_still_an_offset() {
        let time = |text| {
            filter(&[("since", text)])
                .unwrap()
                .time("since")
                .unwrap()
                .unwrap()
        };
        assert_eq!(time("2026-02-01T09:30:00 01:00"), time("2026-02-01T08:30:00Z"));
    }
}
