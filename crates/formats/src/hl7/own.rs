//! A segment with bytes of its own: where a value goes, and what must be created before it.

use std::ops::Range;

use super::fault::{Fault, FaultKind};
use super::path::{FieldPath, Name};
use super::separators::Separators;
use super::view::{Found, View, find};

/// How many empty fields, repetitions or components one `set` may create on the way.
const GAP_MAX: usize = 1000;

/// A segment with bytes of its own (in the inner character set, without line break).
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) name: Name,
    pub(crate) text: Vec<u8>,
    pub(crate) seps: Vec<u32>,
    /// The segment of the index that it replaces; its line break stays.
    pub(crate) origin: Option<u32>,
}

impl Own {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            name: self.name,
            buf: &self.text,
            start: 0,
            end: self.text.len(),
            seps: &self.seps,
        }
    }

    /// Writes a value, with what must exist before it.
    pub(super) fn put(
        &mut self,
        path: &FieldPath,
        separators: &Separators,
        value: &[u8],
    ) -> Result<(), Fault> {
        let number = usize::from(path.field());
        let missing = number.saturating_sub(self.view().fields());
        gap(missing, "fields")?;
        let (at, pads) = if missing == 0 {
            locate(&self.text, self.field_range(number), path, separators)?
        } else {
            let mut pads = Pads::for_new(path, separators)?;
            pads.field = missing;
            (self.text.len()..self.text.len(), pads)
        };
        let patch = pads.before(value, separators);
        let new_separators = at.start as u32..(at.start + pads.field) as u32;
        self.splice(at, &patch, number);
        self.seps.extend(new_separators);
        Ok(())
    }

    /// Empties a place that exists; a repetition goes with its separator.
    pub(super) fn clear(&mut self, path: &FieldPath, separators: &Separators) -> Result<(), Fault> {
        let number = usize::from(path.field());
        let field = self.field_range(number);
        let (mut at, _) = locate(&self.text, field.clone(), path, separators)?;
        if path.repetition().is_some() && path.component().is_none() {
            if at.end < field.end {
                at.end += 1;
            } else if at.start > field.start {
                at.start -= 1;
            }
        }
        self.splice(at, b"", number);
        Ok(())
    }

    fn field_range(&self, number: usize) -> Range<usize> {
        self.view()
            .field(number)
            .unwrap_or(self.text.len()..self.text.len())
    }

    /// Replaces bytes inside field `number` and moves the separators behind them.
    fn splice(&mut self, at: Range<usize>, patch: &[u8], number: usize) {
        let (added, taken) = (patch.len(), at.len());
        let behind = number - usize::from(self.name.is_header());
        for sep in self.seps.iter_mut().skip(behind) {
            *sep = (*sep as usize + added - taken) as u32;
        }
        self.text.splice(at, patch.iter().copied());
    }
}

/// Separators to write before a value, because what they separate does not exist yet.
#[derive(Default)]
struct Pads {
    field: usize,
    repetition: usize,
    component: usize,
    subcomponent: usize,
}

impl Pads {
    /// All that a path needs inside a field, repetition or component that is empty or new.
    fn for_new(path: &FieldPath, separators: &Separators) -> Result<Pads, Fault> {
        let one_less = |n: Option<u16>| usize::from(n.unwrap_or(1)) - 1;
        let pads = Pads {
            field: 0,
            repetition: one_less(path.repetition()),
            component: one_less(path.component()),
            subcomponent: one_less(path.subcomponent()),
        };
        pads.check(separators)?;
        Ok(pads)
    }

    fn check(&self, separators: &Separators) -> Result<(), Fault> {
        gap(self.repetition, "repetitions")?;
        gap(self.component, "components")?;
        gap(self.subcomponent, "subcomponents")?;
        needs(self.repetition, separators.repetition(), "repetition separator")?;
        needs(
            self.subcomponent,
            separators.subcomponent(),
            "subcomponent separator",
        )
    }

    fn before(&self, value: &[u8], s: &Separators) -> Vec<u8> {
        let levels = [
            (self.field, Some(s.field())),
            (self.repetition, s.repetition()),
            (self.component, Some(s.component())),
            (self.subcomponent, s.subcomponent()),
        ];
        let mut patch = Vec::with_capacity(value.len() + 8);
        for (n, separator) in levels {
            patch.extend(std::iter::repeat_n(separator.unwrap_or_default(), n));
        }
        patch.extend_from_slice(value);
        patch
    }
}

/// Where a path's bytes are inside a field, and what must be written before them.
fn locate(
    text: &[u8],
    field: Range<usize>,
    path: &FieldPath,
    s: &Separators,
) -> Result<(Range<usize>, Pads), Fault> {
    let repetition = path.repetition().or(path.component().map(|_| 1));
    let steps = [
        (repetition, s.repetition()),
        (path.component(), Some(s.component())),
        (path.subcomponent(), s.subcomponent()),
    ];
    let mut at = field;
    let mut missing = [0usize; 3];
    for (i, (wanted, separator)) in steps.into_iter().enumerate() {
        let Some(n) = wanted else { continue };
        if missing[..i].iter().any(|&m| m > 0) {
            missing[i] = usize::from(n) - 1;
            continue;
        }
        match find(&text[at.clone()], separator, n) {
            Found::Piece(piece) => at = at.start + piece.start..at.start + piece.end,
            Found::Missing(there) => {
                missing[i] = usize::from(n) - there;
                at = at.end..at.end;
            }
        }
    }
    let pads = Pads {
        field: 0,
        repetition: missing[0],
        component: missing[1],
        subcomponent: missing[2],
    };
    pads.check(s)?;
    Ok((at, pads))
}

/// Offsets of all field separators.
pub(super) fn separators_in(text: &[u8], separator: u8) -> Vec<u32> {
    memchr::memchr_iter(separator, text).map(|i| i as u32).collect()
}

fn gap(n: usize, what: &str) -> Result<(), Fault> {
    if n <= GAP_MAX {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Limit,
        format!("setting this would create {n} empty {what}; at most {GAP_MAX} are created at once"),
    ))
}

fn needs(n: usize, separator: Option<u8>, what: &str) -> Result<(), Fault> {
    if n == 0 || separator.is_some() {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::NoSeparator,
        format!("MSH-2 of this message names no {what}, so this place cannot be made"),
    ))
}
