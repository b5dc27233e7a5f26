//! What is rare and small: the lease row as others see it, names, what operators want.

use super::link::Link;
use super::sql;
use crate::server::Connection;
use crate::server::control::{Control, Sql};
use crate::server::value::values;
use crate::{Error, NameKind, codes};

impl Control for Link {
    const CONTROL: Sql = sql::CONTROL;

    fn add_names(&mut self, names: &[(NameKind, String)]) -> Result<(), Error> {
        for (kind, name) in names {
            let values = values![codes::of_kind(*kind), name.as_str()];
            self.run("numbering names", sql::ADD_NAME, &values)?;
        }
        Ok(())
    }
}
