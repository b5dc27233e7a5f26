//! What a server says of itself, for measurements.

/// A server's figures at one moment. Two readings' difference is what came between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFigures {
    /// Transactions of this database that committed. Of PostgreSQL a session reports its own late: by a second while it
    /// works, by ten when it has nothing to do. `None` where the server does not tell, or not this user.
    pub transactions: Option<u64>,
    /// Bytes of log: PostgreSQL's write-ahead log of the whole server, SQL Server's of this database.
    pub log_bytes: Option<u64>,
    /// The server's release.
    pub version: String,
    /// The server's first process, where it runs on this machine and its processes can be seen.
    pub process: Option<u32>,
}

/// The parent of a session's process, if that is a PostgreSQL server's process of this machine.
pub(crate) fn parent_of_session(session: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{session}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    if !head.ends_with("(postgres") {
        return None;
    }
    rest.split(' ').nth(1)?.parse().ok()
}

/// A process of this machine, if it goes by that name.
pub(crate) fn named(process: i32, name: &str) -> Option<u32> {
    let found = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    (found.trim_end() == name).then(|| u32::try_from(process).ok())?
}
