//! Numbered schema steps, forward only: what every backend's migrator shares. What was applied is recorded
//! with its checksum; a step whose text was changed since, or a schema that this program is too old for, is
//! refused.
//!
//! A schema that is newer than this program is worked with all the same where its newer steps say so: each step is
//! recorded with the oldest program that works with what it leaves behind. Such a step only adds.

use sha2::{Digest, Sha256};

use crate::Error;

/// One step of a schema.
#[derive(Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
    /// Programs that know the schema at least so far work with it as it is after this step.
    pub(crate) works_from: i64,
}

/// A step that was applied.
pub(crate) struct Recorded {
    pub(crate) version: i64,
    pub(crate) checksum: String,
    /// As [`Migration::works_from`]; `None` in a store that did not record it.
    pub(crate) works_from: Option<i64>,
}

/// How far a store's schema is, and which programs work with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schema {
    /// The newest step that was applied; 0 = none.
    pub version: i64,
    /// Programs that know the schema at least so far work with it.
    pub works_from: i64,
    /// So far this program knows it.
    pub known: i64,
}

/// The newest step that a program with these knows.
pub(crate) fn newest(migrations: &[Migration]) -> i64 {
    migrations
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// The schema that these recorded steps make.
pub(crate) fn schema(migrations: &[Migration], recorded: &[Recorded]) -> Schema {
    let works_from = |step: &Recorded| step.works_from.unwrap_or(step.version);
    Schema {
        version: recorded.iter().map(|step| step.version).max().unwrap_or(0),
        works_from: recorded.iter().map(works_from).max().unwrap_or(0),
        known: newest(migrations),
    }
}

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        // Line ends are git's business, not the schema's.
        let digest = Sha256::digest(self.sql.replace("\r\n", "\n"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The steps that are left to apply, given what is recorded. `what` names the thing
/// with the schema, for a person.
pub(crate) fn pending<'m>(
    what: &str,
    migrations: &'m [Migration],
    recorded: &[Recorded],
) -> Result<Vec<&'m Migration>, Error> {
    let Schema {
        version,
        works_from,
        known,
    } = schema(migrations, recorded);
    if version > known && works_from > known {
        return Err(Error::Outdated(format!(
            "{what} was written by a newer version of this program (schema {version}, which takes a program that knows \
             {works_from}; this one knows {known}): start the newer version, or restore a backup made before the upgrade"
        )));
    }
    let mut left = Vec::new();
    for migration in migrations {
        match recorded.iter().find(|step| step.version == migration.version) {
            None => left.push(migration),
            Some(step) if step.checksum == migration.checksum() => {}
            Some(_) => {
                return Err(Error::Refused(format!(
                    "{what}: migration {} ({}) was applied from another text than this program carries: use the \
                     version that made it, or restore a backup",
                    migration.version, migration.name,
                )));
            }
        }
    }
    Ok(left)
}
