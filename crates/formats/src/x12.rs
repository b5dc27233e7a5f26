//! X12 interchanges (ASC X12.5): the delimiters from ISA, then segments and elements. No transaction sets:
//! what an element means is the reader's to know.

/// Bytes of an ISA segment up to and with its terminator; its elements have fixed lengths.
const ISA_BYTES: usize = 106;
/// Where ISA-11 stands: the repetition separator since 00402, `U` before.
const REPETITION_AT: usize = 82;
const COMPONENT_AT: usize = 104;
/// Segments of one interchange.
const SEGMENTS_MAX: usize = 100_000;

/// One interchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interchange<'a> {
    /// Stands between elements.
    pub element: char,
    /// Stands between the components of an element.
    pub component: char,
    /// Stands between repetitions, where the version has them.
    pub repetition: Option<char>,
    /// From ISA to IEA, each a list of elements of which the first is the segment's name.
    pub segments: Vec<Vec<&'a str>>,
}

/// Why a text is no interchange. Never quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X12 interchange: {0}")]
pub struct Fault(String);

fn fault(text: impl Into<String>) -> Fault {
    Fault(text.into())
}

/// Reads one interchange. Line breaks after segments are passed over.
pub fn parse(text: &str) -> Result<Interchange<'_>, Fault> {
    let text = text.trim_start();
    if !text.starts_with("ISA") {
        return Err(fault("it does not begin with ISA"));
    }
    let header = text.as_bytes().get(..ISA_BYTES);
    let header = header
        .filter(|header| header.is_ascii())
        .ok_or_else(|| fault("its ISA segment is shorter than 106 characters, or not ASCII"))?;
    let at = |index: usize| char::from(header[index]);
    let (element, component, terminator) = (at(3), at(COMPONENT_AT), at(ISA_BYTES - 1));
    let delimiters = [element, component, terminator];
    let distinct = element != component && component != terminator && element != terminator;
    if !distinct || delimiters.iter().any(char::is_ascii_alphanumeric) {
        return Err(fault("its delimiters cannot be told from ISA"));
    }
    if header.iter().filter(|byte| char::from(**byte) == element).count() != 16 {
        return Err(fault("its ISA segment does not have 16 elements"));
    }
    let repetition = Some(at(REPETITION_AT)).filter(|found| !found.is_ascii_alphanumeric() && *found != ' ');
    let lines = text
        .split(terminator)
        .map(|line| line.trim_start_matches(['\r', '\n']));
    let mut segments: Vec<Vec<&str>> = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if segments.len() == SEGMENTS_MAX {
            return Err(fault("it has more than 100,000 segments"));
        }
        let after_end = segments.last().is_some_and(|last| last[0] == "IEA");
        if after_end {
            return Err(fault("something follows its IEA segment"));
        }
        segments.push(line.split(element).collect());
    }
    if segments.last().is_none_or(|last| last[0] != "IEA") {
        return Err(fault("its last segment is not IEA"));
    }
    Ok(Interchange {
        element,
        component,
        repetition,
        segments,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISA: &str = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260101*1200*^*00501*000000001*0*T*:~";

    #[test]
    fn an_interchange_becomes_segments_of_elements() {
        let text = format!("{ISA}\r\nGS*HS*S*R~ST*270*1~EQ*30:1~SE*3*1~GE*1*1~\nIEA*1*000000001~\n");
        let found = parse(&text).expect("an interchange");
        assert_eq!(
            (found.element, found.component, found.repetition),
            ('*', ':', Some('^'))
        );
        assert_eq!(found.segments.len(), 7);
        assert_eq!(found.segments[0].len(), 17);
        assert_eq!(found.segments[3], ["EQ", "30:1"]);
    }

    #[test]
    fn what_is_no_interchange_is_refused() {
        let cut = &ISA[..80];
        let followed = format!("{ISA}IEA*1*1~ISA*");
        let open = format!("{ISA}GS*HS~");
        let letters = ISA.replace('*', "A");
        for (text, says) in [
            ("", "does not begin with ISA"),
            ("MSH|^~\\&", "does not begin with ISA"),
            (cut, "shorter than 106"),
            (&followed, "something follows"),
            (&open, "last segment is not IEA"),
            (&letters, "delimiters"),
        ] {
            let fault = parse(text).expect_err(says).to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(tail in "\\PC{0,80}") {
            let _ = parse(&tail);
            let _ = parse(&format!("ISA{tail}"));
            let _ = parse(&format!("{ISA}{tail}"));
        }
    }
}
