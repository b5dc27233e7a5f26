//! What is rare and small: the lease row as others see it, names, what operators want.

use super::link::Link;
use crate::server::Connection;
use crate::server::control::{Control, Sql};
use crate::server::value::{database, values};
use crate::{Error, NameKind, codes};

impl Control for Link {
    const CONTROL: Sql = Sql {
        leader: "SELECT epoch, term, node, acquired_at, released FROM holdfast.lease WHERE lease_group = 0 AND epoch > 0",
        names: "SELECT id, kind, name FROM holdfast.name ORDER BY id",
        desired: "SELECT connection FROM (
                 SELECT DISTINCT ON (connection) connection, desired FROM holdfast.desired ORDER BY connection, id DESC
             ) AS newest WHERE desired <> 0 ORDER BY connection",
        set_desired: "WITH own AS (SELECT 1 FROM holdfast.shard WHERE shard = 0 AND epoch = $1 AND term = $2 FOR UPDATE)
             INSERT INTO holdfast.desired (epoch, connection, desired, actor, at)
             SELECT $1, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM own) RETURNING 1",
    };

    fn add_names(&mut self, names: &[(NameKind, String)]) -> Result<(), Error> {
        let doing = "numbering names";
        self.transaction(|link| {
            link.script("LOCK TABLE holdfast.name IN SHARE ROW EXCLUSIVE MODE")
                .map_err(database(doing))?;
            for (kind, name) in names {
                link.run(
                    doing,
                    "INSERT INTO holdfast.name (id, kind, name)
                 SELECT coalesce(max(id), 0) + 1, $1, $2 FROM holdfast.name ON CONFLICT (kind, name) DO NOTHING",
                    &values![codes::of_kind(*kind), name.as_str()],
                )?;
            }
            Ok(())
        })
    }
}
