//! What a driver's error means: refuse the file, refuse the unit, or try again later.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::Error;

/// Wraps a driver's error in what this layer was doing.
pub(super) fn database(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Database {
        doing,
        source: Box::new(source),
    }
}

/// The same for an error of the file system.
pub(super) fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Database {
        doing,
        source: Box::new(source),
    }
}

/// An error met while opening `file`: a refusal that says what to do.
pub(super) fn opening(file: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
    move |error| {
        let file = file.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::Refused(format!(
                "{file} is damaged ({error}): nothing was changed; restore the whole data directory from a backup, or \
                 move it aside and start with an empty one"
            )),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Error::Refused(format!(
                    "{file} cannot be opened ({error}): make it readable and writable for this user"
                ))
            }
            Some(ErrorCode::DiskFull) => Error::Refused(format!(
                "{file} cannot be opened: the disk is full; free some room and start again"
            )),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy(format!(
                "{file} is locked by another program: close it and start again"
            )),
            _ => Error::Database {
                doing: "opening a store file",
                source: Box::new(error),
            },
        }
    }
}

/// Whether the error speaks of the values that were to be written, not of the database's state.
pub(super) fn blames_the_values(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::InvalidParameterName(_) => true,
        _ => matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::TooBig
                    | ErrorCode::ParameterOutOfRange
            )
        ),
    }
}

/// What to tell whoever wanted to write.
pub(super) fn cannot_write(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: free some room, writing goes on by itself".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds a lock on the segment file: close it, writing goes on by itself".to_owned()
        }
        _ => error.to_string(),
    }
}
