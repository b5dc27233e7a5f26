//! What an error of the server means, by its number: the values were refused, the database says no for now, or the
//! connection is gone and nobody knows.

use super::token;
use crate::Error;
use crate::server::Trouble;

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Driver {
    /// The server said so.
    #[error("{message} (error {number}, severity {class})")]
    Server { number: u32, class: u8, message: String },
    /// No answer, or one that cannot be understood. The connection is gone.
    #[error("{0}")]
    Lost(String),
    /// A value of an answer cannot be read.
    #[error("{0}")]
    Decode(Box<dyn std::error::Error + Send + Sync>),
    /// There was to be a row.
    #[error("the answer holds no row")]
    NoRow,
}

impl From<tiberius::error::Error> for Driver {
    fn from(error: tiberius::error::Error) -> Driver {
        match error {
            tiberius::error::Error::Server(said) => Driver::Server {
                number: told_apart(said.code(), said.message()),
                class: said.class(),
                message: said.message().to_owned(),
            },
            other => Driver::Lost(other.to_string()),
        }
    }
}

/// The number that a stand-in (Babelfish) gives whatever it has no number for.
const ANY_OF_STAND_IN: u32 = 33_557_097;

/// The number by which SQL Server would say it.
fn told_apart(number: u32, message: &str) -> u32 {
    if number != ANY_OF_STAND_IN {
        return number;
    }
    let numbers = [
        ("read-only transaction", 3906),
        ("during recovery", 3906),
        ("lock timeout", LOCK_TIMEOUT),
        ("deadlock detected", CONFLICTS[0]),
        ("does not exist", MISSING[1]),
        ("byte sequence", 9803),
        ("permission denied", 229),
        ("No space left", 1105),
        ("could not extend", 1105),
        ("terminating connection", 596),
    ];
    let found = numbers.into_iter().find(|(words, _)| message.contains(words));
    found.map_or(number, |(_, number)| number)
}

/// From this severity on the server ends the session itself.
const SEVERITY_ENDS: u8 = 20;
/// From this one on an error is not about the statement.
const SEVERITY_SERVER: u8 = 17;

