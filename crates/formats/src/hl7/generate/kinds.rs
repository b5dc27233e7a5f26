//! Which messages can be made: types, trigger events, and the segments of each.

use std::fmt;
use std::sync::OnceLock;

use crate::hl7::dictionary::Version;

/// The ADT trigger events in use: A01 to A62 without A19 (a query of its own code) and the never assigned
/// A56 to A59.
pub const ADT_TRIGGERS: [&str; 57] = [
    "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A11", "A12", "A13", "A14", "A15",
    "A16", "A17", "A18", "A20", "A21", "A22", "A23", "A24", "A25", "A26", "A27", "A28", "A29", "A30", "A31",
    "A32", "A33", "A34", "A35", "A36", "A37", "A38", "A39", "A40", "A41", "A42", "A43", "A44", "A45", "A46",
    "A47", "A48", "A49", "A50", "A51", "A52", "A53", "A54", "A55", "A60", "A61", "A62",
];

/// The message types, most common first.
pub const TYPES: [&str; 13] = [
    "ADT", "ORU", "ORM", "OML", "SIU", "MDM", "DFT", "VXU", "MFN", "RDE", "BAR", "QBP", "ACK",
];

/// Code, structure, first version, events, segments. `X?` is left out at times, `X*` comes one to four times,
/// `X+2.5` is there from that version on, `>X` marks where padding of that sort goes.
const RECIPES: &[(&str, &str, Version, &str, &str)] = &[
    (
        "ADT",
        "ADT_A01",
        Version::V2_1,
        "A01 A04 A08 A13",
        "EVN PID PD1? NK1? PV1 PV2? OBX? >OBX AL1? DG1? PR1? GT1? IN1?",
    ),
    (
        "ADT",
        "ADT_A02",
        Version::V2_1,
        "A02",
        "EVN PID PD1? PV1 PV2? OBX? >OBX",
    ),
    (
        "ADT",
        "ADT_A03",
        Version::V2_1,
        "A03",
        "EVN PID PD1? PV1 PV2? DG1? PR1? OBX? >OBX",
    ),
    (
        "ADT",
        "ADT_A05",
        Version::V2_1,
        "A05 A14 A28 A31",
        "EVN PID PD1? NK1? PV1 PV2? OBX? >OBX AL1? DG1? GT1? IN1?",
    ),
    (
        "ADT",
        "ADT_A06",
        Version::V2_1,
        "A06 A07",
        "EVN PID PD1? MRG? NK1? PV1 PV2? OBX? >OBX AL1? DG1? GT1? IN1?",
    ),
    (
        "ADT",
        "ADT_A09",
        Version::V2_1,
        "A09 A10 A11 A12",
        "EVN PID PD1? PV1 PV2? OBX? >OBX",
    ),
    (
        "ADT",
        "ADT_A15",
        Version::V2_1,
        "A15",
        "EVN PID PD1? PV1 PV2? OBX? >OBX",
    ),
    (
        "ADT",
        "ADT_A16",
        Version::V2_1,
        "A16",
        "EVN PID PD1? PV1 PV2? OBX? >OBX DG1?",
    ),
    (
        "ADT",
        "ADT_A17",
        Version::V2_1,
        "A17",
        "EVN PID PV1 OBX? PID PV1 >OBX",
    ),
    ("ADT", "ADT_A18", Version::V2_1, "A18", "EVN PID PD1? MRG PV1"),
    ("ADT", "ADT_A20", Version::V2_1, "A20", "EVN NPU"),
    (
        "ADT",
        "ADT_A21",
        Version::V2_1,
        "A21 A22 A23 A25 A26 A27 A29 A32 A33",
        "EVN PID PD1? PV1 PV2? OBX? >OBX",
    ),
    ("ADT", "ADT_A24", Version::V2_1, "A24", "EVN PID PV1? PID PV1?"),
    ("ADT", "ADT_A37", Version::V2_1, "A37", "EVN PID PV1? PID PV1?"),
    (
        "ADT",
        "ADT_A30",
        Version::V2_1,
        "A30 A34 A35 A36 A46 A47 A48 A49",
        "EVN PID PD1? MRG",
    ),
    (
        "ADT",
        "ADT_A38",
        Version::V2_3,
        "A38",
        "EVN PID PD1? PV1 PV2? OBX? >OBX DG1?",
    ),
    (
        "ADT",
        "ADT_A39",
        Version::V2_3,
        "A39 A40 A41 A42",
        "EVN PID PD1? MRG PV1?",
    ),
    ("ADT", "ADT_A43", Version::V2_3, "A43 A44", "EVN PID PD1? MRG"),
    ("ADT", "ADT_A45", Version::V2_3, "A45", "EVN PID PD1? MRG PV1"),
    ("ADT", "ADT_A50", Version::V2_3, "A50 A51", "EVN PID PD1? MRG PV1"),
    (
        "ADT",
        "ADT_A52",
        Version::V2_4,
        "A52 A53",
        "EVN PID PD1? PV1 PV2?",
    ),
    (
        "ADT",
        "ADT_A54",
        Version::V2_4,
        "A54 A55",
        "EVN PID PD1? PV1 PV2?",
    ),
    ("ADT", "ADT_A60", Version::V2_4, "A60", "EVN PID PV1? IAM*"),
    (
        "ADT",
        "ADT_A61",
        Version::V2_4,
        "A61 A62",
        "EVN PID PD1? PV1 PV2?",
    ),
    (
        "ORU",
        "ORU_R01",
        Version::V2_1,
        "R01",
        "PID PD1? PV1 ORC.RESULT OBR.RESULT OBX* >OBX NTE?",
    ),
    (
        "ORM",
        "ORM_O01",
        Version::V2_1,
        "O01",
        "PID PD1? PV1 AL1? ORC OBR NTE? >NTE DG1?",
    ),
    (
        "OML",
        "OML_O21",
        Version::V2_4,
        "O21",
        "PID PD1? PV1 ORC TQ1+2.5 OBR NTE? >NTE DG1? SPM+2.5",
    ),
    (
        "SIU",
        "SIU_S12",
        Version::V2_3,
        "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
        "SCH NTE? >NTE PID PV1? RGS AIS AIG? AIL? AIP",
    ),
    (
        "MDM",
        "MDM_T02",
        Version::V2_3,
        "T02 T04 T06 T08 T10",
        "EVN PID PV1 TXA OBX.TEXT* >OBX",
    ),
    (
        "MDM",
        "MDM_T01",
        Version::V2_3,
        "T01 T03 T05 T07 T09 T11",
        "EVN PID PV1 TXA",
    ),
    (
        "DFT",
        "DFT_P03",
        Version::V2_1,
        "P03",
        "EVN PID PV1 OBX? >OBX FT1* DG1?",
    ),
    (
        "VXU",
        "VXU_V04",
        Version::V2_3,
        "V04",
        "PID PD1? NK1? PV1 ORC.RESULT RXA RXR OBX? >OBX",
    ),
    ("MFN", "MFN_M02", Version::V2_2, "M02", "MFI MFE STF PRA?"),
    (
        "RDE",
        "RDE_O11",
        Version::V2_4,
        "O11",
        "PID PD1? PV1 AL1? ORC RXE TQ1+2.5 RXR OBX? >OBX",
    ),
    (
        "BAR",
        "BAR_P01",
        Version::V2_1,
        "P01",
        "EVN PID PV1 OBX? >OBX DG1? GT1? IN1?",
    ),
    ("QBP", "QBP_Q11", Version::V2_4, "Q11", "QPD RCP"),
    ("QBP", "QBP_Q21", Version::V2_4, "Q21 Q22", "QPD RCP"),
    ("ACK", "ACK", Version::V2_1, "A01", "MSA"),
];

