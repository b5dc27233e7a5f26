//! Turns what analysts write into plain Starlark, without moving a line:
//!
//! * `@router`, `@handler` and `@test` before a top-level function become a call at the end of the file;
//! * `del msg["PID-19"]` becomes a call, since Starlark has no `del`;
//! * `msg["OBX-5", 2]` gets the parentheses that Starlark wants around the pair.

use model::problem::Problem;

use super::source::{Edit, Source};
use super::tokens::{Kind, Token, tokens};

/// The function that `del` becomes.
pub(crate) const DELETE: &str = "_delete";

/// The words that may stand after `@`.
pub(crate) const DECORATORS: [&str; 3] = ["router", "handler", "test"];

/// A decorated function, known without evaluation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decorated {
    /// `router`, `handler` or `test`.
    pub(crate) decorator: String,
    /// The name it is wired by, when that is a plain text or the function's own.
    pub(crate) name: String,
}

/// What parsing goes on with.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The text to parse.
    pub(crate) text: String,
    /// Leads back to the author's text.
    pub(crate) source: Source,
    /// Decorated functions.
    pub(crate) decorated: Vec<Decorated>,
    /// What cannot be rewritten.
    pub(crate) problems: Vec<Problem>,
}

/// Rewrites one file.
pub(crate) fn rewrite(path: &str, text: &str) -> Rewritten {
    let plain = Source::new(path, text);
    let found = tokens(text);
    let mut rewriter = Rewriter::default();
    rewriter.decorators(&plain, &found);
    rewriter.deletions(&plain, &found);
    rewriter.pairs(&found);
    let (parsed, edits) = apply(text, rewriter.changes, &rewriter.calls);
    Rewritten {
        text: parsed,
        source: Source::rewritten(path, text, edits),
        decorated: rewriter.decorated,
        problems: rewriter.problems,
    }
}

#[derive(Default)]
struct Rewriter {
    /// Old range and new text.
    changes: Vec<(usize, usize, String)>,
    /// Calls for the end of the file, with the place of the function's name.
    calls: Vec<(String, usize, usize)>,
    decorated: Vec<Decorated>,
    problems: Vec<Problem>,
}

impl Rewriter {
    fn decorators(&mut self, source: &Source, found: &[Token<'_>]) {
        let mut pending: Vec<(&Token<'_>, &[Token<'_>])> = Vec::new();
        for line in found
            .split(|token| token.kind == Kind::Newline)
            .filter(|line| !line.is_empty())
        {
            if line[0].is("@") && line[0].depth == 0 {
                if let Some(word) = self.decorator_line(source, line) {
                    pending.push((word, &line[2..]));
                }
                continue;
            }
            let function = line
                .get(1)
                .filter(|name| line[0].is("def") && name.kind == Kind::Name);
            for (word, arguments) in pending.drain(..) {
                match function {
                    Some(name) if column(source, &line[0]) == 0 => self.decorate(word, arguments, name),
                    _ => self.refuse(
                        source,
                        word,
                        format!("`@{}` must stand right before a top-level `def`", word.text),
                        "move it to the line above the function",
                    ),
                }
            }
        }
        for (word, _) in pending {
            self.refuse(
                source,
                word,
                format!("`@{}` has no function below it", word.text),
                "remove the line",
            );
        }
    }

