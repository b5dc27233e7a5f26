//! The statements of the backend as they stand in its source: each constant of `src/sqlserver/sql`, and each field of one
//! that is a struct, put together as the compiler would, and each migration. A constant that cannot be put together here
//! fails the test that asks for it, so that none is left out unseen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a source file consists of, as far as constants need it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// A constant's value, put together: one text, or the texts of an array or tuple in their order.
pub(crate) type Texts = Vec<String>;

/// Everything below `src/sqlserver/sql`, by name.
pub(crate) fn constants() -> BTreeMap<String, Texts> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sqlserver/sql");
    let mut found = BTreeMap::new();
    for path in files(&folder, "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let of_file = constants_of(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        for (name, texts) in of_file {
            let before = found.insert(name.clone(), texts);
            assert!(before.is_none(), "{name} is there twice");
        }
    }
    assert!(found.len() > 50, "too few to be all: {}", found.len());
    found
}

/// The text of one constant that is not an array.
pub(crate) fn constant(name: &str) -> String {
    let all = constants();
    let texts = all
        .get(name)
        .unwrap_or_else(|| panic!("there is no constant {name} in src/sqlserver/sql any more"));
    assert_eq!(texts.len(), 1, "{name} is an array");
    texts[0].clone()
}

/// Files with this ending in a folder, in the order of their names.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    found.sort();
    found
}

fn constants_of(text: &str) -> Result<Vec<(String, Texts)>, String> {
    let tokens = tokens(text)?;
    let mut macros = BTreeMap::new();
    let mut found: Vec<(String, Texts)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Word(word) if word == "macro_rules" => {
                let Some(Token::Word(name)) = tokens.get(at + 2) else {
                    return Err("a macro without a name".to_owned());
                };
                let end = closing(&tokens, at + 3)?;
                let text: String = tokens[at + 3..end].iter().filter_map(text_of).collect();
                macros.insert(name.clone(), text);
                at = end;
            }
            Token::Word(word) if word == "const" => {
                let Some(Token::Word(name)) = tokens.get(at + 1) else {
                    return Err("a constant without a name".to_owned());
                };
                // In a type such as `[&str; 3]` a semicolon ends nothing, and no `=` comes before the value's.
                let value =
                    at + position(&tokens[at..], &Token::Mark('=')).ok_or("a constant without a value")?;
                let end = value
                    + position(&tokens[value..], &Token::Mark(';')).ok_or("a constant without an end")?;
                for (name, tokens) in named(name, &tokens[value + 1..end])? {
                    let texts = evaluate(tokens, &macros, &found)
                        .map_err(|fault| format!("{name} cannot be put together: {fault}"))?;
                    if !texts.is_empty() {
                        found.push((name, texts));
                    }
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(found)
}

/// A constant's name and value, or, where it is a struct, those of its fields, each called as a constant would be.
fn named<'t>(name: &str, value: &'t [Token]) -> Result<Vec<(String, &'t [Token])>, String> {
    let path = |token: &Token| matches!(token, Token::Word(_) | Token::Mark(':'));
    let open = value.iter().take_while(|token| path(token)).count();
    if open == 0 || value.get(open) != Some(&Token::Mark('{')) {
        return Ok(vec![(name.to_owned(), value)]);
    }
    let end = closing(value, open)?;
    let mut found = Vec::new();
    let mut at = open + 1;
    while at < end {
        let (Some(Token::Word(field)), Some(Token::Mark(':'))) = (value.get(at), value.get(at + 1)) else {
            return Err(format!("{name} has a field without a name or a value"));
        };
        let begin = at + 2;
        let mut depth = 0_i32;
        at = begin;
        while at < end && (depth > 0 || value[at] != Token::Mark(',')) {
            match value[at] {
                Token::Mark('(' | '[' | '{') => depth += 1,
                Token::Mark(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        found.push((field.to_uppercase(), &value[begin..at]));
        at += 1;
    }
    Ok(found)
}

fn position(tokens: &[Token], wanted: &Token) -> Option<usize> {
    tokens.iter().position(|token| token == wanted)
}

fn text_of(token: &Token) -> Option<&str> {
    match token {
        Token::Text(text) => Some(text),
        _ => None,
    }
}

/// Where the bracket that opens at this place is closed.
fn closing(tokens: &[Token], open: usize) -> Result<usize, String> {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    Err("a bracket that is not closed".to_owned())
}

/// A value of texts: literals, `concat!`, our own macros without arguments, constants before it, arrays and tuples of
/// these. Numbers come to nothing.
fn evaluate(
    tokens: &[Token],
    macros: &BTreeMap<String, String>,
    before: &[(String, Texts)],
) -> Result<Texts, String> {
    let mut texts: Texts = Vec::new();
    // Inside of `concat!` commas join; elsewhere they part.
    let mut joins: Vec<bool> = Vec::new();
    let mut fresh = true;
    let add = |texts: &mut Texts, fresh: &mut bool, text: &str| {
        match texts.last_mut() {
            Some(last) if !*fresh => last.push_str(text),
            _ => texts.push(text.to_owned()),
        }
        *fresh = false;
    };
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Text(text) => add(&mut texts, &mut fresh, text),
            Token::Word(word) if word == "concat" => {
                joins.push(true);
                at += 2;
            }
            Token::Word(word) if tokens.get(at + 1) == Some(&Token::Mark('!')) => {
                let text = macros.get(word).ok_or(format!("no macro {word}! in this file"))?;
                add(&mut texts, &mut fresh, text);
                at = closing(tokens, at + 2)?;
            }
            Token::Word(word) if word.starts_with(|letter: char| letter.is_ascii_digit()) => {}
            Token::Word(word) => {
                let known = before.iter().find(|(name, _)| name == word);
                match known.map(|(_, texts)| &texts[..]) {
                    Some([text]) => add(&mut texts, &mut fresh, text),
                    _ => return Err(format!("`{word}` is not a text that stands before it")),
                }
            }
            Token::Mark('(' | '[' | '{') => joins.push(false),
            Token::Mark(')' | ']' | '}') => drop(joins.pop()),
            Token::Mark(',') => fresh |= !joins.contains(&true),
            Token::Mark('&') => {}
            Token::Mark(other) => return Err(format!("`{other}` is not understood")),
        }
        at += 1;
    }
    Ok(texts)
}

/// The file's words, texts and marks; comments and attributes' contents stay out of constants by themselves.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if first == '"' {
            let (text, after) = literal(&rest[1..])?;
            found.push(Token::Text(text));
            rest = after;
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") {
            let hashes = if rest.starts_with("r#") { "#" } else { "" };
            let inner = &rest[2 + hashes.len()..];
            let (text, after) = inner
                .split_once(&format!("\"{hashes}"))
                .ok_or("a text without an end")?;
            found.push(Token::Text(text.to_owned()));
            rest = after;
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest
                .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
                .unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                found.push(Token::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(found)
}

/// A text up to its closing quote, and what comes after it.
fn literal(rest: &str) -> Result<(String, &str), String> {
    let mut text = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((text, &rest[at + 1..])),
            '\\' => match letters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped @ ('"' | '\\' | '\''))) => text.push(escaped),
                // A line that goes on in the next one.
                Some((at, '\n')) => {
                    let after = rest[at + 1..].trim_start();
                    let (more, after) = literal(after)?;
                    return Ok((text + &more, after));
                }
                other => return Err(format!("the escape {other:?} is not understood")),
            },
            letter => text.push(letter),
        }
    }
    Err("a text without an end".to_owned())
}

