//! One file of a config repository: the author's text, the text that is parsed, and the way back from
//! the second to the first.

use model::problem::{Problem, Span};

/// A place where the parsed text differs from the author's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edit {
    /// Where the new text stands, in bytes.
    pub(crate) new_start: usize,
    /// How long the new text is.
    pub(crate) new_length: usize,
    /// Where the old text stood, in bytes.
    pub(crate) old_start: usize,
    /// How long the old text was.
    pub(crate) old_length: usize,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path relative to the repository's root, with `/`.
    pub(crate) path: String,
    /// What the author wrote.
    pub(crate) text: String,
    /// Where the parsed text differs, in order.
    edits: Vec<Edit>,
    /// Byte offsets at which the author's lines begin.
    lines: Vec<usize>,
}

impl Source {
    /// A file that is parsed as it stands.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Source {
        Source::rewritten(path, text, Vec::new())
    }

    /// A file that was rewritten.
    pub(crate) fn rewritten(path: impl Into<String>, text: impl Into<String>, edits: Vec<Edit>) -> Source {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Source {
            path: path.into(),
            text,
            edits,
            lines,
        }
    }

    /// The author's byte offset for an offset of the parsed text.
    fn origin(&self, at: usize) -> usize {
        let before = self.edits.partition_point(|edit| edit.new_start <= at);
        let Some(edit) = before.checked_sub(1).and_then(|index| self.edits.get(index)) else {
            return at.min(self.text.len());
        };
        let inside = at - edit.new_start;
        let old = if inside < edit.new_length {
            edit.old_start
        } else {
            edit.old_start + edit.old_length + (inside - edit.new_length)
        };
        old.min(self.text.len())
    }

    /// The place of a range of the parsed text.
    pub(crate) fn place_parsed(&self, start: usize, end: usize) -> Span {
        self.place(self.origin(start), self.origin(end.max(start)))
    }

    /// The place of a range of the author's text, in bytes. The caret stays within the first line.
    pub(crate) fn place(&self, start: usize, end: usize) -> Span {
        let start = floor_boundary(&self.text, start.min(self.text.len()));
        let line = self.lines.partition_point(|&begin| begin <= start).max(1) - 1;
        let begin = self.lines[line];
        let line_end = begin + self.line(line).len();
        let end = floor_boundary(&self.text, end.clamp(start, line_end.max(start)));
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Span {
            file: self.path.clone(),
            line: u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1),
            column: count(&self.text[begin..start]).saturating_add(1),
            width: count(&self.text[start..end]).max(1),
        }
    }

    /// A line's text, counted from 0, without its end.
    fn line(&self, line: usize) -> &str {
        let begin = self.lines[line];
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        self.text[begin..end].trim_end_matches(['\n', '\r'])
    }

    /// The text of a span's line.
    pub(crate) fn line_of(&self, span: &Span) -> Option<&str> {
        let line = usize::try_from(span.line).ok()?.checked_sub(1)?;
        (line < self.lines.len()).then(|| self.line(line))
    }
}

/// All files, by path.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a file.
    pub(crate) fn add(&mut self, source: Source) {
        self.0.push(source);
    }

    /// A file by its path.
    pub(crate) fn get(&self, path: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.path == path)
    }

    /// Fills in the source lines of problems.
    pub(crate) fn quote(&self, problems: &mut [Problem]) {
        for problem in problems
            .iter_mut()
            .filter(|problem| problem.source_line.is_none())
        {
            if let Some(span) = &problem.span {
                problem.source_line = self
                    .get(&span.file)
                    .and_then(|source| source.line_of(span))
                    .map(ToOwned::to_owned);
            }
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let source = Source::new("config/a.star", "é = 1\nxyz = 2\n");
        let span = source.place(3, 4);
        assert_eq!((span.line, span.column, span.width), (1, 3, 1));
        let span = source.place(7, 10);
        assert_eq!((span.line, span.column, span.width), (2, 1, 3));
    }

    #[test]
    fn a_caret_never_leaves_its_line_nor_the_file() {
        let source = Source::new("a", "ab\ncd");
        assert_eq!(source.place(1, 5).width, 1);
        assert_eq!(
            source.place(99, 120),
            Span {
                file: "a".into(),
                line: 2,
                column: 3,
                width: 1
            }
        );
    }

    #[test]
    fn places_of_the_parsed_text_lead_back_to_the_authors() {
        // `x["a", 2]` is parsed as `x[("a", 2)]`.
        let edits = vec![
            Edit {
                new_start: 2,
                new_length: 1,
                old_start: 2,
                old_length: 0,
            },
            Edit {
                new_start: 9,
                new_length: 1,
                old_start: 8,
                old_length: 0,
            },
        ];
        let source = Source::rewritten("a", "x[\"a\", 2] = 1", edits);
        assert_eq!(source.place_parsed(3, 6).column, 3);
        assert_eq!(source.place_parsed(8, 9).column, 8);
        assert_eq!(source.place_parsed(13, 14).column, 12);
    }
}