    /// Blanks a decorator's line and gives its word, when it is one of ours.
    fn decorator_line<'a, 'b>(&mut self, source: &Source, line: &'b [Token<'a>]) -> Option<&'b Token<'a>> {
        let end = line[line.len() - 1].end();
        let text = &source.text[line[0].start..end];
        let blank: String = text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        // A comment after the blanks would be an indented comment: harmless.
        self.changes.push((line[0].start, end, blank));
        let word = line.get(1).filter(|word| word.kind == Kind::Name);
        let Some(word) = word.filter(|word| DECORATORS.contains(&word.text)) else {
            let named = word.unwrap_or(&line[0]);
            let suggestion = crate::problems::did_you_mean(named.text, DECORATORS).map_or_else(
                || "use @router, @handler or @test".to_owned(),
                |word| format!("did you mean `@{word}`?"),
            );
            self.refuse(
                source,
                named,
                format!("`@{}` is not a decorator here", named.text),
                &suggestion,
            );
            return None;
        };
        let rest = &line[2..];
        let called =
            rest.first().is_none_or(|open| open.is("(")) && rest.last().is_none_or(|close| close.is(")"));
        if !called {
            let hint = format!("write `@{0}` or `@{0}(\"name\")`", word.text);
            self.refuse(
                source,
                word,
                format!("`@{}` is followed by something else", word.text),
                &hint,
            );
            return None;
        }
        Some(word)
    }

    fn decorate(&mut self, word: &Token<'_>, arguments: &[Token<'_>], name: &Token<'_>) {
        let inner = arguments
            .get(1..arguments.len().saturating_sub(1))
            .unwrap_or_default();
        let texts: Vec<&str> = inner.iter().map(|token| token.text).collect();
        let given = match inner {
            [one] if one.kind == Kind::Text => one.text.trim_matches(['"', '\'']),
            [.., last] if last.kind == Kind::Text => last.text.trim_matches(['"', '\'']),
            _ => name.text,
        };
        self.decorated.push(Decorated {
            decorator: word.text.to_owned(),
            name: given.to_owned(),
        });
        let separator = if texts.is_empty() { "" } else { ", " };
        let call = format!("{}({}{separator}{})", word.text, name.text, texts.join(" "));
        self.calls.push((call, name.start, name.end()));
    }

    fn deletions(&mut self, source: &Source, found: &[Token<'_>]) {
        let mut at = 0;
        while at < found.len() {
            let token = &found[at];
            let starts = at == 0
                || found[at - 1].kind == Kind::Newline
                || (found[at - 1].depth == 0 && (found[at - 1].is(";") || found[at - 1].is(":")));
            if !(starts && token.is("del") && token.depth == 0) {
                at += 1;
                continue;
            }
            let end = found[at..]
                .iter()
                .position(|token| token.kind == Kind::Newline || (token.depth == 0 && token.is(";")))
                .map_or(found.len(), |length| at + length);
            self.deletion(source, token, &found[at + 1..end]);
            at = end;
        }
    }

    fn deletion(&mut self, source: &Source, del: &Token<'_>, targets: &[Token<'_>]) {
        let mut start = del.end();
        for (index, target) in targets
            .split(|token| token.depth == 0 && token.is(","))
            .enumerate()
        {
            let close = target.last().filter(|token| token.is("]") && token.depth == 0);
            let open = target
                .iter()
                .rposition(|token| token.is("[") && token.depth == 0)
                .filter(|&at| at > 0);
            let (Some(close), Some(open), Some(first)) = (close, open, target.first()) else {
                self.refuse(
                    source,
                    del,
                    "`del` takes a subscript".to_owned(),
                    "write `del msg[\"PID-19\"]`; a name cannot be deleted",
                );
                return;
            };
            let opening = if index == 0 {
                (del.start, first.start)
            } else {
                (start, first.start)
            };
            let before = if index == 0 { "" } else { "; " };
            self.changes
                .push((opening.0, opening.1, format!("{before}{DELETE}(")));
            self.changes
                .push((target[open].start, target[open].end(), ", ".to_owned()));
            self.changes.push((close.start, close.end(), ")".to_owned()));
            start = close.end();
        }
    }

    /// Puts parentheses into `x[a, b]`, but not into types such as `dict[str, int]`, nor into what `del`
    /// has changed already.
    fn pairs(&mut self, found: &[Token<'_>]) {
        let taken: Vec<usize> = self.changes.iter().map(|change| change.0).collect();
        for (at, open) in found
            .iter()
            .enumerate()
            .filter(|(at, token)| *at > 0 && token.is("["))
        {
            let before = &found[at - 1];
            let subscript = match before.kind {
                Kind::Name => !is_keyword(before.text) && !is_type(before.text),
                Kind::Text => true,
                Kind::Mark => matches!(before.text, ")" | "]"),
                _ => false,
            };
            if !subscript || taken.contains(&open.start) {
                continue;
            }
            let inside: Vec<&Token<'_>> = found[at + 1..]
                .iter()
                .take_while(|token| !(token.is("]") && token.depth == open.depth))
                .collect();
            let top = |text: &str| {
                inside
                    .iter()
                    .any(|token| token.depth == open.depth + 1 && token.is(text))
            };
            let Some(close) = found.get(at + 1 + inside.len()) else {
                continue;
            };
            if top(",") && !top(":") {
                self.changes.push((open.end(), open.end(), "(".to_owned()));
                self.changes.push((close.start, close.start, ")".to_owned()));
            }
        }
    }

    fn refuse(&mut self, source: &Source, token: &Token<'_>, message: String, suggestion: &str) {
        let span = source.place(token.start, token.end());
        self.problems
            .push(Problem::error("syntax", message).at(span).suggest(suggestion));
    }
}

fn column(source: &Source, token: &Token<'_>) -> usize {
    token.start - source.text[..token.start].rfind('\n').map_or(0, |at| at + 1)
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "return" | "in" | "and" | "or" | "not" | "if" | "else" | "elif" | "for" | "lambda"
    )
}

fn is_type(word: &str) -> bool {
    matches!(word, "dict" | "tuple" | "list" | "set" | "Callable")
}

