//! The list of connectors and what they say of themselves.

use std::collections::BTreeSet;

use connectors::registry;
use model::connector::{Param, Value};

use crate::support::{call, seconds, sink, source};

#[test]
fn every_connector_is_found_by_its_name_and_describes_its_options() {
    let specs = registry::specs();
    let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name).collect();
    assert_eq!(
        names,
        BTreeSet::from(["file", "loopback", "mllp", "passthrough", "timer"])
    );
    assert_eq!(names.len(), specs.len());
    for spec in &specs {
        assert_eq!(
            registry::find(spec.name).map(|connector| connector.spec().name),
            Some(spec.name)
        );
        let params: Vec<&Param> = spec.inbound.iter().chain(&spec.outbound).flatten().collect();
        assert!(
            params.iter().all(|param| param.doc.ends_with('.')),
            "{}",
            spec.name
        );
    }
    assert!(registry::find("nothing").is_none());
}

#[test]
fn all_problems_of_a_call_come_at_once() {
    let options = [
        ("port", Value::Int(70_000)),
        ("host", "".into()),
        (
            "allow",
            Value::List(vec!["10.0.0.0/8".into(), "here".into(), "1.2.3.4/99".into()]),
        ),
        ("max_connections", Value::Int(0)),
        ("read_timeout", seconds(0.0)),
    ];
    let Err(problems) = source("mllp", &options) else {
        panic!("taken")
    };
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 6, "{text:#?}");
    assert!(problems.iter().all(|problem| problem.suggestion.is_some()));
}

#[test]
fn options_without_sense_are_refused() {
    let directory = || ("directory", Value::from("/in"));
    for options in [
        vec![("directory", Value::from(" "))],
        vec![directory(), ("glob", "../*.hl7".into())],
        vec![directory(), ("glob", "a[".into())],
        vec![directory(), ("move_to", "/in/".into())],
        vec![directory(), ("error_to", "/in/.".into())],
        vec![directory(), ("max_file_bytes", Value::Int(0))],
        vec![directory(), ("poll_interval", seconds(0.0))],
    ] {
        assert!(source("file", &options).is_err(), "{options:?}");
    }
    assert!(sink("file", &[directory(), ("filename", "../{send}".into())]).is_err());
    assert!(sink("mllp", &[("port", Value::Int(0))]).is_err());
}

#[test]
fn a_connector_is_not_used_in_a_direction_that_it_lacks() {
    for name in ["timer", "loopback", "passthrough"] {
        let connector = registry::find(name).unwrap();
        assert!(connector.spec().outbound.is_none());
        assert!(connector.sink(&call(name, &[], &[])).is_err());
    }
}

#[test]
fn two_spellings_of_one_directory_make_one_claim() {
    let connector = registry::find("file").unwrap();
    let params = connector.spec().inbound.unwrap();
    let claim = |path: &str| connector.claims(&call("file", &params, &[("directory", path.into())]));
    assert_eq!(claim("/in/adt"), ["file:/in/adt"]);
    assert_eq!(claim("/in//./adt/"), claim("/in/adt"));
    let mllp = registry::find("mllp").unwrap();
    let params = mllp.spec().inbound.unwrap();
    let claim = |port: i64| mllp.claims(&call("mllp", &params, &[("port", Value::Int(port))]));
    assert_eq!(claim(2575), ["tcp:2575"]);
    assert!(claim(0).is_empty());
}
