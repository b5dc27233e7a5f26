//! What a driver's error means: the values were refused, the database says no for now, or the connection is
//! gone and nobody knows.

use sqlx_core::error::Error as Driver;

use crate::Error;
use crate::server::Trouble;

/// The SQLSTATE of an answer of the server.
pub(super) fn state(error: &Driver) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// The same of an error that says what was being done.
pub(super) fn state_of(error: &Error) -> Option<String> {
    match error {
        Error::Database { source, .. } => state(source.downcast_ref::<Driver>()?),
        Error::Refused(_) | Error::Outdated(_) | Error::Busy(_) | Error::Away(_) => None,
    }
}

/// What an error of a write means.
pub(super) fn trouble(error: &Driver) -> Trouble {
    if matches!(error, Driver::Encode(_)) {
        return Trouble::Values(error.to_string());
    }
    let Some(state) = state(error) else {
        return Trouble::Lost(error.to_string());
    };
    let said = error.as_database_error().map_or("", |error| error.message());
    match state.as_str() {
        // A number that is there already is a fault of numbering, not of a unit.
        "23505" => Trouble::Denied(format!("a number was given twice ({said}): please report this")),
        // The server ends this session; in a commit it may have committed before it did.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" => Trouble::Lost(said.to_owned()),
        state if is_of(state, &["22", "23", "54"]) => Trouble::Values(said.to_owned()),
        state if is_of(state, &["08"]) => Trouble::Lost(said.to_owned()),
        state => Trouble::Denied(advice(state, said)),
    }
}

fn is_of(state: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| state.starts_with(class))
}

/// Why nothing can be written now, and what to do.
fn advice(state: &str, said: &str) -> String {
    let advice = match state {
        "53100" => "the database's disk is full: free some room there",
        "53200" => "the database is out of memory: give it more, or lower shared_buffers and work_mem",
        "53300" => "the database takes no more connections: close some, or raise max_connections",
        "25006" => {
            "the database is read-only (a standby, or default_transaction_read_only is on): point store.url at the primary"
        }
        "57014" => "the database cancelled the statement (an administrator, or statement_timeout)",
        "55P03" | "40P01" => "another session holds a lock that the store needs: end that session",
        "57P03" => "the database is starting up or shutting down: wait for it",
        "58030" | "58000" => "the database's disk fails: look at its log",
        "42501" => "the database user lacks a privilege: make it the owner of the schema holdfast",
        "42P01" => "a table of the store is missing: restore the database from a backup",
        "26000" => {
            "prepared statements are lost: connect to the database itself, not through a pooler in transaction mode"
        }
        _ => "the database refuses to write: look at its log",
    };
    format!("{advice}; writing goes on by itself ({said}, SQLSTATE {state})")
}

/// Why a connection could not be made, what to do, and whether it may succeed later without it.
pub(super) fn connecting(place: &str, error: &Driver) -> Error {
    let (text, lasting) = match (state(error).as_deref(), error) {
        (Some("28P01" | "28000"), _) => (
            "refuses the log-in: check user, password (HOLDFAST_STORE__PASSWORD or PGPASSWORD) or client certificate, and \
             pg_hba.conf",
            true,
        ),
        (Some("3D000"), _) => ("has no such database: create it", true),
        (Some("53300"), _) => (
            "takes no more connections: close some, or raise max_connections",
            false,
        ),
        (Some("57P03"), _) => ("is starting up or shutting down: wait for it", false),
        (Some(_), _) => ("refuses the connection: look at its log", false),
        (None, error) => match tls(error) {
            Some(text) => (text, true),
            None => ("does not answer: start it, or correct store.url", false),
        },
    };
    let text = format!("the database at {place} {text} ({error})");
    if lasting {
        Error::Refused(text)
    } else {
        Error::Away(text)
    }
}

/// What is wrong with TLS, if that is what failed.
fn tls(error: &Driver) -> Option<&'static str> {
    let source: &(dyn std::error::Error + 'static) = match error {
        // What rustls says of a certificate comes as a failure of the socket.
        Driver::Io(error) => error.get_ref()?,
        Driver::Tls(error) => match error.downcast_ref::<rustls::Error>() {
            Some(error) => error,
            None => {
                return Some(
                    "does not offer TLS: switch `ssl` on there, with a certificate for this host name",
                );
            }
        },
        _ => return None,
    };
    let source = source.downcast_ref::<rustls::Error>()?;
    Some(match source {
        rustls::Error::InvalidCertificate(fault) => certificate(fault),
        rustls::Error::AlertReceived(_) => {
            "does not accept this node's certificate: give one that its authority signed, with sslcert= and sslkey="
        }
        _ => "and this node do not agree on TLS: look at the database's log",
    })
}

fn certificate(fault: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Fault;
    match fault {
        Fault::UnknownIssuer | Fault::BadSignature => {
            "shows a certificate of an authority that is not trusted here: give the right one with sslrootcert="
        }
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "shows a certificate for other host names: write one of those into store.url, or have this one certified"
        }
        Fault::Expired | Fault::ExpiredContext { .. } => "shows a certificate that has expired: renew it",
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
            "shows a certificate that is not valid yet: check the clocks of both machines"
        }
        _ => "shows a certificate that cannot be used",
    }
}

/// Whether a read may be tried again on another connection: this one is gone, or a segment was dropped
/// between looking at the list and looking into it.
pub(super) fn is_worth_another_try(error: &Error) -> bool {
    let Error::Database { source, .. } = error else {
        return false;
    };
    let Some(error) = source.downcast_ref::<Driver>() else {
        return false;
    };
    matches!(trouble(error), Trouble::Lost(_)) || state(error).as_deref() == Some("42P01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advice_says_that_writing_goes_on_and_what_the_database_said() {
        for state in [
            "53100", "53200", "53300", "25006", "57014", "55P03", "42501", "XX000",
        ] {
            let text = advice(state, "its words");
            assert!(
                text.contains("goes on by itself") && text.contains("its words") && text.contains(state),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_without_an_answer_leaves_the_outcome_open() {
        let error = Driver::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(trouble(&error), Trouble::Lost(_)));
        assert!(matches!(
            trouble(&Driver::Encode("too long".into())),
            Trouble::Values(_)
        ));
    }
}