/// Applies changes and appends calls; gives the new text and the way back.
fn apply(
    text: &str,
    mut changes: Vec<(usize, usize, String)>,
    calls: &[(String, usize, usize)],
) -> (String, Vec<Edit>) {
    changes.sort_by_key(|change| (change.0, change.1));
    let mut new = String::with_capacity(text.len() + 64);
    let mut edits = Vec::new();
    let mut done = 0;
    for (start, end, replacement) in changes {
        if start < done {
            // Inside something that is replaced as a whole, such as a decorator's line.
            continue;
        }
        new.push_str(&text[done..start]);
        edits.push(Edit {
            new_start: new.len(),
            new_length: replacement.len(),
            old_start: start,
            old_length: end - start,
        });
        new.push_str(&replacement);
        done = end;
    }
    new.push_str(&text[done..]);
    if !calls.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    for (call, start, end) in calls {
        // The call as a whole leads back to the function's name.
        edits.push(Edit {
            new_start: new.len(),
            new_length: call.len(),
            old_start: *start,
            old_length: end - start,
        });
        new.push_str(call);
        new.push('\n');
    }
    (new, edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let rewritten = rewrite("config/a.star", input);
        assert_eq!(rewritten.text, expected);
        assert_eq!(rewritten.problems, []);
    }

    #[track_caller]
    fn refused(input: &str, expected: &str) {
        let rewritten = rewrite("config/a.star", input);
        let found: Vec<_> = rewritten.problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), expected);
    }

    #[test]
    fn decorators_become_calls_at_the_end() {
        check(
            "@router\ndef r(msg):\n    pass\n",
            "       \ndef r(msg):\n    pass\nrouter(r)\n",
        );
        check(
            "@handler(\"h\")\ndef f(m): pass",
            "             \ndef f(m): pass\nhandler(f, \"h\")\n",
        );
        check(
            "@test\n\n# why\ndef t(): pass\n",
            "     \n\n# why\ndef t(): pass\ntest(t)\n",
        );
        check(
            "@handler(\n  name = \"h\",\n)\ndef f(m): pass\n",
            "         \n             \n \ndef f(m): pass\nhandler(f, name = \"h\" ,)\n",
        );
    }

    #[test]
    fn decorated_names_are_known_without_evaluation() {
        let rewritten = rewrite("a", "@router\ndef r(m): pass\n@handler('h2')\ndef h(m): pass\n");
        let names: Vec<_> = rewritten
            .decorated
            .iter()
            .map(|one| (one.decorator.as_str(), one.name.as_str()))
            .collect();
        assert_eq!(names, [("router", "r"), ("handler", "h2")]);
    }

    #[test]
    fn del_becomes_a_call() {
        check("del msg[\"PID-19\"]\n", "_delete(msg, \"PID-19\")\n");
        check(
            "if a: del m[\"X-1\", 2]; b()\n",
            "if a: _delete(m, \"X-1\", 2); b()\n",
        );
        check(
            "    del a.b(c[1])[0], d[e[1]]\n",
            "    _delete(a.b(c[1]), 0); _delete(d, e[1])\n",
        );
        check("x = \"del a[1]\" # del b[1]\n", "x = \"del a[1]\" # del b[1]\n");
    }

    #[test]
    fn a_pair_in_a_subscript_gets_parentheses() {
        check(
            "msg[\"OBX-5\", 2] = a[1, b[2, 3]]\n",
            "msg[(\"OBX-5\", 2)] = a[(1, b[(2, 3)])]\n",
        );
        check("x = [1, 2]\nreturn [1, 2]\n", "x = [1, 2]\nreturn [1, 2]\n");
        check(
            "def f(a: dict[str, int]): pass\n",
            "def f(a: dict[str, int]): pass\n",
        );
        check("a[f(1, 2)] + a[1:2]\n", "a[f(1, 2)] + a[1:2]\n");
    }

    #[test]
    fn a_decorator_out_of_place_is_refused_with_its_place() {
        refused(
            "@router\nx = 1\n",
            "config/a.star:1:2: error[syntax]: `@router` must stand right before a top-level `def`",
        );
        refused(
            "@handlr\ndef f(m): pass\n",
            "config/a.star:1:2: error[syntax]: `@handlr` is not a decorator here",
        );
        refused(
            "@handler\n",
            "config/a.star:1:2: error[syntax]: `@handler` has no function below it",
        );
        refused(
            "def f():\n    @handler\n    def g(m): pass\n",
            "config/a.star:2:6: error[syntax]: `@handler` must stand right before a top-level `def`",
        );
        refused(
            "del msg\n",
            "config/a.star:1:1: error[syntax]: `del` takes a subscript",
        );
    }

    proptest::proptest! {
        #[test]
        fn lines_stay_where_they_are(text in "(@router\n|def f\\(m\\):\n|    del m\\[\"A-1\", 2\\]\n|x = m\\[1, 2\\]\n|\"\"\"|é|@|\\[|\\]|\n){0,12}") {
            let rewritten = rewrite("a", &text);
            let lines = |text: &str| text.matches('\n').count();
            assert!(lines(&rewritten.text) >= lines(&text));
            for at in 0..=rewritten.text.len() {
                let span = rewritten.source.place_parsed(at, at + 1);
                assert!(span.line >= 1 && span.column >= 1);
            }
        }
    }
}
