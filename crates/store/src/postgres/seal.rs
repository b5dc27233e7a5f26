//! Sealing: a segment that takes no more rows gets the indexes that listings and searches use, statistics,
//! and a profile of what it holds.

use super::link::Link;
use crate::Error;
use crate::segments::profile::Profile;
use crate::server::Connection;
use crate::server::seal::{Sealing, Sql, counted};
use crate::server::segment::{prefix, tables};
use crate::server::value::{database, values};

/// (table, what the index is called by, columns).
const INDEXES: [(&str, &str, &str); 7] = [
    ("message", "control_id", "control_id, id"),
    ("message", "inbound", "inbound, coalesce(kind, ''), id"),
    ("outbound", "destination", "destination, id"),
    ("outbound", "destination_message", "destination, message"),
    ("disposition", "disposition", "disposition, message"),
    ("dead_letter", "at_name", "at_name, id"),
    ("key", "entry", "entry, message"),
];

/// Without statistics the planner is told not to walk whole tables; here it shall.
const WALK: &str = "SET LOCAL enable_seqscan = on";

impl Sealing for Link {
    const SEALING: Sql = Sql {
        fill_keys: &[
            WALK,
            "TRUNCATE {s}key",
            // From the messages' own texts, in the order of the index.
            "INSERT INTO {s}key (entry, message)
    SELECT entry, id FROM {s}message CROSS JOIN LATERAL unnest(string_to_array(keys, chr(31))) AS entry
    WHERE keys IS NOT NULL",
        ],
        oldest_reference: "SELECT least(
    (SELECT min(message) FROM {s}routed), (SELECT min(message) FROM {s}handled),
    (SELECT min(message) FROM {s}outbound), (SELECT min(send) FROM {s}outcome),
    (SELECT min(message) FROM {s}disposition), (SELECT min(message) FROM {s}dead_letter),
    (SELECT min(message) FROM {s}event), (SELECT min(dead_letter) FROM {s}resolved))",
        ends: "SELECT min(id), max(id) FROM {s}message",
        shares: "SELECT (id - $1) / $2 AS block, inbound, coalesce(kind, '') AS kind, count(*), min(id),
        min(received_at), max(received_at)
    FROM {s}message GROUP BY 1, 2, 3",
        by_destinations: "SELECT destination, count(*) FROM {s}outbound GROUP BY 1",
        by_dispositions: "SELECT disposition, count(*) FROM {s}disposition GROUP BY 1",
        is_bare: "SELECT NOT EXISTS (SELECT FROM {s}message WHERE enc <> 2)
                AND NOT EXISTS (SELECT FROM {s}outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL)
                AND NOT EXISTS (SELECT FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2)",
        sealed: "UPDATE holdfast.segment SET sealed_at = $2, oldest_reference = $3, profile = $4
         WHERE number = $1 AND sealed_at IS NULL",
        drained: "UPDATE holdfast.segment SET drained_at = $2 WHERE number = $1 AND drained_at IS NULL",
    };

    fn add_indexes(&mut self, number: u32) -> Result<(), Error> {
        let doing = database("sealing a segment");
        for (table, by, columns) in INDEXES {
            self.script(format!(
                "CREATE INDEX IF NOT EXISTS s{number:06}_{table}_by_{by} ON {}{table} ({columns})",
                prefix(number)
            ))
            .map_err(&doing)?;
        }
        for table in tables::<Link>(number) {
            self.script(format!("ANALYZE {table}")).map_err(&doing)?;
        }
        Ok(())
    }

    fn profile(&mut self, prefix: &str) -> Result<Profile, Error> {
        let doing = database("counting what a segment holds");
        self.transaction(|link| {
            link.script(WALK).map_err(&doing)?;
            counted(link, prefix).map_err(&doing)
        })
    }
}

/// Notes anew what a sealed segment holds.
pub(super) fn note_contents(link: &mut Link, number: u32) -> Result<(), Error> {
    let (oldest, profile) = link.contents(&prefix(number))?;
    link.run(
        "noting what a segment holds",
        "UPDATE holdfast.segment SET oldest_reference = $2, profile = $3 WHERE number = $1",
        &values![number as i32, oldest, profile],
    )
}
