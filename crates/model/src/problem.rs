//! A problem found in a configuration: where, what, and what to do.

use std::fmt;

use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration works; a person should look.
    Warning,
    /// The configuration is refused.
    Error,
}

/// A place in a configuration file. Lines and columns count from 1; columns count characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
pub struct Span {
    /// Path relative to the config repository's root, with `/`.
    pub file: String,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// How many characters the caret underlines (at least 1), within that line.
    pub width: u32,
}

/// One problem. Loading reports all of them at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// A stable kebab-case code, such as `unknown-handler`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, when a place can be named.
    pub span: Option<Span>,
    /// The text of the line the span points at, when it is known.
    pub source_line: Option<String>,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: None,
            source_line: None,
            suggestion: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Warning,
            ..Problem::error(code, message)
        }
    }

    /// Names the place.
    pub fn at(mut self, span: Span) -> Problem {
        self.span = Some(span);
        self
    }

    /// Says what to do.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Problem {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl fmt::Display for Problem {
    /// One line: `config/adt.star:12:5: error[unknown-handler]: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = &self.span {
            write!(f, "{}:{}:{}: ", span.file, span.line, span.column)?;
        }
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.message)
    }
}
