//! `msg`: an HL7 message in the hands of a function. Edits stay in this copy.
#![expect(
    unsafe_code,
    reason = "the interpreter's derive of ProvidesStaticType expands to an unsafe impl"
)]

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;

use allocative::Allocative;
use formats::hl7;
use model::Timestamp;
use starlark::StarlarkPagablePanic;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::starlark_module;
use starlark::values::list::AllocList;
use starlark::values::none::NoneType;
use starlark::values::{
    AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};

use super::path;
use super::segment::Segment;
use crate::helpers::dates;

/// The message, and which segment is which while segments come and go.
pub(crate) struct State {
    /// The message itself.
    pub(crate) message: hl7::Message,
    /// A lasting number per segment, in order; empty until a segment was handed out.
    ids: Vec<u32>,
    next: u32,
}

impl State {
    fn number_segments(&mut self) {
        if self.ids.is_empty() {
            self.ids = (0..self.message.segment_count(None))
                .filter_map(|n| u32::try_from(n).ok())
                .collect();
            self.next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        }
    }

    /// Where the segment of that number stands now.
    pub(crate) fn position(&self, id: u32) -> anyhow::Result<usize> {
        let guess = id as usize;
        if self.ids.get(guess) == Some(&id) {
            return Ok(guess);
        }
        let found = self.ids.iter().position(|known| *known == id);
        found.ok_or_else(|| anyhow::anyhow!("this segment was removed from its message"))
    }

    fn forget(&mut self, position: usize) {
        if position < self.ids.len() {
            self.ids.remove(position);
        }
    }

    /// Removes a segment.
    pub(crate) fn remove(&mut self, position: usize) -> anyhow::Result<()> {
        self.message.remove_segment(position)?;
        self.forget(position);
        Ok(())
    }

    /// Adds a segment and gives its lasting number.
    fn add(&mut self, text: &str, position: Option<usize>) -> anyhow::Result<u32> {
        self.number_segments();
        let at = self.message.add_segment(text, position)?;
        let id = self.next;
        self.next = self.next.saturating_add(1);
        self.ids.insert(at.min(self.ids.len()), id);
        Ok(id)
    }

    /// Deletes what a path names.
    pub(crate) fn delete(&mut self, path: &hl7::Path) -> anyhow::Result<()> {
        match (path.within(), self.message.position(path)) {
            (None, Some(position)) => self.remove(position),
            _ => Ok(self.message.delete(path).map(drop)?),
        }
    }
}

/// The Starlark value.
#[derive(ProvidesStaticType, Trace, Allocative, NoSerialize, StarlarkPagablePanic)]
pub(crate) struct Message {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    state: RefCell<State>,
    /// A router's message cannot be changed.
    read_only: bool,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    received_at: Timestamp,
}

impl Message {
    /// Wraps a message.
    pub(crate) fn new(message: hl7::Message, received_at: Timestamp, read_only: bool) -> Message {
        Message {
            state: RefCell::new(State {
                message,
                ids: Vec::new(),
                next: 0,
            }),
            read_only,
            received_at,
        }
    }

    /// The state, to read.
    pub(crate) fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    /// The state, to change.
    pub(crate) fn change(&self) -> anyhow::Result<RefMut<'_, State>> {
        if self.read_only {
            anyhow::bail!("a router only reads its message: change it in a handler");
        }
        Ok(self.state.borrow_mut())
    }

    /// When the message came in.
    pub(crate) fn received_at(&self) -> Timestamp {
        self.received_at
    }
}

impl fmt::Display for Message {
    /// Never the content: this text can end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Message>")
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message")
    }
}

impl<'v> AllocValue<'v> for Message {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

starlark::methods_static!(METHODS = methods);

#[starlark_value(type = "Message", StarlarkTypeRepr, UnpackValue)]
impl<'v> StarlarkValue<'v> for Message {
    fn get_methods() -> Option<&'static Methods> {
        Some(METHODS.methods())
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let path = path::of(index)?;
        let state = self.state.borrow();
        let text = state.message.get(&path);
        Ok(heap.alloc_str(text.as_deref().unwrap_or_default()).to_value())
    }

    fn set_at(&self, index: Value<'v>, value: Value<'v>) -> starlark::Result<()> {
        let path = path::of(index)?;
        let text = path::text_of(value)?;
        self.change()?
            .message
            .set(&path, &text)
            .map_err(starlark::Error::new_native)
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        let path = path::of(other)?;
        let state = self.state.borrow();
        Ok(match path.within() {
            Some(_) => state.message.get(&path).is_some_and(|text| !text.is_empty()),
            None => state.message.position(&path).is_some(),
        })
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        let Some(other) = other.downcast_ref::<Message>() else {
            return Ok(false);
        };
        let [left, right] = [self, other].map(|message| message.state.borrow().message.encode());
        Ok(matches!((left, right), (Ok(left), Ok(right)) if left == right))
    }
}

fn text(message: &hl7::Message, path: &'static str) -> anyhow::Result<String> {
    Ok(message
        .get(&path::parse(path)?)
        .map(|text| text.into_owned())
        .unwrap_or_default())
}

