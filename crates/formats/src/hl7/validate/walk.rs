//! Follows a structure over a message's segments, once and without going back.
//!
//! Each step either consumes a segment or moves on in the structure, so the time is bounded by their
//! sizes. Where several places could take a segment the nearest one does. A segment that fits nowhere
//! from here on is reported and stepped over; so one misplaced segment is one fault, not twenty.

use super::grammar::{Kind, Names, Node, Structure};

/// A fault in the order of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault<'a> {
    /// The segment at this position of the list has no place where it stands.
    Unexpected { at: usize },
    /// A required segment is not there; it belongs before position `before` (or at the end).
    Missing { name: &'a str, before: Option<usize> },
}

/// Follows `structure` over segments given by their names; at most `limit` faults.
pub(super) fn walk<'a>(structure: &'a Structure, names: &[&str], limit: usize) -> Vec<Fault<'a>> {
    let bits = names.iter().map(|name| structure.bit(name)).collect();
    let mut walker = Walker {
        bits,
        at: 0,
        faults: Vec::new(),
        limit,
    };
    walker.node(&structure.root, 0);
    while walker.current().is_some() {
        walker.unexpected();
    }
    walker.faults
}

struct Walker<'a> {
    bits: Vec<Names>,
    at: usize,
    faults: Vec<Fault<'a>>,
    limit: usize,
}

impl<'a> Walker<'a> {
    /// The bit of the segment that is next; nothing at the end or once enough faults are found.
    fn current(&self) -> Option<Names> {
        if self.faults.len() >= self.limit {
            return None;
        }
        self.bits.get(self.at).copied()
    }

    fn report(&mut self, fault: Fault<'a>) {
        if self.faults.len() < self.limit {
            self.faults.push(fault);
        }
    }

    fn unexpected(&mut self) {
        self.report(Fault::Unexpected { at: self.at });
        self.at += 1;
    }

    /// Steps over segments that no place from here on could take.
    fn skip_lost(&mut self, wanted: Names) {
        while self.current().is_some_and(|bit| bit & wanted == 0) {
            self.unexpected();
        }
    }

    /// Whether the current segment is to be taken by this place: it can begin here; or it stands inside, so
    /// that only what should have begun the place is missing, and the place has to be filled or nothing
    /// after it could take the segment.
    fn belongs(&self, node: &Node, due: bool, after: Names) -> bool {
        self.current()
            .is_some_and(|bit| bit & node.first != 0 || bit & node.names != 0 && (due || bit & after == 0))
    }

    /// `after`: all that may still come once this place is done.
    fn node(&mut self, node: &'a Node, after: Names) {
        let wanted = node.names | after;
        self.skip_lost(wanted);
        let leaf = matches!(node.kind, Kind::Segment(_));
        if !self.belongs(node, !node.nullable, after) {
            if !node.nullable {
                let before = self.current().map(|_| self.at);
                self.report(Fault::Missing {
                    name: first_required(node),
                    before,
                });
            }
            return;
        }
        loop {
            let started = self.at;
            self.once(node, if node.repeats && !leaf { wanted } else { after });
            if self.at == started && self.current().is_some_and(|bit| bit & after == 0) {
                self.unexpected();
            }
            self.skip_lost(wanted);
            // Every round consumes something, or it was the last.
            if !node.repeats || self.at == started || !self.belongs(node, false, after) {
                return;
            }
        }
    }

    fn once(&mut self, node: &'a Node, after: Names) {
        match &node.kind {
            Kind::Segment(_) => self.at += 1,
            Kind::Anything => self.at = self.bits.len(),
            Kind::Choice(alternatives) => {
                let begun = alternatives
                    .iter()
                    .find(|node| self.current().is_some_and(|bit| bit & node.first != 0));
                let chosen = begun.or_else(|| alternatives.iter().find(|node| self.belongs(node, true, 0)));
                if let Some(chosen) = chosen {
                    self.node(chosen, after);
                }
            }
            Kind::Sequence(nodes) => {
                for (i, inner) in nodes.iter().enumerate() {
                    let rest = nodes[i + 1..].iter().fold(after, |all, node| all | node.names);
                    self.node(inner, rest);
                }
            }
        }
    }
}