struct Entry {
    code: &'static str,
    trigger: &'static str,
    recipe: usize,
    name: String,
}

fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let of_recipe =
            |(recipe, (code, _, _, triggers, _)): (usize, &(&'static str, _, _, &'static str, _))| {
                let code = *code;
                triggers
                    .split(' ')
                    .map(move |trigger| Entry {
                        code,
                        trigger,
                        recipe,
                        name: format!("{code}^{trigger}"),
                    })
                    .collect::<Vec<_>>()
            };
        RECIPES.iter().enumerate().flat_map(of_recipe).collect()
    })
}

/// A message type with its trigger event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u16);

impl Kind {
    /// Reads `ADT^A01`, `ADT_A01` (the event, not the structure) or a code alone, which means its most
    /// common event.
    pub fn parse(text: &str) -> Option<Kind> {
        let mut parts = text.trim().split(['^', '_']);
        let (code, trigger) = (parts.next()?, parts.next());
        let fits = |entry: &Entry| {
            entry.code.eq_ignore_ascii_case(code)
                && trigger.is_none_or(|trigger| entry.trigger.eq_ignore_ascii_case(trigger))
        };
        entries().iter().position(fits).map(Kind::at)
    }

    /// All that can be made: the 57 of ADT, then those of the other types.
    pub fn all() -> impl Iterator<Item = Kind> {
        (0..entries().len()).map(Kind::at)
    }

    fn at(index: usize) -> Kind {
        Kind(u16::try_from(index).unwrap_or(u16::MAX))
    }

    fn entry(self) -> &'static Entry {
        &entries()[usize::from(self.0)]
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// `ADT`
    pub fn code(self) -> &'static str {
        self.entry().code
    }

    /// `A01`
    pub fn trigger(self) -> &'static str {
        self.entry().trigger
    }

    /// `ADT^A01`
    pub fn name(self) -> &'static str {
        &self.entry().name
    }

    /// The structure that MSH-9.3 names: `ADT_A05` for ADT^A28.
    pub fn structure(self) -> &'static str {
        RECIPES[self.entry().recipe].1
    }

    /// The first version that has it.
    pub fn since(self) -> Version {
        RECIPES[self.entry().recipe].2
    }

    pub(super) fn recipe(self) -> &'static str {
        RECIPES[self.entry().recipe].4
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_57_adt_events_and_13_types_can_be_made() {
        let made: BTreeSet<_> = Kind::all()
            .filter(|kind| kind.code() == "ADT")
            .map(|kind| kind.trigger())
            .collect();
        assert_eq!(made, ADT_TRIGGERS.into_iter().collect());
        assert_eq!(made.len(), 57);
        let types: BTreeSet<_> = Kind::all().map(|kind| kind.code()).collect();
        assert_eq!(types, TYPES.into_iter().collect());
        assert_eq!(types.len(), 13);
    }

    #[test]
    fn a_kind_reads_back_from_its_name_and_a_code_means_its_first_event() {
        for kind in Kind::all() {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        let cases = [
            ("ADT", Some("ADT^A01")),
            ("adt^a08", Some("ADT^A08")),
            ("ORU_R01", Some("ORU^R01")),
            ("MDM", Some("MDM^T02")),
            ("ADT^A19", None),
            ("XYZ", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Kind::parse(text).map(Kind::name), expected, "{text}");
        }
    }
}
