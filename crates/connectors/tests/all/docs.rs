//! The option tables of `docs/connectors.md` are those of the code.

use std::fmt::Write;
use std::path::Path;

use connectors::registry;
use model::connector::{Param, Spec, Value};

/// Set to anything, the test writes the tables instead of comparing them.
const UPDATE: &str = "HOLDFAST_UPDATE_DOCS";

fn shown(value: &Value) -> String {
    match value {
        Value::None => "off".to_owned(),
        Value::Bool(true) => "`True`".to_owned(),
        Value::Bool(false) => "`False`".to_owned(),
        Value::Int(number) => format!("`{number}`"),
        Value::Micros(micros) => format!("`{}`", *micros as f64 / 1e6),
        Value::Text(text) => format!("`\"{text}\"`"),
        Value::List(list) => format!("`{list:?}`"),
    }
}

fn table(params: &[Param]) -> String {
    let mut text = String::from("\n| option | takes | default | meaning |\n|---|---|---|---|\n");
    for param in params {
        let default = param.default.as_ref().map_or("must be given".to_owned(), shown);
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            param.name, param.kind, param.doc
        );
    }
    text
}

fn tables(spec: &Spec) -> Vec<(String, String)> {
    [("inbound", &spec.inbound), ("outbound", &spec.outbound)]
        .into_iter()
        .filter_map(|(direction, params)| {
            Some((format!("{} {direction}", spec.name), table(params.as_deref()?)))
        })
        .filter(|(_, table)| table.lines().count() > 3)
        .collect()
}

#[test]
fn the_documented_options_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/connectors.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    for (name, expected) in registry::specs().iter().flat_map(tables) {
        let (open, close) = (format!("<!-- options: {name} -->"), "<!-- end -->");
        let start = document
            .find(&open)
            .unwrap_or_else(|| panic!("no `{open}` in docs/connectors.md"))
            + open.len();
        let end = start + document[start..].find(close).expect("an end mark");
        if std::env::var_os(UPDATE).is_some() {
            document.replace_range(start..end, &expected);
        } else {
            assert_eq!(
                &document[start..end],
                expected,
                "run this test with {UPDATE}=1 to renew the table of {name}"
            );
        }
    }
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, document).unwrap();
    }
}
