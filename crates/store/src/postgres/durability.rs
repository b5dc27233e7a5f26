//! Is a commit on this server what the operator thinks it is? Looked at whenever a writing session begins.

use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::PgRow;

use super::Target;
use super::link::Link;
use crate::Error;
use crate::server::Connection;
use crate::server::target::Durability;
use crate::server::value::database;

const VERSION_MIN: i32 = 130_000;

const QUERY: &str =
    "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
    current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names'),
    (SELECT count(*) FROM pg_stat_replication WHERE coalesce(application_name, '') <> 'pg_basebackup')::integer";

struct Found {
    version: i32,
    encoding: String,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    /// The standbys that a commit waits for, as the server's setting says it.
    standbys: String,
    /// Servers that follow this one now.
    followers: i32,
}

fn found(row: &PgRow) -> Result<Found, Driver> {
    Ok(Found {
        version: row.try_get(0)?,
        encoding: row.try_get(1)?,
        fsync: row.try_get(2)?,
        full_page_writes: row.try_get(3)?,
        synchronous_commit: row.try_get(4)?,
        standbys: row.try_get(5)?,
        followers: row.try_get(6)?,
    })
}

/// Refuses a server on which an acknowledged message could be lost, or that is too old. Where one could be
/// lost in a failover, that is refused too or said aloud, as was asked for.
pub(super) fn check(link: &mut Link, target: &Target, place: &str) -> Result<(), Error> {
    let doing = database("looking at the server's settings");
    let row = link.row(QUERY, &[]).map_err(&doing)?;
    let found = found(&row).map_err(&doing)?;
    if let Some(text) = refusal(&found) {
        return Err(Error::Refused(format!("the database at {place} {text}")));
    }
    let Some(text) = lossy_failover(&found, target.has_several()) else {
        return Ok(());
    };
    match target.durability {
        Durability::Strict => Err(Error::Refused(format!(
            "the database at {place} {text}; store.durability = \"strict\" does not allow that"
        ))),
        Durability::Standard => {
            tracing::warn!("the database at {place} {text}");
            Ok(())
        }
    }
}

/// Why a failover may lose what was acknowledged.
fn lossy_failover(found: &Found, several: bool) -> Option<String> {
    let consequence = "an acknowledged message may be missing after a failover";
    if found.standbys.trim().is_empty() {
        let followed = match (found.followers, several) {
            (0, false) => return None,
            (0, true) => "is one of several in store.url, and its commits wait for no standby".to_owned(),
            (1, _) => "is followed by a standby that its commits do not wait for".to_owned(),
            (count, _) => format!("is followed by {count} standbys, and its commits wait for none"),
        };
        return Some(format!(
            "{followed}: {consequence}; set synchronous_standby_names"
        ));
    }
    let weak = &found.synchronous_commit;
    ["local", "remote_write"].contains(&weak.as_str()).then(|| {
        format!("runs with synchronous_commit = {weak}, so commits do not wait for the standby's disk: {consequence}; set it on")
    })
}

fn refusal(found: &Found) -> Option<String> {
    if found.version < VERSION_MIN {
        let major = found.version / 10_000;
        return Some(format!("is PostgreSQL {major}: use 13 or later"));
    }
    if found.encoding != "UTF8" {
        let encoding = &found.encoding;
        return Some(format!(
            "keeps text as {encoding}: create the database with ENCODING 'UTF8'"
        ));
    }
    let lossy = [
        (
            "fsync",
            &found.fsync,
            "a power cut may destroy the whole database",
        ),
        (
            "full_page_writes",
            &found.full_page_writes,
            "a power cut may damage pages beyond repair",
        ),
        (
            "synchronous_commit",
            &found.synchronous_commit,
            "an acknowledged message may be lost in a crash",
        ),
    ];
    let (name, _, consequence) = lossy.into_iter().find(|(_, value, _)| *value == "off")?;
    Some(format!("runs with {name} = off, so {consequence}: switch it on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Found {
        Found {
            version: 150_018,
            encoding: "UTF8".to_owned(),
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            standbys: String::new(),
            followers: 0,
        }
    }

    #[test]
    fn a_failover_that_may_lose_messages_is_known_by_the_settings() {
        let lossy = |several, change: fn(&mut Found)| {
            let mut found = sound();
            change(&mut found);
            lossy_failover(&found, several).unwrap_or_default()
        };
        assert_eq!(lossy(false, |_| ()), "");
        assert!(lossy(true, |_| ()).contains("one of several"));
        assert!(lossy(false, |found| found.followers = 1).contains("set synchronous_standby_names"));
        let waits = |found: &mut Found| found.standbys = "other".to_owned();
        assert_eq!(lossy(true, waits), "");
        let weak = |found: &mut Found| {
            found.standbys = "other".to_owned();
            found.synchronous_commit = "remote_write".to_owned();
        };
        assert!(lossy(false, weak).contains("remote_write"));
    }

    #[test]
    fn a_server_that_may_lose_what_it_committed_is_refused_by_the_settings_name() {
        assert_eq!(refusal(&sound()), None);
        type Change = fn(&mut Found);
        let cases: [(&str, Change); 5] = [
            ("use 13", |found| found.version = 120_022),
            ("ENCODING 'UTF8'", |found| found.encoding = "SQL_ASCII".to_owned()),
            ("fsync = off", |found| found.fsync = "off".to_owned()),
            ("full_page_writes = off", |found| {
                found.full_page_writes = "off".to_owned()
            }),
            ("synchronous_commit = off", |found| {
                found.synchronous_commit = "off".to_owned()
            }),
        ];
        for (said, change) in cases {
            let mut found = sound();
            change(&mut found);
            let text = refusal(&found).unwrap_or_default();
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
