//! The one batch of statements that appends the rows of a grouped commit under the claim of the shard's row. Rows go as
//! JSON, one value for each group of tables; bodies as they are, all of a group in one value.

use std::sync::Arc;

use super::sql;
use super::text;
use crate::server::batch::{Batch, GROUPS, Present};
use crate::server::lease::of_lead;
use crate::server::value::Value;
use crate::server::{Lead, segment};

/// The bit for messages that are put back to the start, behind those of the groups.
const PUT_BACK: usize = GROUPS;
const CHOICES: usize = 1 << (GROUPS + 1);

/// Values a batch has before those of its groups: the claim and the time of the commit.
const VALUES_BEFORE: usize = 4;

/// The texts of rows, in braces in the statements.
const TEXTS: [&str; 8] = [
    "control_id",
    "kind",
    "source",
    "keys",
    "partition_key",
    "reason",
    "actor",
    "detail",
];

/// The statements of one segment: one constant text for each choice of groups, made when first needed.
/// A small commit then touches only the tables that it has rows for.
pub(crate) struct Statements {
    number: u32,
    texts: Vec<Option<Arc<str>>>,
}

impl Statements {
    pub(super) fn of(number: u32) -> Statements {
        Statements {
            number,
            texts: vec![None; CHOICES],
        }
    }

    fn text(&mut self, present: Present, stand_in: bool) -> Arc<str> {
        let number = self.number;
        let make = || {
            let begin = if stand_in {
                sql::APPEND_BEGIN_WITHOUT_HINTS
            } else {
                sql::APPEND_BEGIN
            };
            let mut template = begin.to_owned();
            let mut value = VALUES_BEFORE;
            let groups = sql::APPENDS.iter().enumerate();
            for (_, group) in groups.filter(|(index, _)| present & (1 << index) != 0) {
                for (index, part) in group.split('?').enumerate() {
                    if index > 0 {
                        value += 1;
                        template.push_str(&format!("@P{value}"));
                    }
                    template.push_str(part);
                }
            }
            template.push_str(sql::APPEND_END);
            let template = text::statement(&template, &TEXTS, stand_in);
            Arc::from(segment::text(&template, number))
        };
        Arc::clone(self.texts[present].get_or_insert_with(make))
    }
}

/// The text and its values.
pub(super) fn statement<'b>(
    batch: &'b Batch<'_>,
    lead: &Lead,
    statements: &mut Statements,
    stand_in: bool,
) -> (Arc<str>, Vec<Value<'b>>) {
    let mut present = batch.present();
    if batch.dispositions.disposition.contains(&0) {
        present |= 1 << PUT_BACK;
    }
    let mut values: Vec<Value<'b>> = of_lead(lead).into();
    values.push(Value::Big(batch.at.0));
    for group in (0..=PUT_BACK).filter(|group| present & (1 << group) != 0) {
        add_group(batch, group, &mut values, stand_in);
    }
    (statements.text(present, stand_in), values)
}

/// Rows as a JSON array of arrays.
struct Rows {
    json: String,
    stand_in: bool,
}

impl Rows {
    fn new(count: usize, stand_in: bool) -> Rows {
        let mut json = String::with_capacity(count * 96 + 2);
        json.push('[');
        Rows { json, stand_in }
    }

    fn begin(&mut self) -> &mut Rows {
        self.json.push_str(if self.json.len() > 1 { ",[" } else { "[" });
        self
    }

    fn number(&mut self, number: impl Into<i64>) -> &mut Rows {
        self.separate();
        self.json.push_str(&number.into().to_string());
        self
    }

    fn maybe(&mut self, number: Option<i64>) -> &mut Rows {
        match number {
            Some(number) => self.number(number),
            None => self.null(),
        }
    }

    fn null(&mut self) -> &mut Rows {
        self.separate();
        self.json.push_str("null");
        self
    }

    fn text(&mut self, text: Option<&str>) -> &mut Rows {
        let Some(text) = text else { return self.null() };
        self.separate();
        text::write(&mut self.json, text, self.stand_in);
        self
    }

    /// Where a body lies among all of its group, counted from 1, and how long it is.
    fn place(&mut self, bodies: &mut Vec<u8>, body: Option<&[u8]>) -> &mut Rows {
        let Some(body) = body else {
            return self.null().null();
        };
        let place = bodies.len() as i64 + 1;
        bodies.extend_from_slice(body);
        self.number(place).number(body.len() as i64)
    }

    fn separate(&mut self) {
        if !self.json.ends_with('[') {
            self.json.push(',');
        }
    }

    fn end(&mut self) {
        self.json.push(']');
    }

    fn finish<'b>(mut self) -> Value<'b> {
        self.json.push(']');
        Value::from(self.json)
    }
}

/// The values of a group, in the order of its text.
fn add_group<'b>(batch: &'b Batch<'_>, group: usize, values: &mut Vec<Value<'b>>, stand_in: bool) {
    match group {
        0 => add_messages(batch, values, stand_in),
        1 => add_routed(batch, values, stand_in),
        2 => add_sends(batch, values, stand_in),
        3 => add_outcomes(batch, values, stand_in),
        4 => {
            let of = &batch.dispositions;
            let mut rows = Rows::new(of.id.len(), stand_in);
            for row in 0..of.id.len() {
                rows.begin()
                    .number(of.message[row])
                    .number(of.id[row])
                    .number(of.disposition[row])
                    .end();
            }
            values.push(rows.finish());
        }
        5 => add_exceptions(batch, values, stand_in),
        _ => {
            let of = &batch.dispositions;
            let mut rows = Rows::new(1, stand_in);
            for row in (0..of.id.len()).filter(|row| of.disposition[*row] == 0) {
                rows.begin().number(of.message[row]).number(of.id[row]).end();
            }
            values.push(rows.finish());
        }
    }
}

