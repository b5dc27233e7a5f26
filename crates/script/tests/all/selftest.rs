//! `@test` functions.

use crate::support::{self, ADT};

const FEED: &str = r#"
inbound("IB_A", timer(), router = "r")
outbound("OB_A", file(directory = "a"))
outbound("OB_B", file(directory = "b"))
@router
def r(msg):
    return ["h"] if msg.type == "ADT" else []
@handler
def h(msg):
    msg["MSH-5"] = "EPIC"
    return [send("OB_A", msg), send("OB_B", "text"), send("OB_B", msg)]
"#;

fn results(tests: &str, filter: Option<&str>) -> Vec<(String, Option<String>)> {
    let root = support::repository(&[
        ("config/a.star", FEED),
        ("config/a_test.star", tests),
        ("messages/adt_a01.hl7", ADT),
        ("secret.hl7", ADT),
    ]);
    let loaded = support::load_at(root.path()).unwrap_or_else(|problems| panic!("{problems:?}"));
    loaded
        .program
        .run_tests(filter)
        .into_iter()
        .map(|result| (result.name, result.failure))
        .collect()
}

#[test]
fn tests_pass_and_fail_each_on_its_own() {
    let found = results(
        r#"
@test
def sends_to_both():
    out = run("h", sample("messages/adt_a01.hl7"))
    expect_eq(out["OB_A"]["MSH-5"], "EPIC")
    expect_eq([m.text for m in out["OB_B"]][0], "text")
    expect_eq(len(out), 2)

@test
def routes():
    expect_eq(route("r", sample("adt_a01.hl7")), ["h"])
    expect_eq(route("r", sample("""MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5
        PID|1""")), [])

@test
def edits_before_it_runs():
    msg = sample("adt_a01.hl7")
    msg["PV1-2"] = "O"
    expect_eq(run("h", msg)["OB_A"]["PV1-2"], "O")

@test
def is_wrong():
    expect_eq(1 + 1, 3)

@test
def is_wrong_too():
    expect(False, "because")

@test
def expects_a_failure():
    expect_fail(lambda: fail("oh no"), "oh no")
"#,
        None,
    );
    let names: Vec<_> = found
        .iter()
        .map(|(name, failure)| (name.as_str(), failure.is_none()))
        .collect();
    assert_eq!(
        names,
        [
            ("sends_to_both", true),
            ("routes", true),
            ("edits_before_it_runs", true),
            ("is_wrong", false),
            ("is_wrong_too", false),
            ("expects_a_failure", true),
        ]
    );
    let failure = found[3].1.as_deref().unwrap_or_default();
    assert!(
        failure.contains("found 2, expected 3") && failure.contains("config/a_test.star:23"),
        "{failure}"
    );
    assert!(found[4].1.as_deref().unwrap_or_default().contains("because"));
}

#[test]
fn a_sample_is_read_under_messages_only() {
    for (sample, expected) in [
        ("../secret.hl7", "not a path under messages/"),
        ("/etc/hostname", "not a path under messages/"),
        ("messages/../../secret.hl7", "not a path under messages/"),
        ("nothing.hl7", "there is no sample messages/nothing.hl7"),
    ] {
        let found = results(&format!("@test\ndef t():\n    sample(\"{sample}\")\n"), None);
        let failure = found[0].1.as_deref().unwrap_or_default();
        assert!(failure.contains(expected), "{failure}");
    }
}

#[test]
fn a_filter_chooses_tests() {
    let tests = "@test\ndef one(): pass\n@test\ndef two(): pass\n";
    assert_eq!(results(tests, Some("tw")).len(), 1);
    assert_eq!(results(tests, Some("a_test")).len(), 2);
    assert_eq!(results(tests, Some("none")).len(), 0);
}

/// The Python blocks of a document below `docs/`.
fn examples(document: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(document);
    let text = std::fs::read_to_string(&path).expect(document);
    text.split("```python\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

#[test]
fn the_examples_of_the_guides_work_as_they_stand() {
    let feed = &examples("authoring.md")[0];
    let tests = examples("how-to/test-your-functions.md");
    assert!(tests.len() > 1, "{tests:?}");
    let root = support::repository(&[
        ("config/feed.star", feed),
        ("config/feed_test.star", &tests.concat()),
        (
            "environments/dev.toml",
            "acme_adt_host = \"127.0.0.1\"\nacme_adt_port = 2601\n",
        ),
        ("messages/adt_a01.hl7", ADT),
    ]);
    let loaded = support::load_at(root.path()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let results = loaded.program.run_tests(None);
    let failed: Vec<_> = results.iter().filter(|result| result.failure.is_some()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.len() > 4, "{results:#?}");
}
