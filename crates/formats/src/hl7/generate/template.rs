//! One message of which only control ID, date and patient number are replaced: as fast as copying it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::fill::Mark;

/// A message with holes for what has to differ.
#[derive(Clone, Debug)]
pub struct Template {
    text: Vec<u8>,
    /// In order, not overlapping.
    marks: Vec<(Mark, Range<usize>)>,
}

impl Template {
    pub(super) fn new(text: Vec<u8>, mut marks: Vec<(Mark, Range<usize>)>) -> Template {
        marks.sort_by_key(|(_, range)| range.start);
        Template { text, marks }
    }

    /// The message with this control ID; `None` keeps the date or the patient number it was made with.
    /// The texts are taken as they are. A date goes to every place that bears the message's date.
    pub fn render(&self, control_id: &str, date: Option<&str>, mrn: Option<&str>) -> Bytes {
        let mut out = BytesMut::with_capacity(self.text.len() + control_id.len() + 64);
        self.render_into(&mut out, control_id, date, mrn);
        out.freeze()
    }

    /// As [`Template::render`], appended to a buffer.
    pub fn render_into(&self, out: &mut BytesMut, control_id: &str, date: Option<&str>, mrn: Option<&str>) {
        let mut at = 0;
        for (mark, range) in &self.marks {
            let new = match mark {
                Mark::Control => Some(control_id),
                Mark::Date => date,
                Mark::Mrn => mrn,
            };
            out.extend_from_slice(&self.text[at..range.start]);
            out.extend_from_slice(new.map_or(&self.text[range.clone()], str::as_bytes));
            at = range.end;
        }
        out.extend_from_slice(&self.text[at..]);
    }

    /// How long a rendered message is, but for the texts put in.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Never: a message has at least a header.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}
