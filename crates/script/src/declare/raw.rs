//! Values as an author gave them, each with its place, before anything is checked.

use model::problem::{Problem, Span};

use crate::problems;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Raw {
    /// Stands for a value whose absence is reported already; fits everywhere.
    Missing,
    /// `None`.
    None,
    /// A flag.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list or tuple.
    List(Vec<Raw>),
    /// A dict or table with texts as keys.
    Dict(Vec<(String, Raw)>),
    /// A connector factory or `retry`, called.
    Call(Box<Call>),
    /// Anything else, by the name of its type.
    Other(String),
}

impl Raw {
    /// What it is, for a message to its author. Never the value itself.
    pub(crate) fn kind(&self) -> String {
        match self {
            Raw::Missing | Raw::None => "None".to_owned(),
            Raw::Bool(_) => "True or False".to_owned(),
            Raw::Int(_) => "a whole number".to_owned(),
            Raw::Float(_) => "a number with a fraction".to_owned(),
            Raw::Text(_) => "a text".to_owned(),
            Raw::List(_) => "a list".to_owned(),
            Raw::Dict(_) => "a dict".to_owned(),
            Raw::Call(call) => format!("`{}(...)`", call.function),
            Raw::Other(kind) => format!("a value of type `{kind}`"),
        }
    }
}

/// A call of a factory, not checked yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// Its name.
    pub(crate) function: String,
    /// What it was given.
    pub(crate) arguments: Arguments,
}

/// One argument.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) name: String,
    /// Where its name (or, without one, its value) stands.
    pub(crate) key: Span,
    /// What was given.
    pub(crate) value: Raw,
    /// Where that stands.
    pub(crate) span: Span,
    /// Whether the value is a text that stands in the file.
    pub(crate) literal: bool,
}

/// The arguments of one call.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Arguments {
    /// In the order given.
    pub(crate) all: Vec<Argument>,
    /// Where the call stands.
    pub(crate) span: Span,
}

/// Takes arguments out one by one and reports those that nobody asked for.
pub(crate) struct Taker<'a, 'p> {
    /// What the arguments belong to: `outbound`, `mllp`.
    function: &'a str,
    arguments: &'a Arguments,
    known: Vec<&'a str>,
    problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Taker<'a, 'p> {
    /// Starts on the arguments of a function.
    pub(crate) fn new(function: &'a str, arguments: &'a Arguments, problems: &'p mut Vec<Problem>) -> Self {
        Taker {
            function,
            arguments,
            known: Vec::new(),
            problems,
        }
    }

    /// An argument by name; from now on it counts as known.
    pub(crate) fn take(&mut self, name: &'a str) -> Option<&'a Argument> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.arguments.all.iter().find(|argument| argument.name == name)
    }

    /// Reports an argument of the wrong type.
    pub(crate) fn wrong(&mut self, argument: &Argument, wanted: &str) {
        let message = format!(
            "`{}` of `{}` wants {wanted}, not {}",
            argument.name,
            self.function,
            argument.value.kind()
        );
        self.problems
            .push(Problem::error("wrong-type", message).at(argument.span.clone()));
    }

    /// Reports anything.
    pub(crate) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a missing argument.
    pub(crate) fn missing(&mut self, name: &str, wanted: &str) {
        let message = format!("`{}` needs `{name}`: {wanted}", self.function);
        self.problems
            .push(Problem::error("missing-option", message).at(self.arguments.span.clone()));
    }

    /// A text that must be given.
    pub(crate) fn required_text(&mut self, name: &'a str, wanted: &str) -> Option<&'a Argument> {
        let Some(argument) = self.take(name) else {
            self.missing(name, wanted);
            return None;
        };
        match argument.value {
            Raw::Text(_) => Some(argument),
            Raw::Missing => None,
            _ => {
                self.wrong(argument, wanted);
                None
            }
        }
    }

    /// A text that may be given.
    pub(crate) fn text(&mut self, name: &'a str) -> Option<(&'a str, &'a Argument)> {
        let argument = self.take(name)?;
        match &argument.value {
            Raw::Text(text) => Some((text, argument)),
            Raw::None | Raw::Missing => None,
            _ => {
                self.wrong(argument, "a text");
                None
            }
        }
    }

    /// A flag; the default when it is not given.
    pub(crate) fn flag(&mut self, name: &'a str, default: bool) -> bool {
        match self.take(name) {
            Some(Argument {
                value: Raw::Bool(flag),
                ..
            }) => *flag,
            Some(Argument {
                value: Raw::Missing, ..
            })
            | None => default,
            Some(argument) => {
                self.wrong(argument, "True or False");
                default
            }
        }
    }

    /// A whole number in a range.
    pub(crate) fn integer(&mut self, name: &'a str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let argument = self.take(name)?;
        match argument.value {
            Raw::Int(number) if range.contains(&number) => Some(number),
            Raw::Int(number) => {
                let message = format!(
                    "`{name}` of `{}` is {number}; it goes from {} to {}",
                    self.function,
                    range.start(),
                    range.end()
                );
                self.problems
                    .push(Problem::error("out-of-range", message).at(argument.span.clone()));
                None
            }
            Raw::None | Raw::Missing => None,
            _ => {
                self.wrong(argument, "a whole number");
                None
            }
        }
    }

    /// A number in a range.
    pub(crate) fn number(
        &mut self,
        name: &'a str,
        range: std::ops::RangeInclusive<f64>,
        default: f64,
    ) -> f64 {
        let Some(argument) = self.take(name) else {
            return default;
        };
        let number = match argument.value {
            Raw::Int(number) => number as f64,
            Raw::Float(number) => number,
            Raw::Missing => return default,
            _ => {
                self.wrong(argument, "a number");
                return default;
            }
        };
        if range.contains(&number) {
            return number;
        }
        let message = format!(
            "`{name}` of `{}` is {number}; it goes from {} to {}",
            self.function,
            range.start(),
            range.end()
        );
        self.problems
            .push(Problem::error("out-of-range", message).at(argument.span.clone()));
        default
    }

    /// One of several words; the first is the default.
    pub(crate) fn choice(&mut self, name: &'a str, words: &[&'static str]) -> &'static str {
        let default = words[0];
        let Some((text, argument)) = self.text(name) else {
            return default;
        };
        if let Some(word) = words.iter().find(|word| **word == text) {
            return word;
        }
        let message = format!("`{name}` of `{}` is one of {}", self.function, words.join(", "));
        self.problems.push(problems::unknown(
            "wrong-value",
            message,
            argument.span.clone(),
            text,
            words.iter().copied(),
        ));
        default
    }

    /// Reports every argument that was not taken, and those given twice.
    pub(crate) fn finish(self) {
        for (index, argument) in self.arguments.all.iter().enumerate() {
            if !self.known.contains(&argument.name.as_str()) {
                let message = format!("`{}` has no option `{}`", self.function, argument.name);
                let known = self.known.iter().copied();
                self.problems.push(problems::unknown(
                    "unknown-option",
                    message,
                    argument.key.clone(),
                    &argument.name,
                    known,
                ));
            } else if self.arguments.all[..index]
                .iter()
                .any(|earlier| earlier.name == argument.name)
            {
                let message = format!("`{}` is given twice", argument.name);
                self.problems
                    .push(Problem::error("duplicate-option", message).at(argument.key.clone()));
            }
        }
    }
}
