//! Numbered schema steps, forward only: what every backend's migrator shares. What was applied is recorded
//! with its checksum; a step whose text was changed since, or a schema that is newer than this program, is
//! refused.

use sha2::{Digest, Sha256};

use crate::Error;

/// One step of a schema.
#[derive(Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        // Line ends are git's business, not the schema's.
        let digest = Sha256::digest(self.sql.replace("\r\n", "\n"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The steps that are left to apply, given what is recorded as (version, checksum). `what` names the thing
/// with the schema, for a person.
pub(crate) fn pending<'m>(
    what: &str,
    migrations: &'m [Migration],
    recorded: &[(i64, String)],
) -> Result<Vec<&'m Migration>, Error> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let newest = recorded.iter().map(|(version, _)| *version).max();
    if let Some(newest) = newest.filter(|newest| *newest > known) {
        return Err(Error::Refused(format!(
            "{what} was written by a newer version of this program (schema {newest}, this one knows {known}): start \
             the newer version, or restore a backup made before the upgrade"
        )));
    }
    let mut left = Vec::new();
    for migration in migrations {
        match recorded.iter().find(|(version, _)| *version == migration.version) {
            None => left.push(migration),
            Some((_, checksum)) if *checksum == migration.checksum() => {}
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
