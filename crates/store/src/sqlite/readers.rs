//! Read-only connections, kept for the next reader. The least used is closed when there are too many.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::database;
use super::layout::Layout;
use crate::Error;

/// Connections that lie idle; each costs some file handles and up to 1 MiB of page cache.
const IDLE_MAX: usize = 24;
/// Stands for the control file, which no segment's number is.
pub(super) const CONTROL: u32 = 0;

#[derive(Clone)]
pub(super) struct Readers {
    layout: Layout,
    pool: Arc<Mutex<Pool>>,
}

#[derive(Default)]
struct Pool {
    /// The one used last stands at the end.
    idle: Vec<(u32, Connection)>,
    /// How often connections to a file were forgotten: those lent before do not come back.
    forgotten: HashMap<u32, u64>,
}

impl Pool {
    fn age(&self, number: u32) -> u64 {
        self.forgotten.get(&number).copied().unwrap_or(0)
    }
}

impl Readers {
    pub(super) fn new(layout: Layout) -> Readers {
        Readers {
            layout,
            pool: Arc::default(),
        }
    }

    /// A connection to a segment, or to the control file; goes back when dropped.
    pub(super) fn take(&self, number: u32) -> Result<Reader, Error> {
        let (kept, age) = {
            let mut pool = self.pool.lock();
            let place = pool.idle.iter().rposition(|(of, _)| *of == number);
            (place.map(|index| pool.idle.remove(index).1), pool.age(number))
        };
        let connection = match kept {
            Some(connection) => connection,
            None if number == CONTROL => database::open_for_reading(&self.layout.control())?,
            None => database::open_for_reading(&self.layout.segment(number))?,
        };
        Ok(Reader {
            number,
            age,
            connection: Some(connection),
            pool: self.clone(),
        })
    }

    /// Closes connections to one file: idle ones at once, lent ones when they come back.
    pub(super) fn forget(&self, number: u32) {
        let mut pool = self.pool.lock();
        *pool.forgotten.entry(number).or_default() += 1;
        pool.idle.retain(|(of, _)| *of != number);
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        self.pool.lock().idle.clear();
    }

    fn put_back(&self, number: u32, age: u64, connection: Connection) {
        let mut pool = self.pool.lock();
        if pool.age(number) != age {
            return;
        }
        pool.idle.push((number, connection));
        let excess = pool.idle.len().saturating_sub(IDLE_MAX);
        pool.idle.drain(..excess);
    }
}

/// A lent connection.
pub(super) struct Reader {
    number: u32,
    age: u64,
    connection: Option<Connection>,
    pool: Readers,
}

impl Deref for Reader {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken out in drop only")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(self.number, self.age, connection);
        }
    }
}