fn add_messages<'b>(batch: &'b Batch<'_>, values: &mut Vec<Value<'b>>, stand_in: bool) {
    let of = &batch.messages;
    let mut bodies = Vec::with_capacity(of.body.iter().map(|body| body.len()).sum());
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.id[row])
            .number(of.inbound[row])
            .number(of.received_at[row])
            .text(of.control_id[row])
            .text(of.kind[row])
            .text(of.source[row])
            .maybe(of.parent[row])
            .text(of.keys[row].map(text::keys).as_deref())
            .number(of.enc[row])
            .place(&mut bodies, Some(of.body[row]))
            .end();
    }
    values.extend([Value::from(bodies), rows.finish()]);
}

fn add_routed<'b>(batch: &'b Batch<'_>, values: &mut Vec<Value<'b>>, stand_in: bool) {
    let of = &batch.routed;
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        let mut handlers = String::from(",");
        for handler in of.handlers[row] {
            handlers.push_str(&handler.0.to_string());
            handlers.push(',');
        }
        rows.begin()
            .number(of.id[row])
            .number(of.message[row])
            .text(Some(&handlers))
            .end();
    }
    values.push(rows.finish());
}

fn add_sends<'b>(batch: &'b Batch<'_>, values: &mut Vec<Value<'b>>, stand_in: bool) {
    let of = &batch.sends;
    let mut bodies = Vec::with_capacity(of.body.iter().flatten().map(|body| body.len()).sum());
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.id[row])
            .number(of.message[row])
            .number(of.handler[row])
            .number(of.destination[row])
            .number(of.priority[row])
            .text(of.partition[row])
            .number(of.enc[row])
            .place(&mut bodies, of.body[row])
            .end();
    }
    values.extend([Value::from(bodies), rows.finish()]);
}

fn add_outcomes<'b>(batch: &'b Batch<'_>, values: &mut Vec<Value<'b>>, stand_in: bool) {
    let of = &batch.outcomes;
    let mut bodies = Vec::with_capacity(of.reply.iter().flatten().map(|reply| reply.len()).sum());
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.send[row])
            .number(of.id[row])
            .number(of.message[row])
            .number(of.result[row])
            .number(of.attempts[row])
            .number(of.enc[row])
            .place(&mut bodies, of.reply[row])
            .end();
    }
    values.extend([Value::from(bodies), rows.finish()]);
}

/// What is an exception: handled, dead letters, resolved, events.
fn add_exceptions<'b>(batch: &'b Batch<'_>, values: &mut Vec<Value<'b>>, stand_in: bool) {
    let of = &batch.handled;
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.message[row])
            .number(of.handler[row])
            .number(of.id[row])
            .number(of.result[row])
            .end();
    }
    values.push(rows.finish());
    let of = &batch.letters;
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.id[row])
            .number(of.message[row])
            .number(of.stage[row])
            .number(of.at_name[row])
            .maybe(of.send[row])
            .text(Some(of.reason[row]))
            .end();
    }
    values.push(rows.finish());
    let of = &batch.resolved;
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.dead_letter[row])
            .number(of.id[row])
            .number(of.how[row])
            .text(Some(of.actor[row]))
            .end();
    }
    values.push(rows.finish());
    let of = &batch.events;
    let mut rows = Rows::new(of.id.len(), stand_in);
    for row in 0..of.id.len() {
        rows.begin()
            .number(of.id[row])
            .number(of.message[row])
            .maybe(of.send[row])
            .number(of.kind[row])
            .text(Some(of.detail[row]))
            .text(of.actor[row])
            .end();
    }
    values.push(rows.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json_that_reads_back_as_it_was() {
        let texts = ["", "a\"b\\c", "tab\tand \u{1} and \u{0}", "ü 𝄞"];
        let mut rows = Rows::new(0, false);
        let mut bodies = Vec::new();
        for text in texts {
            rows.begin()
                .number(7_i64)
                .text(Some(text))
                .text(None)
                .place(&mut bodies, Some(b"xy"))
                .end();
        }
        rows.begin().number(i64::MAX).place(&mut bodies, None).end();
        let Value::Text(json) = rows.finish() else {
            panic!("rows are text");
        };
        let read: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        for (row, text) in texts.iter().enumerate() {
            assert_eq!(
                read[row],
                serde_json::json!([7, text, null, 2 * row + 1, 2]),
                "{json}"
            );
        }
        assert_eq!(read[4], serde_json::json!([i64::MAX, null, null]));
        assert_eq!(bodies.len(), 8);
        let Value::Text(none) = Rows::new(0, false).finish() else {
            panic!("rows are text");
        };
        assert_eq!(none, "[]");
    }

    #[test]
    fn a_segment_has_a_constant_text_for_each_choice_of_tables() {
        let (mut one, mut two) = (Statements::of(1), Statements::of(2));
        let text = one.text(0b000001, false);
        assert!(
            text.contains("holdfast.s000001_message") && text.contains("@P6") && text.contains("READPAST"),
            "{text}"
        );
        assert!(
            !text.contains('?') && !text.contains('{') && !text.contains("_routed"),
            "{text}"
        );
        let whole = two.text(0b1111111, true);
        assert!(
            whole.contains("holdfast.s000002_event") && whole.contains("@P17)") && !whole.contains("@P18"),
            "{whole}"
        );
        assert!(Arc::ptr_eq(&two.text(0b1111111, true), &whole));
        assert!(!two.text(0, false).contains("@P5"));
    }
}