impl Driver {
    /// The number of what the server said.
    pub(super) fn number(&self) -> Option<u32> {
        match self {
            Driver::Server { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// Whether the connection is in step after it.
    pub(super) fn leaves_whole(&self) -> bool {
        match self {
            Driver::Server { class, .. } => *class < SEVERITY_ENDS,
            Driver::Decode(_) | Driver::NoRow => true,
            Driver::Lost(_) => false,
        }
    }
}

/// The number of what the server said, of an error that says what was being done.
pub(super) fn number_of(error: &Error) -> Option<u32> {
    match error {
        Error::Database { source, .. } => source.downcast_ref::<Driver>()?.number(),
        _ => None,
    }
}

/// Somebody else held a lock for too long.
const LOCK_TIMEOUT: u32 = 1222;
/// The victim of a deadlock, or of a change under a snapshot: nothing was written.
const CONFLICTS: [u32; 4] = [1205, 3960, 3961, 41302];
/// A table or column that is not there.
const MISSING: [u32; 3] = [207, 208, 4701];

/// Classes of errors by number; what is not listed is told by its severity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Values,
    Duplicate,
    Conflict,
    Lock,
    Full,
    Memory,
    ReadOnly,
    Moving,
    Disk,
    Denied,
    Connections,
    Missing,
    Other,
    Ended,
}

fn class(number: u32, severity: u8) -> Class {
    match number {
        2601 | 2627 => Class::Duplicate,
        number if CONFLICTS.contains(&number) => Class::Conflict,
        LOCK_TIMEOUT => Class::Lock,
        1101 | 1105 | 1132 | 3257 | 5149 | 9002 | 40544 => Class::Full,
        701 | 802 | 1204 | 8645 | 8651 | 8657 | 8902 => Class::Memory,
        3906 | 3908 | 3909 | 978 | 1468 => Class::ReadOnly,
        // A failover, a restart, a move of the service.
        596
        | 904
        | 921
        | 922
        | 924
        | 926
        | 927
        | 941
        | 942
        | 945
        | 951
        | 952
        | 976
        | 979
        | 982
        | 983
        | 988
        | 4221
        | 6001
        | 6005
        | 6006
        | 10928
        | 10929
        | 10936
        | 17142
        | 17187
        | 18401
        | 35250
        | 40143
        | 40197
        | 40501
        | 40540
        | 40613
        | 42108
        | 42109
        | 49918..=49920 => Class::Moving,
        823..=825 | 829 | 832 | 3313 | 3314 | 3456 | 5105 | 5123 => Class::Disk,
        229 | 230 | 262 | 297 | 300 | 916 | 6102 | 15247 => Class::Denied,
        17809 | 18461 => Class::Connections,
        number if MISSING.contains(&number) => Class::Missing,
        // Too long, not a number, a check or a foreign value, text that is no JSON, a row that is too wide.
        220
        | 232
        | 241
        | 242
        | 245
        | 248
        | 295
        | 409
        | 511
        | 515
        | 517
        | 536
        | 537
        | 547
        | 1946
        | 2628
        | 7119
        | 8114
        | 8115
        | 8152
        | 8169
        | 9420
        | 9803
        | 13608..=13616 => Class::Values,
        _ if severity >= SEVERITY_ENDS => Class::Ended,
        _ => Class::Other,
    }
}

/// What an error of a write means.
pub(super) fn trouble(error: Driver) -> Trouble {
    let (number, severity, said) = match error {
        Driver::Server {
            number,
            class,
            message,
        } => (number, class, message),
        other => return Trouble::Lost(other.to_string()),
    };
    match class(number, severity) {
        // A number that is there already is a fault of numbering, not of a unit.
        Class::Duplicate => Trouble::Denied(format!("a number was given twice ({said}): please report this")),
        Class::Values => Trouble::Values(said),
        Class::Conflict => Trouble::Again(said),
        // Of what the server itself suffers nobody knows at which moment it struck.
        Class::Ended | Class::Moving => Trouble::Lost(said),
        Class::Other | Class::Disk if severity >= SEVERITY_SERVER => Trouble::Lost(said),
        class => Trouble::Denied(format!(
            "{}; writing goes on by itself ({said}, error {number})",
            advice(class)
        )),
    }
}

/// Why nothing can be written now, and what to do.
fn advice(class: Class) -> &'static str {
    match class {
        Class::Full => {
            "the database or its log is full: free some room there, let its files grow, or back its log up"
        }
        Class::Memory => "the database server is out of memory or locks: give it more",
        Class::ReadOnly => {
            "the database is read-only, or a secondary replica: point store.url at the primary or the listener"
        }
        Class::Moving => "the database is starting, stopping or failing over: wait for it",
        Class::Disk => "the database's disk fails: look at the server's log",
        Class::Lock => "another session holds a lock that the store needs: end that session",
        Class::Denied => {
            "the database user lacks a privilege: give it those of the role in deploy/sqlserver, or make it the owner of \
             the schema holdfast"
        }
        Class::Connections => "the database server takes no more connections: close some",
        Class::Missing => "a table of the store is missing: restore the database from a backup",
        Class::Values | Class::Duplicate | Class::Conflict | Class::Other | Class::Ended => {
            "the database refuses to write: look at the server's log"
        }
    }
}

/// Whether the server does not let this user in.
pub(super) fn refuses_log_in(error: &Driver) -> bool {
    let refusals = [
        18452, 18456, 18463, 18464, 18465, 18466, 18467, 18468, 18470, 18486, 18487, 18488,
    ];
    error.number().is_some_and(|number| refusals.contains(&number))
}

/// Whether it takes a person to change what the server said to a log-in.
pub(super) fn is_lasting(error: &Driver) -> bool {
    matches!(connecting("", error, false), Error::Refused(_))
}

/// Why there is nothing to log in with.
pub(super) fn without_token(place: &str, trouble: &token::Trouble) -> Error {
    let text = format!(
        "there is no token to log in with to the database at {place}: store.log_in_command: {}",
        trouble.text
    );
    if trouble.lasting {
        Error::Refused(text)
    } else {
        Error::Away(text)
    }
}

/// Why a connection could not be made, what to do, and whether it may succeed later without it. Another token may be let in
/// where one was not.
pub(super) fn connecting(place: &str, error: &Driver, by_token: bool) -> Error {
    let (text, lasting) = match (error.number(), error) {
        _ if refuses_log_in(error) && by_token => (
            "refuses the token that store.log_in_command printed: the next one is tried; check that the token is for this \
             server and that its user or service principal is a user of the database",
            false,
        ),
        _ if refuses_log_in(error) => (
            "refuses the log-in: check user and password (HOLDFAST_STORE__PASSWORD or store.password_file), that the server \
             takes that kind of log-in, and after a failover that this replica knows the log-in by the same SID",
            true,
        ),
        // A database that does not exist, is not open yet, or is none of this user's: the server tells no difference.
        (Some(4060 | 911), _) => (
            "does not open this database for this user: wait for it after a failover or a restart; otherwise create the \
             database and the user in it",
            false,
        ),
        (Some(916), _) => (
            "does not let this user into the database: create the user in it",
            true,
        ),
        // So many, says its text, may be there at a time in a database of this size.
        (Some(10_928 | 10_929), _) => (
            "has as many sessions or requests as its size allows: wait, close some, or give the database a larger size",
            false,
        ),
        (Some(number), Driver::Server { class: severity, .. }) => match class(number, *severity) {
            Class::Connections => ("takes no more connections: close some", false),
            Class::ReadOnly | Class::Moving => (
                "is not the primary now, or is starting, stopping or failing over: wait for it",
                false,
            ),
            _ => ("refuses the connection: look at the server's log", false),
        },
        (_, Driver::Lost(said)) => match tls(said) {
            Some(text) => (text, true),
            None => ("does not answer: start it, or correct store.url", false),
        },
        _ => ("answers with something that is not understood", false),
    };
    let text = format!("the database at {place} {text} ({error})");
    if lasting {
        Error::Refused(text)
    } else {
        Error::Away(text)
    }
}

/// What is wrong with TLS, if that is what failed. The driver tells it as text only.
fn tls(said: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["UnknownIssuer", "BadSignature", "unknown issuer"]) {
        return Some(
            "shows a certificate of an authority that is not trusted here: give the right one with cacert= in store.url",
        );
    }
    if has(&["NotValidForName", "not valid for name"]) {
        return Some(
            "shows a certificate for other host names: write one of those into store.url, give it with certificatehost=, \
             or have this one certified",
        );
    }
    if has(&["Expired", "expired"]) {
        return Some("shows a certificate that has expired: renew it");
    }
    if has(&["NotValidYet", "not valid yet"]) {
        return Some("shows a certificate that is not valid yet: check the clocks of both machines");
    }
    if has(&["does not allow the requested encryption level"]) {
        return Some(
            "does not offer TLS: give it a certificate for this host name, or see encrypt= in store.url",
        );
    }
    has(&["invalid peer certificate", "TLS", "certificate"])
        .then_some("and this node do not agree on TLS: look at the server's log")
}

