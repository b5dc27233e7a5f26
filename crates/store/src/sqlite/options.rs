//! What an embedder may choose.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};

/// Where the store lies and when it begins a new segment.
#[derive(Clone)]
pub struct Options {
    /// The directory that holds everything; made when it is missing. One process at a time.
    pub directory: PathBuf,
    /// A segment is sealed once its file has grown past this many bytes.
    pub segment_bytes_max: u64,
    /// A segment is sealed once it holds this many rows (of all kinds).
    pub segment_rows_max: u64,
    /// A segment is sealed by the first write after it has been open for this long.
    pub segment_age_max: Duration,
    /// Whether bodies are compressed before they are written. What was written is read either way.
    pub compress: bool,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Segments of 256 MiB, two million rows or one day, whichever comes first; bodies as they are.
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            segment_bytes_max: 256 << 20,
            segment_rows_max: 2_000_000,
            segment_age_max: Duration::from_secs(24 * 60 * 60),
            compress: false,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("directory", &self.directory)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("segment_rows_max", &self.segment_rows_max)
            .field("segment_age_max", &self.segment_age_max)
            .field("compress", &self.compress)
            .finish_non_exhaustive()
    }
}
