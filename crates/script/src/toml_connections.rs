//! `config/connections.toml`: connections as data, through the same checks as in Starlark.
//!
//! ```toml
//! [[outbound]]
//! name = "OB_ACME_ADT"
//! mllp = { host = { env = "acme_adt_host" }, port = 2600 }
//! retry = { max_attempts = 10 }
//! ```

use model::connector::{ParamKind, Spec};
use model::problem::Problem;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::declare::connection;
use crate::declare::raw::{Argument, Arguments, Call, Raw};
use crate::declare::registry::Registry;
use crate::environment::{Environment, Value, Wanted};
use crate::language::source::Source;
use crate::{problems, tables};

/// Declares everything in the file.
pub(crate) fn declare(source: &Source, specs: &[Spec], environment: &Environment, registry: &mut Registry) {
    let mut found = Vec::new();
    let table = tables::parse(source, &mut found);
    let mut reader = Reader {
        source,
        specs,
        environment,
        problems: found,
    };
    for (key, value) in &table {
        let word = key.get_ref().as_ref();
        let entries = match (word, value.get_ref()) {
            ("inbound" | "outbound", DeValue::Array(entries)) => entries,
            ("inbound" | "outbound", _) => {
                reader.report(
                    "wrong-type",
                    value,
                    format!("write `[[{word}]]`, with two brackets, for each {word}"),
                );
                continue;
            }
            _ => {
                let message = format!("`{word}` is neither `inbound` nor `outbound`");
                let span = tables::place(source, key);
                reader.problems.push(problems::unknown(
                    "unknown-key",
                    message,
                    span,
                    word,
                    ["inbound", "outbound"],
                ));
                continue;
            }
        };
        for entry in entries.iter() {
            let Some(arguments) = reader.connection(entry) else {
                continue;
            };
            match word {
                "inbound" => connection::inbound(&arguments, specs, registry),
                _ => connection::outbound(&arguments, specs, registry),
            }
        }
    }
    registry.problems.append(&mut reader.problems);
}

struct Reader<'a> {
    source: &'a Source,
    specs: &'a [Spec],
    environment: &'a Environment,
    problems: Vec<Problem>,
}

type Pair<'a, 'b> = (&'a Spanned<DeString<'b>>, &'a Spanned<DeValue<'b>>);

impl Reader<'_> {
    fn report<T>(&mut self, code: &'static str, at: &Spanned<T>, message: String) {
        self.problems
            .push(Problem::error(code, message).at(tables::place(self.source, at)));
    }

    fn connection(&mut self, entry: &Spanned<DeValue<'_>>) -> Option<Arguments> {
        let Some(table) = entry.get_ref().as_table() else {
            self.report("wrong-type", entry, "a connection is a table".to_owned());
            return None;
        };
        let span = tables::place(self.source, entry);
        let mut all = Vec::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if name == "connector" {
                let message = "a connector is a key of its own: `mllp = { port = 2600 }`".to_owned();
                self.report("unknown-option", key, message);
                continue;
            }
            let connector = self.specs.iter().any(|spec| spec.name == name);
            if connector || name == "retry" {
                let Some(options) = value.get_ref().as_table() else {
                    self.report(
                        "wrong-type",
                        value,
                        format!("`{name}` wants a table of options: `{name} = {{ ... }}`"),
                    );
                    continue;
                };
                let call = self.call(name, options, value);
                let place = if connector { "connector" } else { "retry" };
                all.push(self.argument(place, (key, value), Raw::Call(Box::new(call))));
            } else {
                let raw = match value.get_ref().as_table() {
                    Some(table) if name == "keys" => self.dict(table),
                    _ => self.raw(value, None),
                };
                all.push(self.argument(name, (key, value), raw));
            }
        }
        Some(Arguments { all, span })
    }

    fn dict(&mut self, table: &DeTable<'_>) -> Raw {
        let entries = table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), self.raw(value, None)));
        Raw::Dict(entries.collect())
    }

    fn call(&mut self, function: &str, options: &DeTable<'_>, at: &Spanned<DeValue<'_>>) -> Call {
        let mut all = Vec::new();
        for (key, value) in options.iter() {
            let name = key.get_ref().as_ref();
            let kind = self.kind(function, name);
            let raw = self.raw(value, kind);
            all.push(self.argument(name, (key, value), raw));
        }
        Call {
            function: function.to_owned(),
            arguments: Arguments {
                all,
                span: tables::place(self.source, at),
            },
        }
    }

    fn kind(&self, connector: &str, option: &str) -> Option<ParamKind> {
        let spec = self.specs.iter().find(|spec| spec.name == connector)?;
        let mut params = spec.inbound.iter().chain(&spec.outbound).flatten();
        params.find(|param| param.name == option).map(|param| param.kind)
    }

    fn argument(&self, name: &str, (key, value): Pair<'_, '_>, raw: Raw) -> Argument {
        Argument {
            name: name.to_owned(),
            key: tables::place(self.source, key),
            span: tables::place(self.source, value),
            literal: value.get_ref().is_str(),
            value: raw,
        }
    }

    fn raw(&mut self, value: &Spanned<DeValue<'_>>, kind: Option<ParamKind>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(flag) => Raw::Bool(*flag),
            DeValue::Integer(_) => {
                tables::integer(value.get_ref()).map_or(Raw::Other("huge number".into()), Raw::Int)
            }
            DeValue::Float(_) => {
                tables::float(value.get_ref()).map_or(Raw::Other("number".into()), Raw::Float)
            }
            DeValue::Array(items) => Raw::List(items.iter().map(|item| self.raw(item, kind)).collect()),
            DeValue::Datetime(_) => Raw::Other("date".to_owned()),
            DeValue::Table(table) => self.env(table, value, kind),
        }
    }

    /// `{ env = "key" }`, optionally with a default.
    fn env(&mut self, table: &DeTable<'_>, at: &Spanned<DeValue<'_>>, kind: Option<ParamKind>) -> Raw {
        let Some(key) = table.get("env").and_then(|value| value.get_ref().as_str()) else {
            return Raw::Other("table".to_owned());
        };
        let wanted = match kind {
            Some(ParamKind::Int | ParamKind::Port) => Wanted::Int,
            Some(ParamKind::Bool) => Wanted::Bool,
            Some(ParamKind::Seconds) => Wanted::Float,
            _ => Wanted::Text,
        };
        match self.environment.get(key, wanted) {
            Some(Ok(Value::Text(text))) => Raw::Text(text),
            Some(Ok(Value::Int(number))) => Raw::Int(number),
            Some(Ok(Value::Bool(flag))) => Raw::Bool(flag),
            Some(Ok(Value::Float(number))) => Raw::Float(number),
            Some(Err(message)) => {
                self.report("wrong-type", at, message);
                Raw::Missing
            }
            None => match table.get("default") {
                Some(default) => self.raw(default, kind),
                None => {
                    let problem = self.environment.undefined(key).at(tables::place(self.source, at));
                    self.problems.push(problem);
                    Raw::Missing
                }
            },
        }
    }
}
