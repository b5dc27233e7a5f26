//! Read-only connections, kept for the next reader. The least used is closed when there are too many.

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
    /// The one used last stands at the end.
    idle: Arc<Mutex<Vec<(u32, Connection)>>>,
}

impl Readers {
    pub(super) fn new(layout: Layout) -> Readers {
        Readers {
            layout,
            idle: Arc::default(),
        }
    }

    /// A connection to a segment, or to the control file; goes back when dropped.
    pub(super) fn take(&self, number: u32) -> Result<Reader, Error> {
        let kept = {
            let mut idle = self.idle.lock();
            idle.iter()
                .rposition(|(of, _)| *of == number)
                .map(|index| idle.remove(index).1)
        };
        let connection = match kept {
            Some(connection) => connection,
            None if number == CONTROL => database::open_for_reading(&self.layout.control())?,
            None => database::open_for_reading(&self.layout.segment(number))?,
        };
        Ok(Reader {
            number,
            connection: Some(connection),
            pool: self.clone(),
        })
    }

    /// Closes idle connections to one file.
    pub(super) fn forget(&self, number: u32) {
        self.idle.lock().retain(|(of, _)| *of != number);
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        self.idle.lock().clear();
    }

    fn put_back(&self, number: u32, connection: Connection) {
        let mut idle = self.idle.lock();
        idle.push((number, connection));
        let excess = idle.len().saturating_sub(IDLE_MAX);
        idle.drain(..excess);
    }
}

/// A lent connection.
pub(super) struct Reader {
    number: u32,
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
            self.pool.put_back(self.number, connection);
        }
    }
}
