use std::collections::BTreeSet;

use super::*;
use crate::hl7::Message;
use crate::hl7::validate;

fn parse(bytes: &Bytes) -> Message {
    Message::parse(bytes.clone()).unwrap()
}

fn text(message: &Message, path: &str) -> String {
    message.get_str(path).unwrap().unwrap_or_default().into_owned()
}

#[test]
fn every_message_passes_the_strict_validation_of_its_version() {
    for version in Version::ALL.iter().filter(|version| **version >= Version::V2_3) {
        for seed in 0..8 {
            let size = [None, Some(300), Some(1024), Some(6000)][seed as usize % 4];
            let mut generator = Generator::new(seed).version(*version);
            generator.settings.size = size;
            for kind in Kind::all() {
                let bytes = generator.message(&kind);
                let report = validate::report(&parse(&bytes), &validate::Options::default());
                let shown = String::from_utf8_lossy(&bytes).replace('\r', "\n");
                assert_eq!(report.violations, vec![], "{kind} {version} {seed}\n{shown}");
                assert!(
                    report.coverage.structure.is_some(),
                    "{kind} {version}: its structure is not known"
                );
                let strange: Vec<_> = report
                    .coverage
                    .unknown_segments
                    .iter()
                    .filter(|name| *name != "ZPD")
                    .collect();
                assert!(strange.is_empty(), "{kind} {version}: {strange:?}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let stream = |seed| {
        let mut generator = Generator::new(seed);
        (0..200).map(|_| generator.mixed()).collect::<Vec<_>>()
    };
    assert_eq!(stream(7), stream(7));
    assert_ne!(stream(7), stream(8));
}

#[test]
fn a_message_says_what_it_is() {
    let mut generator = Generator::new(1)
        .date("20240229235959")
        .unwrap()
        .control_prefix("X-")
        .unwrap();
    for kind in Kind::all() {
        let message = parse(&generator.message(&kind));
        assert_eq!(text(&message, "MSH-9.1"), kind.code());
        assert_eq!(text(&message, "MSH-9.2"), kind.trigger());
        assert_eq!(text(&message, "MSH-9.3"), kind.structure());
        assert_eq!(text(&message, "MSH-7"), "20240229235959");
        assert!(text(&message, "MSH-10").starts_with("X-"));
    }
}

#[test]
fn control_ids_are_unique_and_can_be_given() {
    let mut generator = Generator::new(1);
    let kind = Kind::parse("ORU").unwrap();
    let ids: BTreeSet<_> = (0..500)
        .map(|_| text(&parse(&generator.message(&kind)), "MSH-10"))
        .collect();
    assert_eq!(ids.len(), 500);
    assert_eq!(
        text(&parse(&generator.message_with_id(&kind, "mine")), "MSH-10"),
        "mine"
    );
}

#[test]
fn a_patient_number_means_the_same_person_in_every_message() {
    let mut generator = Generator::new(3).patients(3);
    let mut people = BTreeSet::new();
    for kind in ["ADT^A01", "ADT^A40", "ORU^R01", "SIU^S12"].map(|name| Kind::parse(name).unwrap()) {
        for _ in 0..40 {
            let message = parse(&generator.message(&kind));
            people.insert(["PID-3.1", "PID-5", "PID-7", "PID-8", "PID-11"].map(|path| text(&message, path)));
        }
    }
    assert_eq!(people.len(), 3);
}

#[test]
fn the_two_patients_of_a_swap_are_two_people() {
    let mut generator = Generator::new(3);
    let message = parse(&generator.message(&Kind::parse("ADT^A17").unwrap()));
    assert_ne!(text(&message, "PID-3.1"), text(&message, "PID(2)-3.1"));
    assert_ne!(text(&message, "PID-5"), text(&message, "PID(2)-5"));
}

#[test]
fn a_message_has_about_the_size_asked_for() {
    for size in [1024, 2048, 10_000, 100_000, 5_000_000] {
        for kind in ["ADT^A01", "ADT^A40", "ORU^R01", "ORM^O01", "MFN^M02", "ACK"]
            .map(|name| Kind::parse(name).unwrap())
        {
            let length = Generator::new(5).size(size).message(&kind).len();
            assert!(length.abs_diff(size) <= 64, "{kind}: {length} for {size}");
        }
    }
}

#[test]
fn a_kind_that_is_younger_than_the_version_asked_for_is_made_in_its_first_version() {
    let mut generator = Generator::new(1).version(Version::V2_3);
    assert_eq!(
        text(&parse(&generator.message(&Kind::parse("OML").unwrap())), "MSH-12"),
        "2.4"
    );
    assert_eq!(
        text(&parse(&generator.message(&Kind::parse("ADT").unwrap())), "MSH-12"),
        "2.3"
    );
}

#[test]
fn dates_and_prefixes_that_could_not_stand_are_refused() {
    for date in [
        "",
        "2024",
        "20241301000000",
        "20240229250000",
        "2024022923595",
        "20240229|00000",
    ] {
        assert_eq!(Generator::new(1).date(date).err(), Some(BadDate), "{date}");
    }
    for prefix in ["a|b", "a^b", "elevenchars", "ä", "a b"] {
        assert_eq!(
            Generator::new(1).control_prefix(prefix).err(),
            Some(BadPrefix),
            "{prefix}"
        );
    }
}

#[test]
fn the_mix_names_only_kinds_that_exist_and_its_shares_add_up() {
    assert!(
        MIX.iter()
            .all(|(name, _)| Kind::parse(name).is_some_and(|kind| kind.name() == *name))
    );
    assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), MIX_TOTAL);
    let mut generator = Generator::new(1);
    let drawn: BTreeSet<_> = (0..5000).map(|_| generator.mixed_kind()).collect();
    assert_eq!(drawn.len(), MIX.len());
}

#[test]
fn a_template_replaces_what_has_to_differ_and_nothing_else() {
    let mut generator = Generator::new(9).size(1500);
    for kind in Kind::all() {
        let template = generator.template(&kind);
        let first = parse(&template.render("ONE", None, None));
        let second = parse(&template.render("TWO-LONGER", Some("20300101000000"), Some("T999999")));
        assert_eq!(text(&first, "MSH-10"), "ONE");
        assert_eq!(text(&second, "MSH-10"), "TWO-LONGER");
        assert_eq!(text(&second, "MSH-7"), "20300101000000");
        if kind.structure() != "ADT_A20" && second.segment_count(Some("PID")) > 0 {
            assert_eq!(text(&second, "PID-3.1"), "T999999", "{kind}");
            assert_eq!(text(&first, "PID-5"), text(&second, "PID-5"));
        }
        assert_eq!(
            validate::check(&second, &validate::Options::default()),
            vec![],
            "{kind}"
        );
        assert_eq!(first.segment_count(None), second.segment_count(None));
    }
}