/// Whether a read may be tried again on another connection: this one is gone, the server moved, or a segment was
/// dropped between looking at the list and looking into it.
pub(super) fn is_worth_another_try(error: &Error) -> bool {
    let Error::Database { source, .. } = error else {
        return false;
    };
    match source.downcast_ref::<Driver>() {
        Some(Driver::Lost(_)) => true,
        Some(Driver::Server {
            number,
            class: severity,
            ..
        }) => matches!(
            class(*number, *severity),
            Class::Ended | Class::Moving | Class::ReadOnly | Class::Missing | Class::Conflict
        ),
        _ => false,
    }
}

/// Whether somebody else held a lock for too long.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    number_of(error) == Some(LOCK_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(number: u32, class: u8) -> Driver {
        Driver::Server {
            number,
            class,
            message: "its words".to_owned(),
        }
    }

    #[test]
    fn every_refusal_says_what_to_do_and_what_the_server_said() {
        for (number, severity) in [
            (1105, 17),
            (9002, 17),
            (701, 17),
            (3906, 16),
            (1222, 16),
            (229, 14),
            (208, 16),
            (50000, 16),
        ] {
            let Trouble::Denied(text) = trouble(said(number, severity)) else {
                panic!("{number}");
            };
            assert!(
                text.contains("goes on by itself")
                    && text.contains("its words")
                    && text.contains(&number.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_fall_into_their_classes() {
        assert!(matches!(trouble(said(1205, 13)), Trouble::Again(_)));
        assert!(matches!(trouble(said(2628, 16)), Trouble::Values(_)));
        assert!(matches!(trouble(said(2627, 14)), Trouble::Denied(text) if text.contains("twice")));
        assert!(matches!(
            connecting("x", &said(18456, 14), false),
            Error::Refused(_)
        ));
        assert!(
            matches!(connecting("x", &said(18456, 14), true), Error::Away(text) if text.contains("token"))
        );
        assert!(matches!(connecting("x", &said(40613, 17), false), Error::Away(_)));
    }

    #[test]
    fn what_nobody_can_know_leaves_the_outcome_open() {
        for error in [said(596, 21), said(824, 24), said(49999, 20), said(41142, 17)] {
            assert!(matches!(trouble(error), Trouble::Lost(_)));
        }
        assert!(matches!(
            trouble(Driver::Lost("reset".to_owned())),
            Trouble::Lost(_)
        ));
        assert!(!Driver::Lost(String::new()).leaves_whole() && !said(1, 20).leaves_whole());
    }
}
