//! What a well-formed setting may still not be.

use model::problem::Problem;

use super::Settings;

/// What cannot be used, by its key.
pub(super) fn check(settings: &Settings) -> Vec<(&'static str, Problem)> {
    let mut problems = Vec::new();
    let mut refuse = |key: &'static str, bad: bool, text: String, advice: &str| {
        if bad {
            problems.push((key, Problem::error("bad-setting", text).suggest(advice)));
        }
    };
    let id = &settings.node.id;
    refuse(
        "node.id",
        id.is_empty() || id.len() > 63 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
        format!("node.id `{id}` is not an id"),
        "use 1 to 63 letters, digits, `-`, `_` or `.`",
    );
    let backend = settings.store.backend.as_str();
    refuse(
        "store.backend",
        !["sqlite", "postgres", "sqlserver"].contains(&backend),
        format!("store.backend `{backend}` is not in this release"),
        "use `sqlite`, `postgres` or `sqlserver`",
    );
    refuse(
        "store.url",
        ["postgres", "sqlserver"].contains(&backend) && settings.store.url.is_empty(),
        format!("store.backend is `{backend}`, but store.url does not say where the database is"),
        if backend == "sqlserver" {
            "write sqlserver://user@host:port/database"
        } else {
            "write postgres://user@host:port/database"
        },
    );
    refuse(
        "store.log_in_command",
        backend != "sqlserver" && !settings.store.log_in_command.is_empty(),
        format!("store.log_in_command is set, but store.backend is `{backend}`"),
        "leave it out: only SQL Server is logged in to with an access token",
    );
    let durability = settings.store.durability.as_str();
    refuse(
        "store.durability",
        !["standard", "strict"].contains(&durability),
        format!("store.durability `{durability}` is not known"),
        "use `standard` or `strict`",
    );
    refuse(
        "store.commit_seconds",
        !(1..=600).contains(&settings.store.commit_seconds),
        "store.commit_seconds is out of range".to_owned(),
        "use 1 to 600; 10 is right where commits take less than a second",
    );
    refuse(
        "store.compression",
        !["auto", "on", "off"].contains(&settings.store.compression.as_str()),
        format!("`{}` is no choice of compression", settings.store.compression),
        "write auto, on or off",
    );
    refuse(
        "store.segment_mb",
        settings.store.segment_mb < 1,
        "store.segment_mb is too small".to_owned(),
        "use at least 1",
    );
    let retention = &settings.retention;
    for (key, days) in [
        ("retention.days", retention.days),
        ("retention.metadata_days", retention.metadata_days),
        ("retention.dead_letter_days", retention.dead_letter_days),
    ] {
        refuse(
            key,
            days > model::graph::RETENTION_DAYS_MAX,
            format!("{key} is more than a hundred years"),
            "use 0 to 36500",
        );
    }
    refuse(
        "retention.metadata_days",
        (1..retention.days).contains(&retention.metadata_days),
        "retention.metadata_days is shorter than retention.days".to_owned(),
        "bodies go after retention.days, and the rest of a message after retention.metadata_days: use a longer time, or \
         0 for the same",
    );
    refuse(
        "retention.check_seconds",
        !(1..=86_400).contains(&retention.check_seconds),
        "retention.check_seconds is out of range".to_owned(),
        "use 1 to 86400",
    );
    refuse(
        "cluster.enabled",
        settings.cluster.enabled && backend == "sqlite",
        "cluster.enabled is true, but the store is embedded in one node".to_owned(),
        "set store.backend to `postgres` or `sqlserver`: the nodes of a cluster share one database server",
    );
    refuse(
        "cluster.profile",
        !["default", "fast", "wan"].contains(&settings.cluster.profile.as_str()),
        format!("cluster.profile `{}` is not known", settings.cluster.profile),
        "use `default`, `fast` or `wan`",
    );
    refuse(
        "cluster.takeover_delay_ms",
        settings.cluster.takeover_delay_ms > 600_000,
        "cluster.takeover_delay_ms is more than ten minutes".to_owned(),
        "use 0 to 600000",
    );
    refuse(
        "engine.memory_mb",
        settings.engine.memory_mb < 8,
        "engine.memory_mb is too small".to_owned(),
        "use at least 8",
    );
    refuse(
        "engine.lane_rows",
        settings.engine.lane_rows < 64,
        "engine.lane_rows is too small".to_owned(),
        "use at least 64",
    );
    let loopback = settings
        .api
        .bind
        .parse::<std::net::SocketAddr>()
        .is_ok_and(|address| address.ip().is_loopback());
    refuse(
        "api.bind",
        !loopback,
        format!(
            "api.bind `{}` is not a loopback address with a port",
            settings.api.bind
        ),
        "use 127.0.0.1:<port>: this release serves its API on loopback only, because it has no sign-in yet",
    );
    refuse(
        "log.format",
        !["text", "json"].contains(&settings.log.format.as_str()),
        format!("log.format `{}` is not known", settings.log.format),
        "use `text` or `json`",
    );
    problems
}

/// Whether a URL has a password in front of its host or among its options.
pub(super) fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.contains("password=")
}
