//! What reading everything back asks of one segment's tables.

use super::link::Link;
use super::segment::kinds_there;
use super::sql;
use crate::Error;
use crate::server::integrity::{Checking, Sql};
use crate::server::segment::kinds;

impl Checking for Link {
    const CHECKING: Sql = sql::CHECKING;

    fn missing(&mut self, number: u32) -> Result<Option<String>, Error> {
        let there = kinds_there(self, number)?;
        let missing = kinds::<Link>().find(|kind| !there.iter().any(|name| name == kind));
        Ok(missing.map(str::to_owned))
    }
}
