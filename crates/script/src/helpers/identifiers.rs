//! Identifiers that are the same at every rerun.

use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use uuid::Uuid;

fn namespace(text: &str) -> Uuid {
    match text {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        _ => Uuid::parse_str(text).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes())),
    }
}

/// Adds the functions.
#[starlark_module]
pub(crate) fn functions(builder: &mut GlobalsBuilder) {
    /// A UUID made from a namespace (`"dns"`, `"url"`, `"oid"`, a UUID, or any text) and a name (RFC 9562, version 5).
    fn uuid5(
        #[starlark(require = pos)] namespace: &str,
        #[starlark(require = pos)] name: &str,
    ) -> anyhow::Result<String> {
        Ok(Uuid::new_v5(&self::namespace(namespace), name.as_bytes()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_namespace_gives_the_standard_answer() {
        // The example of RFC 9562, appendix A.4.
        let uuid = Uuid::new_v5(&namespace("dns"), b"www.example.com");
        assert_eq!(uuid.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        assert_eq!(
            namespace("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            Uuid::NAMESPACE_DNS
        );
    }
}
