//! Tells secrets by the look of them: the name of a key, or an address with a password. A file of a
//! repository never holds one; what is missed here is the author's to keep out.

/// Whether an option or key of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    const ABOUT: [&str; 9] = [
        "_file", "_path", "_url", "_name", "_id", "_ttl", "_seconds", "_field", "_segment",
    ];
    const WORDS: [&str; 10] = [
        "password",
        "passwd",
        "passphrase",
        "passwort",
        "secret",
        "token",
        "private_key",
        "api_key",
        "apikey",
        "credential",
    ];
    // Too short to be looked for inside of other words.
    const ABBREVIATIONS: [&str; 3] = ["pwd", "pass", "pw"];
    let name = name.to_lowercase();
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    (WORDS.iter().any(|word| name.contains(word)) || ABBREVIATIONS.contains(&last))
        && !ABOUT.iter().any(|end| name.ends_with(end))
}

/// Whether a text holds an address with a password, such as `postgres://user:secret@host/db`.
pub fn in_address(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let end = rest
            .find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace())
            .unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').map(|(user, _)| user);
        user.and_then(|user| user.split_once(':'))
            .is_some_and(|(_, password)| !password.is_empty() && !password.starts_with(['{', '$', '%']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for (name, expected) in [
            ("acme_password", true),
            ("api_token", true),
            ("CLIENT_SECRET", true),
            ("private_key", true),
            ("db_pwd", true),
            ("DB_PASS", true),
            ("pw", true),
            ("private_key_file", false),
            ("token_url", false),
            ("bypass", false),
            ("pass_through", false),
            ("host", false),
        ] {
            assert_eq!(is_secret(name), expected, "{name}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_told_from_one_without() {
        for (text, expected) in [
            ("postgres://u:hunter2@h/db", true),
            ("see https://u:hunter2@h:80", true),
            ("https://h/a:b@c", false),
            ("https://h:443/", false),
            ("https://u@h/", false),
            ("https://u:@h/", false),
            ("https://u:{}@h/", false),
            ("u:p@h", false),
        ] {
            assert_eq!(in_address(text), expected, "{text}");
        }
    }
}
