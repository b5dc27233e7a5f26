//! Values that differ from one environment to the next: `environments/<env>.toml`, and secrets that
//! come from outside any file.

use std::collections::BTreeMap;

use model::Posture;
use model::problem::{Problem, Severity, Span};
use toml::de::DeValue;

use crate::language::source::Source;
use crate::{problems, secrets, tables};

/// The key that says what an environment is for; no value of the site's own.
const POSTURE: &str = "posture";

/// What a value is converted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// `True` or `False`.
    Bool,
    /// A number.
    Float,
}

impl Wanted {
    /// By the name of the type in the language.
    pub(crate) fn by_name(name: &str) -> Option<Wanted> {
        match name {
            "str" | "string" => Some(Wanted::Text),
            "int" => Some(Wanted::Int),
            "bool" => Some(Wanted::Bool),
            "float" => Some(Wanted::Float),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Wanted::Text => "a text",
            Wanted::Int => "a whole number",
            Wanted::Bool => "true or false",
            Wanted::Float => "a number",
        }
    }
}

/// One value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A flag.
    Bool(bool),
    /// A number.
    Float(f64),
}

/// The values of one environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// Its name.
    pub(crate) name: String,
    /// What its file says it is for, if it says so.
    declared: Option<(String, Span)>,
    values: BTreeMap<String, Value>,
    secrets: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the file of an environment, if it has one.
    pub(crate) fn read(
        name: &str,
        source: Option<&Source>,
        secrets: &BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) -> Environment {
        let secrets = secrets
            .iter()
            .map(|(key, value)| (key.to_lowercase(), value.clone()))
            .collect();
        let mut environment = Environment {
            name: name.to_owned(),
            declared: None,
            values: BTreeMap::new(),
            secrets,
        };
        let Some(source) = source else { return environment };
        for (key, value) in tables::parse(source, problems) {
            let span = tables::place(source, &value);
            let found = match value.get_ref() {
                DeValue::String(text) => Some(Value::Text(text.to_string())),
                DeValue::Integer(_) => tables::integer(value.get_ref()).map(Value::Int),
                DeValue::Float(_) => tables::float(value.get_ref()).map(Value::Float),
                DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
                _ => None,
            };
            match found {
                Some(Value::Text(text)) if key.get_ref() == POSTURE => {
                    environment.declared = Some((text, span))
                }
                Some(Value::Text(text)) if secrets::in_address(&text) => {
                    problems.push(problems::password_in_address(key.get_ref(), span));
                    environment
                        .values
                        .insert(key.get_ref().to_string(), Value::Text(text));
                }
                _ if secrets::is_secret(key.get_ref()) && found.is_some() => {
                    problems.push(problems::secret_in_file(key.get_ref(), span));
                    // Known all the same, so that its uses are not reported as well.
                    environment
                        .values
                        .extend(found.map(|value| (key.get_ref().to_string(), value)));
                }
                Some(value) => drop(environment.values.insert(key.get_ref().to_string(), value)),
                None => problems.push(
                    Problem::error(
                        "environment-value",
                        format!("`{}` is neither text, number nor true/false", key.get_ref()),
                    )
                    .at(span)
                    .suggest("keep one flat list of `key = value` lines"),
                ),
            }
        }
        environment
    }

    /// What this environment is for: its name says so, or its file has to.
    pub(crate) fn posture(&self) -> Result<Posture, Box<Problem>> {
        let words = Posture::ALL.map(Posture::as_str);
        let path = format!("environments/{}.toml", self.name);
        let built_in = Posture::of_name(&self.name);
        let Some((text, span)) = &self.declared else {
            return built_in.ok_or_else(|| {
                let message = format!("nothing says what the environment `{}` is for", self.name);
                Box::new(Problem::error("posture", message).suggest(format!(
                    "write `posture = \"...\"` into {path}, one of {}; only dev, staging and prod say it by their name",
                    words.join(", ")
                )))
            });
        };
        match (text.parse::<Posture>(), built_in) {
            (Ok(posture), None) => Ok(posture),
            (Ok(posture), Some(built_in)) if posture == built_in => Ok(posture),
            (Ok(posture), Some(built_in)) => {
                let message = format!("`{}` is {built_in}, not {posture}", self.name);
                let problem = Problem::error("posture", message).at(span.clone());
                Err(Box::new(problem.suggest(
                    "give the environment another name, or leave the line out",
                )))
            }
            (Err(()), _) => {
                let message = format!("there is no posture `{text}`");
                let near = problems::did_you_mean(text, words);
                let suggestion = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("one of {}", words.join(", ")),
                };
                Err(Box::new(
                    Problem::error("posture", message)
                        .at(span.clone())
                        .suggest(suggestion),
                ))
            }
        }
    }

    /// The value of a key, converted. `None` when it is not defined; `Err` when it does not fit, with
    /// words that never show a secret.
    pub(crate) fn get(&self, key: &str, wanted: Wanted) -> Option<Result<Value, String>> {
        if let Some(text) = self.secrets.get(&key.to_lowercase()) {
            let name = problems::variable(key);
            return Some(
                convert_text(text, wanted)
                    .ok_or_else(|| format!("the value of {name} is not {}", wanted.words())),
            );
        }
        let value = self.values.get(key)?;
        let fits = match (value, wanted) {
            (Value::Text(_), Wanted::Text)
            | (Value::Int(_), Wanted::Int)
            | (Value::Bool(_), Wanted::Bool)
            | (Value::Float(_), Wanted::Float) => Some(value.clone()),
            (Value::Int(number), Wanted::Float) => Some(Value::Float(*number as f64)),
            _ => None,
        };
        let path = format!("environments/{}.toml", self.name);
        Some(fits.ok_or_else(|| format!("`{key}` in {path} is not {}", wanted.words())))
    }

    /// The problem of a key that is defined nowhere; the caller adds the place.
    pub(crate) fn undefined(&self, key: &str) -> Problem {
        let path = format!("environments/{}.toml", self.name);
        let known = self.values.keys().map(String::as_str);
        let suggestion = match problems::did_you_mean(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if secrets::is_secret(key) => format!("set {} for the service", problems::variable(key)),
            None => format!(
                "add `{key} = ...` to {path}, set {}, or give a default",
                problems::variable(key)
            ),
        };
        let mut problem = Problem::error("undefined-value", format!("`{key}` is not defined in {path}"));
        problem.severity = Severity::Error;
        problem.suggest(suggestion)
    }
}

