//! Code sets: small tables of codes, read at load and shared, frozen, by all functions.

use std::collections::BTreeMap;

use model::problem::{Problem, Span};
use starlark::environment::{FrozenModule, Module};
use starlark::values::dict::AllocDict;
use starlark::values::{OwnedFrozenValue, Value};
use toml::de::DeValue;

use crate::language::source::{Source, Sources};
use crate::{problems, tables};

/// The value of a code.
#[derive(Clone, PartialEq, Debug)]
enum Entry {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// All code sets, each a frozen dict.
#[derive(Default)]
pub(crate) struct CodeSets {
    module: Option<FrozenModule>,
    names: Vec<String>,
}

impl CodeSets {
    /// Builds them from their files.
    pub(crate) fn read(files: &[String], sources: &Sources, problems: &mut Vec<Problem>) -> CodeSets {
        let mut tables: BTreeMap<String, Vec<(String, Entry)>> = BTreeMap::new();
        for source in files.iter().filter_map(|path| sources.get(path)) {
            let (name, ending) = name_and_ending(&source.path);
            let entries = if ending == "csv" {
                read_csv(source, problems)
            } else {
                read_toml(source, problems)
            };
            if tables.insert(name.to_owned(), entries).is_some() {
                problems.push(
                    Problem::error("duplicate-name", format!("the code set `{name}` has two files"))
                        .at(source.place(0, 1))
                        .suggest("keep either the .csv or the .toml"),
                );
            }
        }
        match freeze(&tables) {
            Ok(module) => CodeSets {
                module: Some(module),
                names: tables.into_keys().collect(),
            },
            Err(error) => {
                problems.push(Problem::error(
                    "code-set",
                    format!("the code sets cannot be built: {error}"),
                ));
                CodeSets::default()
            }
        }
    }

    /// A code set's dict.
    pub(crate) fn get(&self, name: &str) -> Option<OwnedFrozenValue> {
        if !self.names.iter().any(|known| known == name) {
            return None;
        }
        self.module.as_ref()?.get_option(name).ok().flatten()
    }

    /// The problem of a name that no file carries.
    pub(crate) fn unknown(&self, name: &str, span: Span) -> Problem {
        let message = format!("there is no code set `{name}`: no config/codesets/{name}.csv or .toml");
        problems::unknown(
            "unknown-code-set",
            message,
            span,
            name,
            self.names.iter().map(String::as_str),
        )
    }

    /// The same in one line, for a function at run time.
    pub(crate) fn unknown_text(&self, name: &str) -> String {
        let near = problems::did_you_mean(name, self.names.iter().map(String::as_str));
        near.map_or_else(
            || format!("there is no code set `{name}`"),
            |near| format!("there is no code set `{name}`: did you mean `{near}`?"),
        )
    }
}

fn name_and_ending(path: &str) -> (&str, &str) {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').unwrap_or((file, ""))
}

fn freeze(tables: &BTreeMap<String, Vec<(String, Entry)>>) -> Result<FrozenModule, String> {
    Module::with_temp_heap(|module| {
        for (name, entries) in tables {
            let heap = module.heap();
            let pairs = entries.iter().map(|(key, entry)| {
                let value: Value<'_> = match entry {
                    Entry::Text(text) => heap.alloc(text.as_str()),
                    Entry::Int(number) => heap.alloc(*number),
                    Entry::Bool(flag) => Value::new_bool(*flag),
                };
                (heap.alloc(key.as_str()), value)
            });
            let dict = heap.alloc(AllocDict(pairs));
            module.set(name, dict);
        }
        module
            .freeze()
            .map_err(|error| anyhow::Error::from(error).to_string())
    })
}

fn read_csv(source: &Source, problems: &mut Vec<Problem>) -> Vec<(String, Entry)> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(source.text.as_bytes());
    let columns = reader.headers().map(csv::StringRecord::len).unwrap_or(0);
    if columns != 2 {
        problems.push(
            Problem::error(
                "code-set",
                format!("a code set has two columns with a header line; this has {columns}"),
            )
            .at(source.place(0, 1))
            .suggest("begin the file with the line `key,value`"),
        );
        return Vec::new();
    }
    let mut entries = Vec::new();
    let mut seen = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let at = error
                    .position()
                    .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
                problems
                    .push(Problem::error("code-set", "this line is not CSV").at(source.place(at, at + 1)));
                continue;
            }
        };
        let at = record
            .position()
            .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
        let span = source.place(at, at + record.get(0).map_or(1, str::len));
        let [key, value] = [record.get(0), record.get(1)].map(Option::unwrap_or_default);
        if record.len() != 2 {
            problems.push(
                Problem::error(
                    "code-set",
                    format!("two columns are wanted; this line has {}", record.len()),
                )
                .at(span),
            );
        } else if seen.insert(key.to_owned(), ()).is_some() {
            problems.push(
                Problem::error("duplicate-name", format!("the code `{key}` stands here twice")).at(span),
            );
        } else {
            entries.push((key.to_owned(), Entry::Text(value.to_owned())));
        }
    }
    entries
}

fn read_toml(source: &Source, problems: &mut Vec<Problem>) -> Vec<(String, Entry)> {
    let mut entries = Vec::new();
    for (key, value) in tables::parse(source, problems) {
        let entry = match value.get_ref() {
            DeValue::String(text) => Some(Entry::Text(text.to_string())),
            DeValue::Integer(_) => tables::integer(value.get_ref()).map(Entry::Int),
            DeValue::Boolean(flag) => Some(Entry::Bool(*flag)),
            _ => None,
        };
        match entry {
            Some(entry) => entries.push((key.get_ref().to_string(), entry)),
            None => problems.push(
                Problem::error(
                    "code-set",
                    format!("`{}` is neither text, whole number nor true/false", key.get_ref()),
                )
                .at(tables::place(source, &value)),
            ),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> (CodeSets, Vec<String>) {
        let mut sources = Sources::default();
        sources.add(Source::new(path, text));
        let mut problems = Vec::new();
        let sets = CodeSets::read(&[path.to_owned()], &sources, &mut problems);
        (sets, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn csv_and_toml_give_dicts() {
        let (sets, problems) = read("config/codesets/sex.csv", "key,value\nM, male\n\"F\",female\n");
        assert_eq!(problems, Vec::<String>::new());
        let shown = sets.get("sex").map(|value| value.value().to_repr());
        assert_eq!(shown.as_deref(), Some(r#"{"M": "male", "F": "female"}"#));
        let (sets, _) = read("config/codesets/n.toml", "a = 1\nb = \"x\"\nc = true\n");
        let shown = sets.get("n").map(|value| value.value().to_repr());
        assert_eq!(shown.as_deref(), Some(r#"{"a": 1, "b": "x", "c": True}"#));
        assert!(sets.get("nn").is_none());
    }

    #[test]
    fn faults_of_a_code_set_have_places() {
        for (text, expected) in [
            (
                "key,value\na,1\na,2\n",
                "config/codesets/s.csv:3:1: error[duplicate-name]: the code `a` stands here twice",
            ),
            (
                "key,value\na\n",
                "config/codesets/s.csv:2:1: error[code-set]: two columns are wanted; this line has 1",
            ),
            (
                "a\nb\n",
                "config/codesets/s.csv:1:1: error[code-set]: a code set has two columns with a header line; this has 1",
            ),
        ] {
            assert_eq!(read("config/codesets/s.csv", text).1.join("\n"), expected);
        }
    }
}
