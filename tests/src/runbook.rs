//! A runbook as steps that can be run. `runbooks/README.md` says to people what this reads:
//!
//! - a fence `sh` is run; `sh exit=1` ends with 1 instead of 0; `sh again` is run again until it prints what is shown;
//! - a fence `text` right after one that is run is what it prints, in this order; `…` stands for anything;
//! - a fence `sh norun` is not run; a comment `<!-- norun: why -->` above it says why;
//! - a comment `<!-- meanwhile: what -->` is what happens to the cluster in the test at this place.

/// One step of a runbook, with the number of its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Counted from 1.
    pub line: usize,
    /// What is to be done.
    pub what: What,
}

/// What a step is.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// Something happens to the cluster.
    Meanwhile(String),
    /// Commands of a shell.
    Run {
        /// As they stand there.
        script: String,
        /// The exit code they must have.
        code: i32,
        /// Whether they are repeated until they print what is shown.
        again: bool,
        /// Lines that they print, `…` for anything.
        shown: Vec<String>,
    },
    /// Commands that are not run, and why.
    NotRun(String),
}

/// Reads a runbook; what is wrong with it, each with its line.
pub fn read(text: &str) -> Result<Vec<Step>, Vec<String>> {
    let (mut steps, mut faults) = (Vec::new(), Vec::new());
    let mut reason: Option<String> = None;
    let mut printable = false; // whether a `text` fence here belongs to the step before
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((line, text)) = lines.next() {
        let trimmed = text.trim();
        if let Some(comment) = trimmed.strip_prefix("<!--") {
            let comment = comment.trim_end_matches("-->").trim();
            if let Some(what) = comment.strip_prefix("meanwhile:") {
                steps.push(Step {
                    line,
                    what: What::Meanwhile(what.trim().to_owned()),
                });
                printable = false;
            } else if let Some(why) = comment.strip_prefix("norun:") {
                reason = Some(why.trim().to_owned());
            }
            continue;
        }
        let Some(kind) = trimmed.strip_prefix("```") else {
            if trimmed.starts_with('#') {
                (printable, reason) = (false, None);
            }
            continue;
        };
        let indent = text.len() - text.trim_start().len();
        let body = fence(&mut lines, indent);
        let words: Vec<&str> = kind.split_whitespace().collect();
        match words.as_slice() {
            ["sh", "norun"] => {
                match reason.take() {
                    Some(why) if !why.is_empty() => steps.push(Step {
                        line,
                        what: What::NotRun(why),
                    }),
                    _ => faults.push(format!(
                        "line {line}: `sh norun` needs `<!-- norun: why -->` above it"
                    )),
                }
                printable = false;
            }
            ["sh", rest @ ..] => {
                let (mut code, mut again) = (0, false);
                for word in rest {
                    match word.strip_prefix("exit=").map(str::parse) {
                        Some(Ok(number)) => code = number,
                        None if *word == "again" => again = true,
                        _ => faults.push(format!("line {line}: `sh {word}` means nothing here")),
                    }
                }
                steps.push(Step {
                    line,
                    what: What::Run {
                        script: body.join("\n"),
                        code,
                        again,
                        shown: Vec::new(),
                    },
                });
                printable = true;
            }
            ["text"] if printable => {
                if let Some(Step {
                    what: What::Run { shown, .. },
                    ..
                }) = steps.last_mut()
                {
                    *shown = body.into_iter().filter(|line| !line.trim().is_empty()).collect();
                }
                printable = false;
            }
            [] => faults.push(format!("line {line}: a fence needs a word: `sh`, or `text`")),
            _ => printable = false,
        }
    }
    for step in &steps {
        if let What::Run {
            again: true, shown, ..
        } = &step.what
            && shown.is_empty()
        {
            faults.push(format!(
                "line {}: `sh again` needs a `text` fence after it: what to wait for",
                step.line
            ));
        }
    }
    if faults.is_empty() { Ok(steps) } else { Err(faults) }
}

/// The lines up to the end of a fence, without its indent.
fn fence<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, indent: usize) -> Vec<String> {
    lines
        .map(|(_, line)| line)
        .take_while(|line| line.trim() != "```")
        .map(|line| line.get(indent..).unwrap_or_default().to_owned())
        .collect()
}

/// The first line of `shown` that `printed` lacks: each must be found in a line below that of the one before. Frames of
/// tables and the number of spaces do not count.
pub fn missing<'s>(shown: &'s [String], printed: &str) -> Option<&'s str> {
    let mut printed = printed.lines().map(plain);
    shown
        .iter()
        .find(|line| {
            let wanted = plain(line);
            !wanted.is_empty() && !printed.any(|line| fits(&wanted, &line))
        })
        .map(String::as_str)
}

fn plain(line: &str) -> String {
    let frame = |letter: char| ('\u{2500}'..='\u{257f}').contains(&letter);
    let words: Vec<&str> = line
        .split(|letter: char| letter.is_whitespace() || frame(letter))
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Whether the parts between the `…` of `wanted` stand in `line`, in their order.
fn fits(wanted: &str, line: &str) -> bool {
    let mut rest = line;
    wanted
        .split('…')
        .map(str::trim)
        .all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_is_read_into_its_steps() {
        let text = "# T\n<!-- meanwhile: the leader is killed -->\n```sh again\nls\n```\n\n```text\na … b\n```\n\
                    1. so\n   ```sh exit=1\n   false\n   ```\n<!-- norun: it needs systemd -->\n```sh norun\nx\n```\n";
        let steps = read(text).unwrap();
        let run = |script: &str, code, again, shown: &[&str]| What::Run {
            script: script.to_owned(),
            code,
            again,
            shown: shown.iter().map(|line| (*line).to_owned()).collect(),
        };
        let wanted = [
            (2, What::Meanwhile("the leader is killed".to_owned())),
            (3, run("ls", 0, true, &["a … b"])),
            (11, run("false", 1, false, &[])),
            (15, What::NotRun("it needs systemd".to_owned())),
        ];
        assert_eq!(steps, wanted.map(|(line, what)| Step { line, what }));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, wanted) in [
            ("```sh norun\nx\n```\n", "line 1: `sh norun` needs"),
            ("\n```sh agian\nx\n```\n", "line 2: `sh agian` means nothing"),
            ("```sh again\nx\n```\n", "line 1: `sh again` needs a `text`"),
            ("```\nx\n```\n", "line 1: a fence needs a word"),
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(wanted), "{faults:?}");
        }
    }

    #[test]
    fn what_is_shown_must_be_printed_in_its_order() {
        let printed = "┌────┐\n│ node-a   leads   yes │\n└────┘\nepoch 2: held by `node-a`, for 9 ms\n";
        for (shown, lacks) in [
            (&["node-a leads … "][..], None),
            (&["│ node-a  leads", "epoch … held by `node-a`"], None),
            (&["epoch", "node-a leads"], Some("node-a leads")),
            (&["node-b"], Some("node-b")),
            (&["held by … epoch"], Some("held by … epoch")),
        ] {
            let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(missing(&shown, printed), lacks, "{shown:?}");
        }
    }
}