fn convert_text(text: &str, wanted: Wanted) -> Option<Value> {
    match wanted {
        Wanted::Text => Some(Value::Text(text.to_owned())),
        Wanted::Int => text.trim().parse().ok().map(Value::Int),
        Wanted::Float => text.trim().parse().ok().map(Value::Float),
        Wanted::Bool => match text.trim().to_lowercase().as_str() {
            "true" | "1" | "yes" => Some(Value::Bool(true)),
            "false" | "0" | "no" => Some(Value::Bool(false)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, secrets: &[(&str, &str)]) -> (Environment, Vec<String>) {
        let mut problems = Vec::new();
        let secrets = secrets
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let source = Source::new("environments/dev.toml", text);
        let environment = Environment::read("dev", Some(&source), &secrets, &mut problems);
        (environment, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_are_typed_and_secrets_come_from_outside() {
        let (environment, problems) = read(
            "host = \"h\"\nport = 26\nrate = 2\n",
            &[("acme_password", "x"), ("n", "7")],
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            environment.get("host", Wanted::Text),
            Some(Ok(Value::Text("h".into())))
        );
        assert_eq!(environment.get("port", Wanted::Int), Some(Ok(Value::Int(26))));
        assert_eq!(
            environment.get("rate", Wanted::Float),
            Some(Ok(Value::Float(2.0)))
        );
        assert_eq!(
            environment.get("acme_password", Wanted::Text),
            Some(Ok(Value::Text("x".into())))
        );
        assert_eq!(environment.get("n", Wanted::Int), Some(Ok(Value::Int(7))));
        assert_eq!(environment.get("nothing", Wanted::Int), None);
        assert!(
            environment
                .get("host", Wanted::Int)
                .is_some_and(|found| found.is_err())
        );
    }

    #[test]
    fn a_built_in_name_says_what_it_is_for_and_any_other_has_to() {
        let posture = |name: &str, text: &str| {
            let mut problems = Vec::new();
            let source = Source::new("environments/x.toml", text);
            let environment = Environment::read(name, Some(&source), &BTreeMap::new(), &mut problems);
            assert_eq!(problems, Vec::new());
            environment.posture().map_err(|problem| problem.to_string())
        };
        assert_eq!(posture("dev", ""), Ok(Posture::Development));
        assert_eq!(posture("staging", ""), Ok(Posture::Staging));
        assert_eq!(posture("prod", ""), Ok(Posture::Production));
        assert_eq!(
            posture("prod", "posture = \"production\""),
            Ok(Posture::Production)
        );
        assert_eq!(
            posture("east", "posture = \"production\""),
            Ok(Posture::Production)
        );
        for (name, text, says) in [
            ("east", "", "nothing says what the environment `east` is for"),
            (
                "prod",
                "posture = \"staging\"",
                "`prod` is production, not staging",
            ),
            (
                "east",
                "posture = \"prodution\"",
                "there is no posture `prodution`",
            ),
        ] {
            let found = posture(name, text).expect_err("it is no posture");
            assert!(found.contains(says), "{found}");
        }
    }

    #[test]
    fn faults_of_the_file_have_places_and_a_secret_in_it_is_refused() {
        let (_, problems) = read("acme_password = \"hunter2\"\nx = [1]\n", &[]);
        assert_eq!(
            problems,
            [
                "environments/dev.toml:1:17: error[secret-in-file]: `acme_password` looks like a secret and has its value in this file",
                "environments/dev.toml:2:5: error[environment-value]: `x` is neither text, number nor true/false",
            ]
        );
        let (_, problems) = read("db_pwd = \"x\"\ndb = \"postgres://u:hunter2@h/db\"\n", &[]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems.iter().all(|problem| problem.contains("secret-in-file")),
            "{problems:?}"
        );
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
        let (_, problems) = read("a = \nb = 1\n", &[]);
        assert!(
            problems[0].starts_with("environments/dev.toml:1:"),
            "{problems:?}"
        );
    }
}