/// The segment whose absence is to be named when a place is not filled.
fn first_required(node: &Node) -> &str {
    match &node.kind {
        Kind::Segment(name) => name,
        Kind::Anything => "",
        Kind::Choice(nodes) => nodes.first().map_or("", first_required),
        Kind::Sequence(nodes) => nodes
            .iter()
            .find(|node| !node.nullable)
            .or(nodes.first())
            .map_or("", first_required),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::dictionary::Version;
    use crate::hl7::validate::grammar;

    fn check(structure: &str, version: Version, segments: &str) -> String {
        let names: Vec<_> = segments.split(' ').collect();
        let structure = grammar::structure(structure, version).unwrap();
        let faults = walk(structure, &names, 100);
        let text = faults.iter().map(|fault| match fault {
            Fault::Unexpected { at } => format!("-{}@{at}", names[*at]),
            Fault::Missing { name, .. } => format!("+{name}"),
        });
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_structure_is_followed_and_each_slip_is_named_once() {
        let cases = [
            ("ADT_A01", "MSH EVN PID PV1", ""),
            (
                "ADT_A01",
                "MSH SFT SFT EVN PID PD1 NK1 NK1 PV1 PV2 OBX OBX AL1 DG1 DRG PR1 ROL GT1 IN1 IN2 IN3 IN1 ACC",
                "",
            ),
            ("ADT_A01", "MSH PID PV1", "+EVN"),
            ("ADT_A01", "MSH EVN PID", "+PV1"),
            ("ADT_A01", "MSH EVN PID PV1 NK1 OBX AL1", "-NK1@4"),
            ("ADT_A01", "MSH EVN PV1 PID AL1", "+PID -PID@3"),
            ("ADT_A01", "MSH EVN PID PV1 IN2 IN3", "+IN1"),
            ("ADT_A01", "MSH EVN PID PV1 OBR DG1", "-OBR@4"),
            ("ADT_A01", "MSH EVN EVN PID PV1", "-EVN@2"),
            ("ADT_A01", "MSH", "+EVN +PID +PV1"),
            ("ADT_A17", "MSH EVN PID PV1 PID PV1", ""),
            ("ADT_A17", "MSH EVN PID PV1", "+PID +PV1"),
            ("ADT_A39", "MSH EVN PID MRG PID MRG PV1 PID MRG", ""),
            ("ADT_A39", "MSH EVN PID PID MRG", "+MRG"),
            (
                "ORU_R01",
                "MSH PID PV1 ORC OBR NTE OBX NTE OBX OBR OBX SPM PID OBR OBX",
                "",
            ),
            ("ORU_R01", "MSH PID OBX", "+OBR"),
            ("ORU_R01", "MSH OBR OBX DSC", ""),
            ("ORM_O01", "MSH PID PV1 ORC OBR NTE DG1 OBX ORC RXO ORC", ""),
            ("ORM_O01", "MSH PID OBR NTE", "+ORC"),
            (
                "OML_O21",
                "MSH PID PV1 ORC TQ1 OBR NTE OBX SPM SAC ORC OBR PID PV1 ORC OBR OBX",
                "",
            ),
            ("SIU_S12", "MSH SCH PID PV1 RGS AIS NTE AIG AIL AIP RGS AIL", ""),
            ("RSP_K11", "MSH MSA QAK QPD PID PV1 PID XYZ", ""),
            ("ACK", "MSH MSA ERR ERR", ""),
            ("ACK", "MSH ERR", "+MSA"),
        ];
        for (structure, segments, expected) in cases {
            assert_eq!(
                check(structure, Version::V2_5_1, segments),
                expected,
                "{structure}: {segments}"
            );
        }
    }

    #[test]
    fn a_version_decides_what_is_there_and_what_has_to_be() {
        let cases = [
            ("ADT_A01", Version::V2_4, "MSH SFT EVN PID PV1", "-SFT@1"),
            ("ADT_A01", Version::V2_5, "MSH SFT EVN PID PV1", ""),
            ("ADT_A18", Version::V2_3_1, "MSH EVN PID PV1", ""),
            ("ADT_A18", Version::V2_4, "MSH EVN PID PV1", "+MRG"),
            ("VXU_V04", Version::V2_4, "MSH PID RXA RXR", ""),
            ("VXU_V04", Version::V2_5_1, "MSH PID RXA RXR", "+ORC"),
            ("RDE_O11", Version::V2_4, "MSH PID ORC RXE RXR", ""),
            ("RDE_O11", Version::V2_5, "MSH PID ORC RXE RXR", "+TQ1"),
        ];
        for (structure, version, segments, expected) in cases {
            assert_eq!(
                check(structure, version, segments),
                expected,
                "{structure} {version}: {segments}"
            );
        }
    }

    #[test]
    fn faults_are_bounded_and_so_is_the_walk() {
        let names = vec!["OBR"; 100_000];
        let structure = grammar::structure("ADT_A01", Version::V2_5).unwrap();
        assert_eq!(walk(structure, &names, 10).len(), 10);
        let structure = grammar::structure("ORU_R01", Version::V2_5).unwrap();
        assert_eq!(
            walk(structure, &names, 10),
            [Fault::Missing {
                name: "MSH",
                before: Some(0)
            }]
        );
    }
}
