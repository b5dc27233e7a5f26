//! `keys = {...}` of an inbound: by which values its messages can be found.

use std::collections::BTreeMap;
use std::str::FromStr;

use formats::hl7;
use model::graph::{Format, KEYS_MAX, key_name_fault};
use model::problem::Problem;

use super::raw::{Argument, Raw, Taker};

const WANTED: &str = "a dict of names and HL7 paths, such as `{\"mrn\": \"PID-3.1\"}`";

/// The declared keys; the patient's number where nothing is said of HL7.
pub(crate) fn read(taker: &mut Taker<'_, '_>, format: Format) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let Some(argument) = taker.take("keys") else {
        if format == Format::Hl7 {
            keys.insert("mrn".to_owned(), "PID-3.1".to_owned());
        }
        return keys;
    };
    let entries = match &argument.value {
        Raw::Dict(entries) => entries,
        Raw::Missing => return keys,
        _ => {
            taker.wrong(argument, WANTED);
            return keys;
        }
    };
    if format == Format::Raw && !entries.is_empty() {
        let problem = Problem::error(
            "wrong-value",
            "a search key is an HL7 path, and this inbound is raw",
        );
        taker.report(problem.at(argument.span.clone()));
        return keys;
    }
    if entries.len() > KEYS_MAX {
        let message = format!("`keys` has {} entries; it may have {KEYS_MAX}", entries.len());
        taker.report(Problem::error("out-of-range", message).at(argument.span.clone()));
    }
    for (name, path) in entries {
        if let Some(fault) = key_name_fault(name) {
            let problem = Problem::error(
                "wrong-value",
                format!("`{name}` is no name for a search key: {fault}"),
            )
            .at(argument.span.clone());
            let lower = name.to_lowercase();
            taker.report(match key_name_fault(&lower) {
                None => problem.suggest(format!("write `{lower}`")),
                Some(_) => problem,
            });
            continue;
        }
        match path {
            Raw::Text(text) => {
                if is_value(name, text, argument, taker) {
                    keys.insert(name.clone(), text.clone());
                }
            }
            Raw::Missing => {}
            other => {
                let message = format!("the key `{name}` wants an HL7 path, not {}", other.kind());
                taker.report(Problem::error("wrong-type", message).at(argument.span.clone()));
            }
        }
    }
    keys
}

/// Whether a path addresses a value; reports it if not.
fn is_value(name: &str, text: &str, argument: &Argument, taker: &mut Taker<'_, '_>) -> bool {
    let problem = match hl7::Path::from_str(text) {
        Ok(path) if path.within().is_some() => return true,
        Ok(_) => {
            let message = format!("the key `{name}`: `{text}` is a whole segment; a key is one value");
            Problem::error("bad-path", message).suggest(format!("name a field, such as `{text}-3.1`"))
        }
        Err(error) => {
            let problem = Problem::error("bad-path", format!("the key `{name}`: {}", error.text));
            match error.suggestion {
                Some(path) => problem.suggest(format!("did you mean `{path}`?")),
                None => problem,
            }
        }
    };
    taker.report(problem.at(argument.span.clone()));
    false
}
