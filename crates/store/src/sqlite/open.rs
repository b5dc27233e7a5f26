//! Opening a store: the lock, the control file, every segment's identity, the two threads.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use model::Timestamp;
use uuid::Uuid;

use super::control::Control;
use super::database;
use super::fault::io;
use super::keeper::{Keeper, Task};
use super::layout::Layout;
use super::options::Options;
use super::retention;
use super::segment;
use super::store::{Shared, SqliteStore};
use super::writer::Writer;
use crate::Error;
use crate::desk::{Desk, Gathering};
use crate::segments::catalog::{Catalog, Segment};

/// After an unclean end the open segment is read back, unless that would delay the start too long.
const QUICK_CHECK_BYTES_MAX: u64 = 64 << 20;

/// Opens the store in `options.directory`, making it when the directory is empty.
///
/// Blocks: call it before serving, or on a blocking thread. [`Error::Busy`] when another process (or
/// another handle of this one) holds the directory; [`Error::Refused`], with what to do, when it cannot
/// be written or what lies there is damaged, foreign or newer than this program.
pub fn open(options: Options) -> Result<SqliteStore, Error> {
    let layout = Layout::prepare(&options.directory)?;
    let lock = layout.lock()?;
    let now = options.clock.now();
    let control = Control::open(&layout, now)?;
    let store = control.store_id()?;
    let was_clean = control.was_clean()?;
    let segments = control.segments()?;
    let shared = Arc::new(Shared::new(options, layout, Catalog { segments }));
    retention::finish_drops(&shared, &control)?;
    discard_unfinished(&shared, &control)?;
    if shared.catalog().segments.is_empty() {
        make_first(&shared, &control, store, now)?;
    } else if !was_clean {
        look_for_log(&shared)?;
    }
    let connection = open_all(&shared, store, was_clean, now)?;
    let rows = count_rows(&shared, &connection)?;
    // From here on the newest rows may stand in the log alone. Into the file itself with this: a copy of the
    // data directory without logs must not look like a store that was closed.
    control.mark_clean(false)?;
    control.checkpoint()?;

    let (keeper, tasks) = mpsc::channel();
    let keeping = Keeper {
        shared: Arc::clone(&shared),
        control: Control::open(&shared.layout, now)?,
        open: None,
    };
    let keeper_thread = spawn("store-keeper", move || keeping.run(&tasks))?;
    let catalog = shared.catalog();
    let (open, full) = catalog
        .segments
        .split_last()
        .ok_or_else(|| Error::Refused("no segment".to_owned()))?;
    for segment in full.iter().filter(|segment| !segment.sealed) {
        let _ = keeper.send(Task::Seal(segment.number, None));
    }
    let writer = Writer {
        shared: Arc::clone(&shared),
        store,
        control,
        connection,
        segment: open.clone(),
        rows,
        numbering: None,
        keeper,
        keeper_thread: Some(keeper_thread),
        written_since_checkpoint: 0,
        written_since_measured: 0,
        rotate_not_before: i64::MIN,
        outage: crate::outage::Outage::default(),
        lock,
    };
    let (commands, queue) = mpsc::channel();
    let gathering = Gathering::default();
    let riding = gathering.riding();
    let writer_thread = spawn("store-writer", move || writer.run(&queue, gathering))?;
    let closed = Arc::clone(&shared.closed);
    let compress = shared.options.compress;
    Ok(SqliteStore::new(
        shared,
        Desk::new(commands, writer_thread, closed, riding, compress),
    ))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(io("starting a thread of the store"))
}

/// A file that the list does not know is the rest of an interrupted rotation if it is empty, and
/// somebody's messages if it is not.
fn discard_unfinished(shared: &Shared, control: &Control) -> Result<(), Error> {
    let newest = control.newest_number()?;
    for number in shared
        .layout
        .segments_on_disk()?
        .into_iter()
        .filter(|number| *number > newest)
    {
        let file = shared.layout.segment(number);
        if !segment::is_empty(&file)? {
            return Err(Error::Refused(format!(
                "{} holds messages but the control file does not know it: restore the whole data directory from one \
                 backup, or move that file aside",
                file.display()
            )));
        }
        shared
            .layout
            .remove_segment(number)
            .map_err(io("removing an unfinished segment"))?;
    }
    Ok(())
}

/// After an unclean end, what was committed last stands in the open segment's log alone.
fn look_for_log(shared: &Shared) -> Result<(), Error> {
    let Some(open) = shared.catalog().segments.last().map(|segment| segment.number) else {
        return Ok(());
    };
    let log = shared.layout.log_of(open);
    if log.exists() {
        return Ok(());
    }
    let log = log.display();
    Err(Error::Refused(format!(
        "{log} is missing, but the store was not closed in order: messages that were acknowledged last stand in that \
         file alone. Put it back (a copy of a running store needs the `-wal` files too), or restore the whole data \
         directory from one backup. If it is lost for good, make an empty file of that name: the node then starts \
         without those messages"
    )))
}

/// Rows of the open segment: reads every page that counts, so damage shows here.
fn count_rows(shared: &Shared, connection: &rusqlite::Connection) -> Result<u64, Error> {
    let newest = shared
        .catalog()
        .segments
        .last()
        .map_or(0, |segment| segment.number);
    let file = shared.layout.segment(newest);
    segment::count_rows(connection).map_err(super::fault::opening(&file))
}

fn make_first(shared: &Shared, control: &Control, store: Uuid, now: Timestamp) -> Result<(), Error> {
    let number = control.newest_number()? + 1;
    let segment = Segment {
        number,
        first: 1,
        opened_at: now.0,
        sealed: false,
        drained: false,
        oldest_reference: None,
        bare: false,
    };
    segment::create(
        &shared.layout.segment(number),
        store,
        &segment,
        control.term()?,
        now,
    )?;
    control.add_segment(&segment)?;
    shared.change_catalog(|catalog| catalog.segments.push(segment));
    Ok(())
}

/// Opens every live segment once, which proves that it is there and ours; answers the newest one's
/// connection.
fn open_all(
    shared: &Shared,
    store: Uuid,
    was_clean: bool,
    now: Timestamp,
) -> Result<rusqlite::Connection, Error> {
    let catalog = shared.catalog();
    let Some((segment, full)) = catalog.segments.split_last() else {
        return Err(Error::Refused("the store has no segment to write to".to_owned()));
    };
    for full in full {
        let file = shared.layout.segment(full.number);
        if full.sealed {
            segment::verify(&file, store, full, now)?;
        } else {
            // Sealing was interrupted: what a journal holds is put right before anybody reads.
            segment::open(&file, store, full, now)?;
        }
    }
    let file = shared.layout.segment(segment.number);
    let connection = segment::open(&file, store, segment, now)?;
    let small = file
        .metadata()
        .is_ok_and(|metadata| metadata.len() <= QUICK_CHECK_BYTES_MAX);
    if !was_clean && small {
        database::quick_check(&connection, &file)?;
    }
    Ok(connection)
}