#[starlark_module]
fn methods(builder: &mut MethodsBuilder) {
    /// The value at a path, or the default when it is absent.
    fn get<'v>(
        this: &Message,
        #[starlark(require = pos)] path: Value<'v>,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        let path = path::of(path)?;
        let state = this.state();
        Ok(match state.message.get(&path) {
            Some(text) => heap.alloc_str(&text).to_value(),
            None => default.unwrap_or_else(Value::new_none),
        })
    }

    /// Writes a value; the same as an assignment.
    fn set<'v>(
        this: &Message,
        #[starlark(require = pos)] path: Value<'v>,
        #[starlark(require = pos)] value: Value<'v>,
    ) -> anyhow::Result<NoneType> {
        let path = path::of(path)?;
        let text = path::text_of(value)?;
        this.change()?.message.set(&path, &text)?;
        Ok(NoneType)
    }

    /// Empties a field or component, or removes a repetition or segment; the same as `del`.
    fn delete<'v>(this: &Message, #[starlark(require = pos)] path: Value<'v>) -> anyhow::Result<NoneType> {
        let path = path::of(path)?;
        this.change()?.delete(&path)?;
        Ok(NoneType)
    }

    /// The segments of a name, or all.
    fn segments<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: Option<&str>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        let message = this
            .downcast_ref::<Message>()
            .ok_or_else(|| anyhow::anyhow!("no message"))?;
        let mut state = message.state.borrow_mut();
        state.number_segments();
        let found: Vec<Segment<'v>> = state
            .message
            .segments()
            .filter(|segment| name.is_none_or(|name| segment.name.as_str() == name))
            .filter_map(|segment| Some(Segment::new(this, *state.ids.get(segment.index)?)))
            .collect();
        Ok(heap.alloc(AllocList(found)))
    }

    /// Adds a segment at the end, or after another one, and returns it.
    fn add_segment<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        after: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> anyhow::Result<Value<'v>> {
        let message = this
            .downcast_ref::<Message>()
            .ok_or_else(|| anyhow::anyhow!("no message"))?;
        let mut state = message.change()?;
        let position = match after.filter(|after| !after.is_none()) {
            None => None,
            Some(after) => Some(place_after(&state, this, after)?),
        };
        let id = state.add(text, position)?;
        Ok(heap.alloc(Segment::new(this, id)))
    }

    /// Removes a segment.
    fn remove_segment<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] segment: Value<'v>,
    ) -> anyhow::Result<NoneType> {
        let message = this
            .downcast_ref::<Message>()
            .ok_or_else(|| anyhow::anyhow!("no message"))?;
        let mut state = message.change()?;
        let position = place_after(&state, this, segment)?.saturating_sub(1);
        state.remove(position)?;
        Ok(NoneType)
    }

    /// How many segments of a name there are.
    fn count(this: &Message, #[starlark(require = pos)] name: &str) -> anyhow::Result<usize> {
        Ok(this.state().message.segment_count(Some(name)))
    }

    /// The repetitions of a field, as texts.
    fn repetitions<'v>(
        this: &Message,
        #[starlark(require = pos)] path: Value<'v>,
    ) -> anyhow::Result<Vec<String>> {
        let path = path::of(path)?;
        let state = this.state();
        let count = u16::try_from(state.message.repetitions(&path)).unwrap_or(u16::MAX);
        let one = |n| {
            state
                .message
                .get(&path.with_repetition(n))
                .map(|text| text.into_owned())
                .unwrap_or_default()
        };
        Ok((1..=count).map(one).collect())
    }

    /// The message code, such as `ADT`.
    #[starlark(attribute)]
    fn r#type(this: &Message) -> anyhow::Result<String> {
        text(&this.state().message, "MSH-9.1")
    }

    /// The trigger, such as `A01`.
    #[starlark(attribute)]
    fn trigger(this: &Message) -> anyhow::Result<String> {
        text(&this.state().message, "MSH-9.2")
    }

    /// MSH-10.
    #[starlark(attribute)]
    fn control_id(this: &Message) -> anyhow::Result<String> {
        text(&this.state().message, "MSH-10")
    }

    /// MSH-12, such as `2.5.1`.
    #[starlark(attribute)]
    fn version(this: &Message) -> anyhow::Result<String> {
        text(&this.state().message, "MSH-12.1")
    }

    /// When the message came in, in UTC: `2026-01-31T08:30:00.000000Z`.
    #[starlark(attribute)]
    fn received_at(this: &Message) -> anyhow::Result<String> {
        Ok(dates::iso(this.received_at()))
    }

    /// The whole message as text.
    #[starlark(attribute)]
    fn text(this: &Message) -> anyhow::Result<String> {
        let state = this.state();
        let bytes = state.message.encode()?;
        Ok(state.message.charset().decode(&bytes).into_owned())
    }

    /// The whole message as text, with its edits.
    fn encode(this: &Message) -> anyhow::Result<String> {
        let state = this.state();
        let bytes = state.message.encode()?;
        Ok(state.message.charset().decode(&bytes).into_owned())
    }

    /// A copy that can be changed on its own.
    fn copy<'v>(this: &Message, heap: Heap<'v>) -> anyhow::Result<Value<'v>> {
        Ok(heap.alloc(Message::new(
            this.state().message.clone(),
            this.received_at,
            false,
        )))
    }

    /// Text with this message's separators escaped.
    fn escape(this: &Message, #[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(hl7::escape::escape(text, &this.state().message.separators()).into_owned())
    }

    /// Text with this message's escape sequences resolved.
    fn unescape(this: &Message, #[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(hl7::escape::unescape(text, &this.state().message.separators()).into_owned())
    }
}

/// The position after a segment that is given as an object, or as a path such as `"PID"` or `"OBX(2)"`.
fn place_after(state: &State, this: Value<'_>, given: Value<'_>) -> anyhow::Result<usize> {
    if let Some(segment) = given.downcast_ref::<Segment<'_>>() {
        if !segment.belongs_to(this) {
            anyhow::bail!("that segment belongs to another message");
        }
        return Ok(state.position(segment.id())? + 1);
    }
    let path = path::of(given)?;
    let found = state.message.position(&path);
    found
        .map(|position| position + 1)
        .ok_or_else(|| anyhow::anyhow!("the message has no segment {path}"))
}
