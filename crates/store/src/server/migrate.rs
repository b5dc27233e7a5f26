//! Migrations of the schema `holdfast`, in one transaction, under a lock that lets one process at a time make or change
//! tables of the store.

use model::Timestamp;

use super::link::DriverOf;
use super::segment::Segments;
use super::value::{Row, database};
use crate::Error;
use crate::migration::{self, Migration, Recorded, Schema, pending};

/// Microseconds since a node was heard of that still count as running.
pub(crate) const RUNNING: i64 = 60 * 1_000_000;

pub(crate) trait Migrations: Segments {
    const MIGRATIONS: &'static [Migration];
    /// Version, checksum and `works_from` of each step that was applied.
    const RECORDED: &'static str;

    /// Whether there is a table of that name in the schema.
    fn has_table(&mut self, name: &str) -> Result<bool, DriverOf<Self>>;
    /// Makes the schema and the table of what was migrated, where they are not there.
    fn make_ledger(&mut self) -> Result<(), DriverOf<Self>>;
    /// Takes steps and records them.
    fn apply(&mut self, steps: &[&Migration], now: Timestamp) -> Result<(), DriverOf<Self>>;
    /// Other nodes than `node`, heard of within [`RUNNING`], that know less of the schema than `schema`, for a person.
    fn running_before(&mut self, schema: i64, node: &str) -> Result<Option<String>, DriverOf<Self>>;
    /// A refusal that says what to do, where something can be done.
    fn preparing(place: &str, error: DriverOf<Self>) -> Error;

    /// Makes or completes the schema. Refused where that would shut out a node that runs: other than `node`, heard of
    /// lately, and too old for what a step leaves behind.
    fn migrate(&mut self, place: &str, node: &str, now: Timestamp) -> Result<(), Error> {
        if left(self, place)?.is_empty() {
            return Ok(());
        }
        self.transaction(|link| {
            link.lock_tables()?;
            // Whoever held the lock before may have done it all.
            let left = left(link, place)?;
            if left.is_empty() {
                return Ok(());
            }
            shuts_out_nobody(link, node, &left)?;
            let made = link.make_ledger().and_then(|()| link.apply(&left, now));
            made.map_err(|error| Self::preparing(place, error))
        })
    }

    /// Whether this program works with the schema as it is now.
    fn check_schema(&mut self, place: &str) -> Result<(), Error> {
        left(self, place).map(drop)
    }

    /// How far the schema is.
    fn schema(&mut self) -> Result<Schema, Error> {
        Ok(migration::schema(Self::MIGRATIONS, &recorded(self)?))
    }

    /// The newest version of the schema that this program knows.
    fn newest_schema() -> i64 {
        migration::newest(Self::MIGRATIONS)
    }
}

fn shuts_out_nobody<M: Migrations>(link: &mut M, node: &str, left: &[&Migration]) -> Result<(), Error> {
    let doing = database("looking who works with the schema as it is");
    let Some(step) = left.iter().max_by_key(|migration| migration.works_from) else {
        return Ok(());
    };
    if !link.has_table("node").map_err(&doing)? {
        return Ok(());
    }
    match link.running_before(step.works_from, node).map_err(&doing)? {
        None => Ok(()),
        Some(running) => Err(Error::Refused(format!(
            "step {} ({}) of the schema would shut out nodes that run: {running}. Stop them first (one that was killed \
             counts for a minute), or bring them to a release that knows schema {}",
            step.version, step.name, step.works_from
        ))),
    }
}

fn left<M: Migrations>(link: &mut M, place: &str) -> Result<Vec<&'static Migration>, Error> {
    pending(&format!("the store at {place}"), M::MIGRATIONS, &recorded(link)?)
}

fn recorded<M: Migrations>(link: &mut M) -> Result<Vec<Recorded>, Error> {
    let doing = "reading what was migrated";
    if !link.has_table("migration").map_err(database(doing))? {
        return Ok(Vec::new());
    }
    link.read(doing, M::RECORDED, &[], |row| {
        Ok(Recorded {
            version: row.get(0)?,
            checksum: row.get(1)?,
            works_from: row.get(2)?,
        })
    })
}
