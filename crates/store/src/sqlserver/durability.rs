//! Is a commit on this server what the operator thinks it is? Looked at whenever a writing session begins.

use super::Target;
use super::fault::Driver;
use super::link::Link;
use super::sql;
use super::value::Row;
use crate::Error;
use crate::server::Connection;
use crate::server::target::Durability;
use crate::server::value::database;

/// SQL Server 2019.
const MAJOR_MIN: u32 = 15;
/// From this level on there is `STRING_SPLIT` and `OPENJSON`.
const LEVEL_MIN: i32 = 130;
/// Forced: commits return before they are on disk.
const DELAYED_FORCED: i32 = 2;
const READ_COMMITTED: i32 = 2;

#[derive(Debug)]
struct Found {
    version: String,
    level: i32,
    versioned_reads: bool,
    delayed: i32,
    /// The database belongs to an availability group.
    replicated: bool,
    auto_close: bool,
}

fn found(row: &Row) -> Result<Found, Driver> {
    Ok(Found {
        version: row.get::<Option<String>>(0)?.unwrap_or_default(),
        level: row.get::<Option<i32>>(1)?.unwrap_or(LEVEL_MIN),
        versioned_reads: row.get::<Option<i32>>(2)? == Some(1),
        delayed: row.get::<Option<i32>>(3)?.unwrap_or(0),
        replicated: row.get::<Option<i32>>(4)? == Some(1),
        auto_close: row.get::<Option<i32>>(5)? == Some(1),
    })
}

/// Refuses a database on which an acknowledged message could be lost, or that is too old. Where one could be
/// lost in a failover, that is refused too or said aloud, as was asked for.
pub(super) fn check(link: &mut Link, target: &Target, place: &str) -> Result<(), Error> {
    let doing = database("looking at the database's options");
    let row = link.maybe_row(sql::DURABILITY, &[]).map_err(&doing)?;
    let Some(row) = row else {
        return Err(Error::Refused(format!(
            "the database at {place} does not show its options: GRANT VIEW DEFINITION on it to this user"
        )));
    };
    let found = found(&row).map_err(&doing)?;
    if link.stand_in {
        tracing::warn!(
            "the database at {place} is a stand-in for SQL Server (Babelfish): it serves to try the store, not to run it"
        );
    } else if let Some(text) = refusal(&found) {
        return Err(Error::Refused(format!("the database at {place} {text}")));
    } else {
        let level: i32 = link
            .row(sql::ISOLATION, &[])
            .and_then(|row| row.get(0))
            .map_err(&doing)?;
        if level != READ_COMMITTED {
            return Err(Error::Refused(format!(
                "the database at {place} gives the session isolation level {level} although it asks for READ COMMITTED (2): \
                 look for a log-on trigger or a proxy that changes it"
            )));
        }
    }
    if let Some(text) = slow(&found) {
        tracing::warn!("the database at {place} {text}");
    }
    if !found.replicated || link.stand_in {
        return Ok(());
    }
    let lossy = match replicas(link) {
        Ok(counts) => lossy_failover(counts),
        Err(error) => Some(format!(
            "is in an availability group whose replicas this user may not see ({error}): GRANT VIEW ANY DEFINITION to it"
        )),
    };
    match (lossy, target.durability) {
        (None, _) => Ok(()),
        (Some(text), Durability::Strict) => Err(Error::Refused(format!(
            "the database at {place} {text}; store.durability = \"strict\" does not allow that"
        ))),
        (Some(text), Durability::Standard) => {
            tracing::warn!("the database at {place} {text}");
            Ok(())
        }
    }
}

/// Other replicas, and those of them that a commit waits for.
fn replicas(link: &mut Link) -> Result<(i32, i32), Driver> {
    let row = link.row(sql::REPLICAS, &[])?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Why a failover may lose what was acknowledged.
fn lossy_failover((others, synchronous): (i32, i32)) -> Option<String> {
    (others > 0 && synchronous == 0).then(|| {
        format!(
            "has {others} other replicas and its commits wait for none: an acknowledged message may be missing after a \
             failover; set AVAILABILITY_MODE = SYNCHRONOUS_COMMIT for one"
        )
    })
}

fn refusal(found: &Found) -> Option<String> {
    let major: u32 = found
        .version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(MAJOR_MIN);
    // The service of the cloud counts from 12 and is newer than any.
    if major < MAJOR_MIN && major != 12 {
        return Some(format!("is SQL Server version {major}: use 2019 (15) or later"));
    }
    if found.level < LEVEL_MIN {
        let level = found.level;
        return Some(format!(
            "runs at compatibility level {level}: ALTER DATABASE CURRENT SET COMPATIBILITY_LEVEL = 150"
        ));
    }
    (found.delayed == DELAYED_FORCED).then(|| {
        "runs with DELAYED_DURABILITY = FORCED, so an acknowledged message may be lost in a crash: ALTER DATABASE CURRENT \
         SET DELAYED_DURABILITY = DISABLED"
            .to_owned()
    })
}

/// What loses nothing and costs time.
fn slow(found: &Found) -> Option<&'static str> {
    if !found.versioned_reads {
        return Some(
            "reads under locks (READ_COMMITTED_SNAPSHOT is off), so reads and commits wait for one another: ALTER DATABASE \
             CURRENT SET READ_COMMITTED_SNAPSHOT ON",
        );
    }
    found.auto_close.then_some(
        "closes itself when nobody uses it (AUTO_CLOSE is on): ALTER DATABASE CURRENT SET AUTO_CLOSE OFF",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Found {
        Found {
            version: "16.0.4135.4".to_owned(),
            level: 160,
            versioned_reads: true,
            delayed: 0,
            replicated: false,
            auto_close: false,
        }
    }

    #[test]
    fn a_server_that_may_lose_what_it_committed_is_refused_by_the_options_name() {
        assert_eq!(refusal(&sound()), None);
        type Change = fn(&mut Found);
        let cases: [(&str, Change); 3] = [
            ("DELAYED_DURABILITY = FORCED", |found| found.delayed = 2),
            ("2019 (15) or later", |found| found.version = "14.0.1".to_owned()),
            ("COMPATIBILITY_LEVEL = 150", |found| found.level = 110),
        ];
        for (said, change) in cases {
            let mut found = sound();
            change(&mut found);
            let text = refusal(&found).unwrap_or_default();
            assert!(text.contains(said), "{said}: {text}");
        }
        let mut service = sound();
        service.version = "12.0.2000.8".to_owned();
        assert_eq!(refusal(&service), None);
    }

    #[test]
    fn what_costs_time_or_may_lose_in_a_failover_is_said() {
        assert_eq!(slow(&sound()), None);
        let mut locking = sound();
        locking.versioned_reads = false;
        assert!(slow(&locking).is_some_and(|text| text.contains("READ_COMMITTED_SNAPSHOT ON")));
        assert_eq!(lossy_failover((1, 1)), None);
        assert_eq!(lossy_failover((0, 0)), None);
        assert!(lossy_failover((2, 0)).is_some_and(|text| text.contains("SYNCHRONOUS_COMMIT")));
    }
}
