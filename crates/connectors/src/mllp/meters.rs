//! The figures of one listener, looked up once.

use metrics::{Counter, Gauge, counter, gauge};

/// Counters of one listener.
#[derive(Clone)]
pub(crate) struct Meters {
    /// Complete frames.
    pub(crate) frames: Counter,
    /// Their bytes.
    pub(crate) bytes: Counter,
    /// Bytes between frames, dropped.
    pub(crate) junk: Counter,
    /// Frames without trailer.
    pub(crate) unterminated: Counter,
    /// Frames over the limit.
    pub(crate) oversized: Counter,
    /// Frames that the socket's end cut off: not stored, not answered.
    pub(crate) cut_off: Counter,
    /// Frames that could not be stored: not answered.
    pub(crate) refused: Counter,
    /// Sockets closed at once: too many.
    pub(crate) over_cap: Counter,
    /// Sockets closed at once: address not allowed.
    pub(crate) not_allowed: Counter,
    /// Sockets closed by a time-out.
    pub(crate) timeouts: Counter,
    /// Sockets open now.
    pub(crate) open: Gauge,
}

impl Meters {
    pub(crate) fn of(connection: &str) -> Meters {
        let name = || connection.to_owned();
        let bad = |reason: &'static str| counter!("holdfast_frames_bad_total", "name" => name(), "reason" => reason);
        let closed = |reason: &'static str| counter!("holdfast_sockets_refused_total", "name" => name(), "reason" => reason);
        Meters {
            frames: counter!("holdfast_frames_total", "name" => name()),
            bytes: counter!("holdfast_frame_bytes_total", "name" => name()),
            junk: counter!("holdfast_junk_bytes_total", "name" => name()),
            unterminated: bad("unterminated"),
            oversized: bad("oversized"),
            cut_off: bad("cut_off"),
            refused: bad("not_stored"),
            over_cap: closed("too_many"),
            not_allowed: closed("not_allowed"),
            timeouts: counter!("holdfast_socket_timeouts_total", "name" => name()),
            open: gauge!("holdfast_sockets_open", "name" => name()),
        }
    }
}
