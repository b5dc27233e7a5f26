//! The text of `holdfast.pyi`: what a configuration file can use, in the form that Python editors
//! complete from. Connector factories are written from the same specifications that check them.

use std::fmt::Write;

use model::connector::{Param, ParamKind, Spec, Value};

/// Everything that does not depend on the connectors.
const FIXED: &str = include_str!("stub.pyi");

/// The stub for a set of connectors.
pub fn stub(connectors: &[Spec]) -> String {
    let mut out = FIXED.to_owned();
    out.push_str("\n# Connectors\n");
    for spec in connectors {
        out.push('\n');
        factory(&mut out, spec);
    }
    out
}

fn factory(out: &mut String, spec: &Spec) {
    let params = merged(spec);
    let required = |param: &&Merged<'_>| param.param.default.is_none() && param.always;
    let mut text = String::new();
    for one in params.iter().filter(required) {
        let _ = write!(text, ", {}: {}", one.param.name, kind(one.param.kind));
    }
    for one in params.iter().filter(|one| !required(one)) {
        let default = one
            .param
            .default
            .as_ref()
            .map_or_else(|| "...".to_owned(), literal);
        let none = if one.param.default == Some(Value::None) {
            " | None"
        } else {
            ""
        };
        let _ = write!(
            text,
            ", {}: {}{none} = {default}",
            one.param.name,
            kind(one.param.kind)
        );
    }
    let star = if text.is_empty() { "" } else { "*" };
    let _ = writeln!(out, "def {}({star}{text}) -> Connector:", spec.name);
    let _ = writeln!(out, "    \"\"\"{}", spec.summary);
    if !params.is_empty() {
        out.push('\n');
    }
    for one in &params {
        let _ = writeln!(out, "    {}: {}{}", one.param.name, one.param.doc, one.side);
    }
    let _ = writeln!(out, "    \"\"\"");
}

/// An option of either direction.
struct Merged<'a> {
    param: &'a Param,
    /// Whether both directions, or the only one, have it.
    always: bool,
    side: &'static str,
}

fn merged(spec: &Spec) -> Vec<Merged<'_>> {
    let inbound = spec.inbound.as_deref();
    let outbound = spec.outbound.as_deref();
    let has = |side: Option<&[Param]>, name: &str| {
        side.is_none_or(|params| params.iter().any(|param| param.name == name))
    };
    let mut all: Vec<Merged<'_>> = Vec::new();
    for param in inbound.into_iter().chain(outbound).flatten() {
        if all.iter().any(|known| known.param.name == param.name) {
            continue;
        }
        let (receives, sends) = (has(inbound, param.name), has(outbound, param.name));
        let side = match (receives, sends) {
            (true, false) => " (inbound)",
            (false, true) => " (outbound)",
            _ => "",
        };
        all.push(Merged {
            param,
            always: receives && sends,
            side,
        });
    }
    all
}

fn kind(kind: ParamKind) -> String {
    match kind {
        ParamKind::Int | ParamKind::Port => "int".to_owned(),
        ParamKind::Bool => "bool".to_owned(),
        ParamKind::Text => "str".to_owned(),
        ParamKind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("Literal[{}]", words.join(", "))
        }
        ParamKind::TextList => "list[str]".to_owned(),
        ParamKind::Seconds => "float".to_owned(),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Micros(micros) if micros % 1_000_000 == 0 => (micros / 1_000_000).to_string(),
        Value::Micros(micros) => {
            let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            text.trim_end_matches('0').to_owned()
        }
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("{items:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_shows_its_options_with_their_defaults() {
        let spec = Spec {
            name: "tcp",
            summary: "Bytes over a socket.",
            inbound: Some(vec![Param::required("port", ParamKind::Port, "Where to listen.")]),
            outbound: Some(vec![
                Param::required("host", ParamKind::Text, "Where to connect."),
                Param::required("port", ParamKind::Port, "Where to connect."),
                Param::optional(
                    "timeout",
                    ParamKind::Seconds,
                    std::time::Duration::from_millis(2_500),
                    "How long.",
                ),
                Param::optional("mode", ParamKind::Choice(&["a", "b"]), "a", "How."),
            ]),
        };
        let mut out = String::new();
        factory(&mut out, &spec);
        insta::assert_snapshot!(out, @r#"
        def tcp(*, port: int, host: str = ..., timeout: float = 2.5, mode: Literal["a", "b"] = "a") -> Connector:
            """Bytes over a socket.

            port: Where to listen.
            host: Where to connect. (outbound)
            timeout: How long. (outbound)
            mode: How. (outbound)
            """
        "#);
    }

    #[test]
    fn every_global_of_the_host_is_in_the_stub() {
        let text = stub(&[]);
        let standard = starlark::environment::GlobalsBuilder::standard().build();
        let known: Vec<String> = standard.names().map(|name| name.as_str().to_owned()).collect();
        let extra = [
            "struct",
            "map",
            "filter",
            "typing",
            "set",
            "eval_type",
            "isinstance",
            "_delete",
        ];
        let globals = crate::globals::build(&[], &std::collections::BTreeSet::new());
        let missing: Vec<String> = globals
            .names()
            .map(|name| name.as_str().to_owned())
            .filter(|name| !known.contains(name) && !extra.contains(&name.as_str()))
            .filter(|name| {
                !text.contains(&format!("def {name}(")) && !text.contains(&format!("class {name}"))
            })
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }
}
