//! Dropping: whole segments go, oldest first, by unlinking their files. No row is ever deleted.

use model::{Term, Timestamp};

use super::control::Control;
use super::fault::io;
use super::store::Shared;
use crate::segments::retention::Verdict;
use crate::{DropReport, Error};

/// Removes sealed segments, oldest first, as long as everything in the next one is closed and was
/// received before `received_before`. Refused when `term` does not lead.
pub(super) fn drop_segments(
    shared: &Shared,
    control: &Control,
    term: Term,
    received_before: Timestamp,
    now: Timestamp,
) -> Result<DropReport, Error> {
    if control.term()? != Some(term) {
        return Err(Error::Refused(
            "this node no longer leads: ask the node that does".to_owned(),
        ));
    }
    let mut report = DropReport::default();
    loop {
        let (oldest, messages) = match shared.view().may_drop_oldest(received_before)? {
            Verdict::Drop(oldest, messages) => (oldest, messages),
            Verdict::Keep(why) => {
                report.stopped_by = why;
                return Ok(report);
            }
        };
        let before = shared.layout.size_bytes().map_err(io("measuring the store"))?;
        // The list first: a start after a crash in between removes the file.
        control.note_dropped(oldest.number, now)?;
        shared.change_catalog(|catalog| catalog.segments.retain(|segment| segment.number != oldest.number));
        shared.readers.forget(oldest.number);
        shared
            .layout
            .remove_segment(oldest.number)
            .map_err(io("removing a dropped segment"))?;
        let after = shared.layout.size_bytes().map_err(io("measuring the store"))?;
        report.segments += 1;
        report.messages += messages;
        report.bytes += before.saturating_sub(after);
    }
}

/// Removes files of segments that the list says are dropped: a crash came between the two.
pub(super) fn finish_drops(shared: &Shared, control: &Control) -> Result<(), Error> {
    let listed = shared.catalog();
    let newest = control.newest_number()?;
    for number in shared.layout.segments_on_disk()? {
        let live = listed.segments.iter().any(|segment| segment.number == number);
        if !live && number <= newest {
            shared
                .layout
                .remove_segment(number)
                .map_err(io("removing a dropped segment"))?;
        }
    }
    Ok(())
}