#[test]
fn constants_are_put_together_as_the_compiler_does() {
    let source = r#"
        /// A comment with "quotes" and const NOTHING: &str = "x";
        macro_rules! now { () => { "CLOCK()" }; }
        pub(crate) const ONE: &str = "SELECT 1
 FROM t";
        const TWO: &str = concat!("SELECT ", now!(), " - @P1");
        const THREE: [&str; 2] = ["A \"b\"", concat!("C", now!())];
        const FOUR: [(&str, i64); 2] = [("x", 1), ("y", 2)];
        const FIVE: usize = 4;
        const SIX: &str = concat!("a \
            b");
        const SEVEN: of::Sql = of::Sql {
            // A comment, and a comma.
            eight: concat!("SELECT ", now!(), ", 1"),
            nine: &["D", "E"],
        };
    "#;
    let found: BTreeMap<_, _> = constants_of(source).unwrap().into_iter().collect();
    let texts = |name: &str| found.get(name).cloned().unwrap_or_default();
    assert_eq!(texts("ONE"), ["SELECT 1\n FROM t"]);
    assert_eq!(texts("TWO"), ["SELECT CLOCK() - @P1"]);
    assert_eq!(texts("THREE"), ["A \"b\"", "CCLOCK()"]);
    assert_eq!(texts("FOUR"), ["x", "y"]);
    assert_eq!(texts("SIX"), ["a b"]);
    assert_eq!(texts("EIGHT"), ["SELECT CLOCK(), 1"]);
    assert_eq!(texts("NINE"), ["D", "E"]);
    assert_eq!(found.len(), 7);
    for wrong in [
        "const A: &str = unknown!();",
        "const A: &str = OTHER;",
        "const A: &str = \"a\" + \"b\";",
        "const A: &str = \"a",
        "const A: Sql = Sql { b: c() };",
        "const A: Sql = Sql { ..B };",
    ] {
        assert!(constants_of(wrong).is_err(), "{wrong}");
    }
}
