//! `store.url`: what it may say, and its several servers as one address each.

use sqlx_core::Url;

use crate::Error;

/// More servers than any one database has.
const PLACES_MAX: usize = 8;

/// How a server's addresses look.
#[derive(Debug)]
pub(crate) struct Form {
    /// The first one is for examples.
    pub(crate) schemes: &'static [&'static str],
    pub(crate) port: u16,
    /// Where a password may be given instead.
    pub(crate) password: &'static str,
}

/// `postgres://user@host:port/database`
pub(crate) const POSTGRES: Form = Form {
    schemes: &["postgres", "postgresql"],
    port: 5432,
    password: "HOLDFAST_STORE__PASSWORD or PGPASSWORD",
};

/// `sqlserver://user@host:port/database`
pub(crate) const SQL_SERVER: Form = Form {
    schemes: &["sqlserver", "mssql"],
    port: 1433,
    password: "HOLDFAST_STORE__PASSWORD or store.password_file",
};

impl Form {
    pub(crate) fn refuse(&self, why: &str) -> Error {
        Error::Refused(format!(
            "store.url cannot be used: {why}; write {}://user@host:port/database",
            self.schemes[0]
        ))
    }
}

/// The address of each server, in order, and host and port for a person.
/// `postgres://user@h1:5432,h2:5432/database` has two.
pub(crate) fn part(form: &Form, text: &str) -> Result<Vec<(Url, String)>, Error> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    if !form.schemes.contains(&scheme) {
        return Err(form.refuse(&format!("it does not begin with {}://", form.schemes[0])));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let parted: Result<Vec<(Url, String)>, Error> = hosts
        .split(',')
        .map(|host| {
            if host.is_empty() && hosts.contains(',') {
                return Err(form.refuse("one of its hosts is empty"));
            }
            let url = Url::parse(&format!("{scheme}://{user}{host}{path}"))
                .map_err(|error| form.refuse(&error.to_string()))?;
            if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
                let instead = form.password;
                return Err(form.refuse(&format!(
                    "it holds a password, and this is no place for one: give it as {instead}"
                )));
            }
            let place = format!(
                "{}:{}",
                url.host_str().unwrap_or("localhost"),
                url.port().unwrap_or(form.port)
            );
            Ok((url, place))
        })
        .collect();
    let parted = parted?;
    if parted.len() > PLACES_MAX {
        return Err(form.refuse(&format!("it names more than {PLACES_MAX} servers")));
    }
    Ok(parted)
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.starts_with('/')
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The files that an address names for TLS are there and are what they should be; the driver would say of a
/// missing one that the database does not answer, and of an empty one nothing.
pub(crate) fn check_files(form: &Form, url: &Url) -> Result<(), Error> {
    let find = |names: &[&str]| {
        url.query_pairs()
            .find(|(key, _)| names.contains(&&**key))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
    };
    let authority = find(&["sslrootcert", "ssl-root-cert", "ssl-ca"]);
    let certificate = find(&["sslcert", "ssl-cert"]);
    let key = find(&["sslkey", "ssl-key"]);
    if certificate.is_some() != key.is_some() {
        return Err(form.refuse("sslcert and sslkey are given together or not at all"));
    }
    let wanted = [
        (authority, "CERTIFICATE-----"),
        (certificate, "CERTIFICATE-----"),
        (key.clone(), "PRIVATE KEY-----"),
    ];
    for (file, marker) in wanted {
        let Some((name, file)) = file else { continue };
        let text = std::fs::read_to_string(&file)
            .map_err(|error| form.refuse(&format!("the file of {name}, {file}, cannot be read ({error})")))?;
        if !text.contains(marker) {
            return Err(form.refuse(&format!(
                "the file of {name}, {file}, holds no PEM block `{marker}`"
            )));
        }
    }
    match key {
        Some((_, file)) if is_open_to_all(&file) => Err(form.refuse(&format!(
            "everybody on this machine may read or write the private key {file}: chmod 600 it"
        ))),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn is_open_to_all(file: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_file: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_parted_and_keep_user_database_and_parameters() {
        let parted = part(
            &POSTGRES,
            "postgres://app@one:6432,two,[2001:db8::3]:7/holdfast?sslmode=require",
        )
        .unwrap();
        let shown: Vec<(&str, &str)> = parted
            .iter()
            .map(|(url, place)| (url.as_str(), place.as_str()))
            .collect();
        let url = |host: &str| format!("postgres://app@{host}/holdfast?sslmode=require");
        assert_eq!(
            shown,
            [
                (url("one:6432").as_str(), "one:6432"),
                (url("two").as_str(), "two:5432"),
                (url("[2001:db8::3]:7").as_str(), "[2001:db8::3]:7"),
            ]
        );
        assert!(part(&POSTGRES, "postgres://app@one,,two/x").is_err());
        assert!(part(&POSTGRES, &format!("postgres://app@{}/x", ["h"; 9].join(","))).is_err());
    }
}
