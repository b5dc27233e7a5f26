//! Sealing: a segment that takes no more rows gets the indexes that listings and searches use, and a profile of what
//! it holds.

use super::link::Link;
use super::sql;
use crate::Error;
use crate::segments::profile::Profile;
use crate::server::Connection;
use crate::server::seal::{Sealing, Sql, counted};
use crate::server::segment::prefix;
use crate::server::value::{database, values};

impl Sealing for Link {
    const SEALING: Sql = sql::SEALING;

    fn add_indexes(&mut self, number: u32) -> Result<(), Error> {
        add_indexes(self, &prefix(number))
    }

    fn profile(&mut self, prefix: &str) -> Result<Profile, Error> {
        counted(self, prefix).map_err(database("counting what a segment holds"))
    }
}

/// Builds what is missing of the indexes of the tables whose names begin so.
pub(super) fn add_indexes(link: &mut Link, prefix: &str) -> Result<(), Error> {
    let doing = database("sealing a segment");
    for (table, by, columns) in sql::INDEXES {
        let (table, name) = (format!("{prefix}{table}"), format!("{table}_by_{by}"));
        let there: bool = link
            .row(sql::INDEX_THERE, &values![table.as_str(), name.as_str()])
            .and_then(|row| row.get(0))
            .map_err(&doing)?;
        if !there {
            link.script(format!("CREATE INDEX {name} ON {table} ({columns})"))
                .map_err(&doing)?;
        }
    }
    Ok(())
}
