//! What the database holds at the end, by SQL of its own: no code of the store is asked.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::world::database::Server;
use crate::world::site;

/// Bits of a row's number below its epoch.
const COUNTER_BITS: u32 = 43;

/// One row of a stage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The stage's table: `message`, `routed`, `handled`, `outbound`, `outcome`, `disposition`, `dead_letter`, `event`.
    pub table: String,
    /// Its number: the epoch in the high bits.
    pub id: i64,
    /// The message it belongs to.
    pub message: i64,
    /// When its transaction committed, by the database's clock, in microseconds since 1970.
    pub at: i64,
    /// Of a message its control id; of an outbound row its sink; of an outcome the number of its send; otherwise what
    /// the row says.
    pub text: String,
    /// Of an outcome or a disposition its code.
    pub code: i64,
}

impl Row {
    /// The leadership that wrote it.
    pub fn epoch(&self) -> i64 {
        self.id >> COUNTER_BITS
    }
}

/// A change of leader, as its own transaction left it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acquired {
    /// The epoch that began.
    pub epoch: i64,
    /// Whose it is.
    pub node: String,
    /// When its transaction committed, in microseconds since 1970 by the database's clock.
    pub at: i64,
    /// Why the epoch ended, if it did.
    pub ended: Option<String>,
}

/// Everything that the judge asks the database.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dump {
    /// All rows of all stages.
    pub rows: Vec<Row>,
    /// All changes of leader, in their order.
    pub acquired: Vec<Acquired>,
}

impl Dump {
    /// Reads one that was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Dump> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?).with_context(|| format!("writing {}", path.display()))
    }
}

/// The prefixes of the segments that hold rows.
fn segments(server: &Server) -> Result<Vec<String>> {
    let listed = server.ask(
        "SELECT number FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number",
    )?;
    let numbers = listed.lines().map(|line| line.trim().parse::<u32>());
    let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().context("a segment's number")?;
    Ok(numbers
        .into_iter()
        .map(|number| format!("holdfast.s{number:06}_"))
        .collect())
}

/// How many messages have no disposition yet.
///
/// # Errors
/// The database does not answer.
pub fn open(server: &Server) -> Result<u64> {
    let segments = segments(server)?;
    let all = |table: &str, column: &str| {
        let each = segments
            .iter()
            .map(|segment| format!("SELECT {column} AS message FROM {segment}{table}"));
        each.collect::<Vec<_>>().join(" UNION ALL ")
    };
    let (messages, ends) = (all("message", "id"), all("disposition", "message"));
    let query = format!(
        "SELECT count(*) FROM ({messages}) m WHERE NOT EXISTS (SELECT 1 FROM ({ends}) d WHERE d.message = m.message)"
    );
    server.ask(&query)?.parse().context("a count")
}

/// Reads everything.
///
/// # Errors
/// The database does not answer, or not as expected.
pub fn take(server: &Server) -> Result<Dump> {
    let names = "(SELECT name FROM holdfast.name WHERE id =";
    let tables: [(&str, &str, String, &str); 8] = [
        ("message", "id", "coalesce(control_id, '')".to_owned(), "0"),
        (
            "routed",
            "message",
            "array_to_string(handlers, ',')".to_owned(),
            "0",
        ),
        ("handled", "message", format!("{names} handler)"), "result"),
        ("outbound", "message", format!("{names} destination)"), "0"),
        ("outcome", "message", "send::text".to_owned(), "result"),
        ("disposition", "message", "''".to_owned(), "disposition"),
        ("dead_letter", "message", "reason".to_owned(), "0"),
        ("event", "message", "detail".to_owned(), "kind"),
    ];
    let micros = "(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint";
    let mut dump = Dump::default();
    for segment in segments(server)? {
        for (table, message, text, code) in &tables {
            let query = format!(
                "SELECT json_build_object('table', '{table}', 'id', id, 'message', {message}, 'at', coalesce({micros}, 0),
                     'text', {text}, 'code', {code}) FROM {segment}{table} ORDER BY id"
            );
            for line in server.ask(&query)?.lines() {
                let mut row: Row =
                    serde_json::from_str(line).with_context(|| format!("a row of {table}: {line}"))?;
                if row.table == "outbound" {
                    row.text = site::sink_of(&row.text).unwrap_or(row.text);
                }
                dump.rows.push(row);
            }
        }
    }
    let query = format!(
        "SELECT json_build_object('epoch', epoch, 'node', node, 'at', coalesce({micros}, 0),
             'ended', (SELECT reason FROM holdfast.leadership l WHERE l.epoch = acquired.epoch LIMIT 1))
         FROM chaos.acquired ORDER BY epoch"
    );
    for line in server.ask(&query)?.lines() {
        dump.acquired
            .push(serde_json::from_str(line).with_context(|| format!("a change of leader: {line}"))?);
    }
    Ok(dump)
}
