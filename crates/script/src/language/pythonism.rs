//! Plain words for what people who know Python try and Starlark refuses.

use super::tokens::{Kind, Token};

/// What to write instead, for a parse error in this line. `tokens` are those of the whole file, `start`
/// and `end` the byte range of the line at fault.
pub(crate) fn hint(tokens: &[Token<'_>], start: usize, end: usize) -> Option<&'static str> {
    let line: Vec<&Token<'_>> = tokens
        .iter()
        .filter(|token| token.start >= start && token.start < end && token.kind != Kind::Newline)
        .collect();
    let has = |word: &str| {
        line.iter()
            .any(|token| token.kind == Kind::Name && token.text == word)
    };
    let pair = |one: &str, two: &str| line.windows(2).any(|pair| pair[0].is(one) && pair[1].is(two));
    let hint = if has("while") {
        "there is no `while`: write `for i in range(100):` with a `break`"
    } else if has("try") || has("except") || has("finally") || has("raise") {
        "there are no exceptions: ask with a default, as in `msg.get(path, \"\")` or `to_int(text, 0)`; stop with `fail(\"why\")`"
    } else if has("import") {
        "there is no `import`: write `load(\"_helpers.star\", \"name\")`; text, date and regex helpers are built in"
    } else if has("class") {
        "there are no classes: use functions, dicts or `struct(a = 1)`"
    } else if pair("is", "None") || pair("is", "not") {
        "write `== None` or `!= None`: there is no `is`"
    } else if has("is") {
        "write `==`: there is no `is`"
    } else if has("with") || has("async") || has("await") || has("yield") {
        "functions here are plain: no `with`, `async` or `yield`, since they do no input or output"
    } else if has("global") || has("nonlocal") {
        "functions keep no state between messages; return the value instead"
    } else if has("assert") {
        "there is no `assert`: write `if not x: fail(\"why\")`; in a test, `expect(x, \"why\")`"
    } else if has("del") {
        "write `del msg[\"PID-19\"]` on a line of its own"
    } else if line.iter().any(|token| token.is("**")) {
        "there is no `**` operator"
    } else {
        return None;
    };
    Some(hint)
}
