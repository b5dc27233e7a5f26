//! The database server that a profile measures on.

use anyhow::Context;
use bench::toll::{Protocol, Toll};
use store::ceiling::{Appended, Load};
use store::{Error, ServerFigures, postgres, sqlserver};

use crate::output::Advice;

/// How to reach it, and which it is.
#[derive(Clone)]
pub(super) enum Database {
    Postgres(postgres::Options),
    SqlServer(sqlserver::Options),
}

impl Database {
    /// The one at an address; the password comes from the environment.
    pub(super) fn at(url: &str) -> anyhow::Result<Database> {
        let password = engine::settings::store_password_of_environment();
        match url.split_once("://").map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => {
                let mut options = postgres::Options::new(url);
                options.password = password;
                "load".clone_into(&mut options.node);
                Ok(Database::Postgres(options))
            }
            "sqlserver" => {
                let mut options = sqlserver::Options::new(url);
                options.password = password;
                "load".clone_into(&mut options.node);
                Ok(Database::SqlServer(options))
            }
            _ => {
                let problem = "--database-url is neither postgres:// nor sqlserver://";
                let hint = "write postgres://user@host:port/database or sqlserver://user@host:port/database";
                Err(Advice::usage(problem.to_owned(), hint).into())
            }
        }
    }

    /// As `store.backend` has it.
    pub(super) fn backend(&self) -> &'static str {
        match self {
            Database::Postgres(_) => "postgres",
            Database::SqlServer(_) => "sqlserver",
        }
    }

    fn own_url(&self) -> &str {
        match self {
            Database::Postgres(options) => &options.url,
            Database::SqlServer(options) => &options.url,
        }
    }

    /// Where a node finds it, by way of a counter if there is one.
    pub(super) fn url(&self, toll: Option<&Toll>) -> String {
        let url = self.own_url();
        match (toll, place(url)) {
            (Some(toll), Some((before, _, after))) => format!("{before}{}{after}", toll.address()),
            _ => url.to_owned(),
        }
    }

    /// A counter before it.
    pub(super) async fn toll(&self) -> anyhow::Result<Toll> {
        let (protocol, port) = match self {
            Database::Postgres(_) => (Protocol::Postgres, 5432),
            Database::SqlServer(_) => (Protocol::SqlServer, 1433),
        };
        let place = place(self.own_url()).map(|(_, place, _)| place);
        let place = place.filter(|place| !place.is_empty() && !place.contains(','));
        let Some(place) = place else {
            let problem = "--wire counts on the way to one server, and --database-url does not name just one";
            let hint = "write it as scheme://user@host:port/database";
            return Err(Advice::usage(problem.to_owned(), hint).into());
        };
        let named = place
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let server = if named {
            place.to_owned()
        } else {
            format!("{place}:{port}")
        };
        Toll::start(server, protocol)
            .await
            .context("the counter before the database cannot listen")
    }

    /// What the server says of itself.
    pub(super) async fn figures(&self) -> anyhow::Result<ServerFigures> {
        let database = self.clone();
        let read = move || match database {
            Database::Postgres(options) => postgres::server_figures(&options),
            Database::SqlServer(options) => sqlserver::server_figures(&options),
        };
        Ok(tokio::task::spawn_blocking(read).await??)
    }

    /// What it appends at best. Blocks.
    pub(super) fn ceiling(&self, load: &Load) -> Result<Appended, Error> {
        match self {
            Database::Postgres(options) => postgres::ceiling(options, load),
            Database::SqlServer(options) => sqlserver::ceiling(options, load),
        }
    }
}

/// An address' `host:port`, with what stands before and after it.
fn place(url: &str) -> Option<(&str, &str, &str)> {
    let begin = url.find("://")? + 3;
    let rest = &url[begin..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let user = rest[..end].rfind('@').map_or(0, |at| at + 1);
    Some((&url[..begin + user], &rest[user..end], &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_counter_takes_the_place_of_the_server_in_the_address() {
        let of = |url: &str| Database::at(url).unwrap();
        let database = of("sqlserver://sa@db.example.org:14330/bench?encrypt=on");
        let toll = Toll::start("127.0.0.1:1".to_owned(), Protocol::SqlServer)
            .await
            .unwrap();
        let through = format!("sqlserver://sa@{}/bench?encrypt=on", toll.address());
        assert_eq!(database.url(Some(&toll)), through);
        assert_eq!(
            database.url(None),
            "sqlserver://sa@db.example.org:14330/bench?encrypt=on"
        );
        assert_eq!(place("postgres://db/x"), Some(("postgres://", "db", "/x")));
        assert!(of("postgres://a@one:1,two:2/x").toll().await.is_err());
        assert!(Database::at("mysql://x/y").is_err());
    }
}
