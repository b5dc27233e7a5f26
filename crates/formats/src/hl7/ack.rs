//! Acknowledgements: building the answer to a message, reading a partner's answer.
//!
//! The answer speaks the separators of the original, swaps sender and receiver (MSH-3..6), copies MSH-11,
//! MSH-12 and MSH-18, and refers to MSH-10 in MSA-2 byte for byte. Its form follows the version in MSH-12:
//! MSH-9 is `ACK` in 2.1, `ACK^A01` to 2.3 and `ACK^A01^ACK` since; ERR-1 says where and why to 2.4, ERR-2
//! to ERR-8 since 2.5 (HL7 chapter 2, "Message control").

use bytes::{BufMut, Bytes, BytesMut};

use super::charset::Charset;
use super::escape::escape;
use super::fault::{Fault, FaultKind};
use super::header::{Header, peek};
use super::message::start_of_header;
use super::path::Path;
use super::separators::Separators;

/// MSA-1 (HL7 table 0008).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Application accept.
    AA,
    /// Application error: the sender may try again.
    AE,
    /// Application reject: it must not.
    AR,
    /// Commit accept (enhanced mode).
    CA,
    /// Commit error: may try again.
    CE,
    /// Commit reject: must not.
    CR,
}

impl Code {
    /// As in MSA-1.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::AA => "AA",
            Code::AE => "AE",
            Code::AR => "AR",
            Code::CA => "CA",
            Code::CE => "CE",
            Code::CR => "CR",
        }
    }

    fn of(text: &[u8]) -> Option<Code> {
        let all = [Code::AA, Code::AE, Code::AR, Code::CA, Code::CE, Code::CR];
        all.into_iter()
            .find(|c| text.eq_ignore_ascii_case(c.as_str().as_bytes()))
    }

    /// Whether the partner has taken the message.
    pub fn is_accept(self) -> bool {
        matches!(self, Code::AA | Code::CA)
    }

    /// Whether the partner refuses it for good.
    pub fn is_reject(self) -> bool {
        matches!(self, Code::AR | Code::CR)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message is not accepted; becomes MSA-3 and the ERR segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckFault {
    /// HL7 table 0357.
    pub code: u16,
    /// Where, as a path such as `PID-3.1`; what is no path is left out.
    pub location: Option<String>,
    /// For a person at the partner. Never content of the message.
    pub text: String,
}

/// The answer to `original` (`None`: it could not be read). `control_id` becomes MSH-10, `timestamp`
/// (`YYYYMMDDHHMMSS`) MSH-7. Segments end with CR, the last one too.
pub fn build(
    original: Option<&Header<'_>>,
    code: Code,
    fault: Option<&AckFault>,
    control_id: &str,
    timestamp: &str,
) -> Bytes {
    let separators = original.map(Header::separators).unwrap_or_default();
    let mut writer = Writer {
        out: BytesMut::with_capacity(256),
        separators,
    };
    writer.header(original, control_id, timestamp);
    let text = fault.map(|f| writer.clean(&f.text, 80)).unwrap_or_default();
    let id = original.map_or(&b""[..], |o| o.field(10));
    writer.segment("MSA", &[code.as_str().as_bytes(), id, text.as_bytes()]);
    if let Some(fault) = fault {
        match Version::of(original) {
            Version::Old | Version::Pair | Version::Triple => writer.error_location(fault),
            Version::Detailed => writer.error_detail(fault),
        }
    }
    writer.out.freeze()
}

/// What the version of the original asks of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// 2.1: MSH-9 is a plain code.
    Old,
    /// 2.2 and 2.3: code and trigger.
    Pair,
    /// 2.3.1 and 2.4: code, trigger and structure.
    Triple,
    /// 2.5 and later (and unknown ones): ERR-2 and following.
    Detailed,
}

impl Version {
    fn of(original: Option<&Header<'_>>) -> Version {
        match original.map_or("", Header::version) {
            "2.0" | "2.0D" | "2.1" => Version::Old,
            "2.2" | "2.3" => Version::Pair,
            "2.3.1" | "2.4" => Version::Triple,
            _ => Version::Detailed,
        }
    }
}

struct Writer {
    out: BytesMut,
    separators: Separators,
}

impl Writer {
    fn header(&mut self, original: Option<&Header<'_>>, control_id: &str, timestamp: &str) {
        let field = |n| original.map_or(&b""[..], |o| o.field(n));
        let (id, time) = (self.clean(control_id, 199), self.clean(timestamp, 26));
        let encoding = self.separators.encoding_characters();
        let message_type = self.message_type(original);
        let or = |bytes: &'_ [u8], default: &'static [u8]| {
            if bytes.is_empty() {
                default.to_vec()
            } else {
                bytes.to_vec()
            }
        };
        let (processing, version) = (or(field(11), b"P"), or(field(12), b"2.5.1"));
        let mut fields: Vec<&[u8]> = vec![
            encoding.as_bytes(),
            field(5),
            field(6),
            field(3),
            field(4),
            time.as_bytes(),
            b"",
            message_type.as_bytes(),
            id.as_bytes(),
            &processing,
            &version,
        ];
        // The answer is ASCII: it claims no character set that would make its reader read it otherwise.
        if self.is_ascii_compatible(field(18)) {
            fields.extend([&b""[..], b"", b"", b"", b"", field(18)]);
        }
        self.segment("MSH", &fields);
    }

    /// Whether MSH-18 names character sets that are known, the first of which reads ASCII as ASCII.
    fn is_ascii_compatible(&self, field: &[u8]) -> bool {
        let separator = self.separators.repetition();
        let mut names = field.split(|byte| Some(*byte) == separator);
        let known = |name: &[u8]| Charset::by_name(std::str::from_utf8(name).ok()?).ok();
        let first = names.next().filter(|name| !name.is_empty()).and_then(known);
        first.is_some_and(Charset::keeps_ascii) && names.all(|name| known(name).is_some())
    }

    fn message_type(&self, original: Option<&Header<'_>>) -> String {
        let component = char::from(self.separators.component());
        let trigger = original.map_or("", Header::trigger);
        match Version::of(original) {
            Version::Old => "ACK".to_owned(),
            _ if trigger.is_empty() => "ACK".to_owned(),
            Version::Pair => format!("ACK{component}{trigger}"),
            _ => format!("ACK{component}{trigger}{component}ACK"),
        }
    }

    /// ERR-1 up to 2.4: segment, sequence, field, and the code with its text as subcomponents.
    fn error_location(&mut self, fault: &AckFault) {
        let place = Place::of(fault);
        let code = fault.code.to_string();
        let cause = match self.separators.subcomponent().map(char::from) {
            Some(sub) => format!("{code}{sub}{}{sub}HL70357", meaning(fault.code)),
            None => code,
        };
        let parts = [place.segment, place.occurrence, place.field, cause];
        let component = char::from(self.separators.component()).to_string();
        let joined = parts.join(&component);
        self.segment("ERR", &[joined.as_bytes()]);
    }

    /// ERR-2 location, ERR-3 code, ERR-4 severity, ERR-8 text, since 2.5.
    fn error_detail(&mut self, fault: &AckFault) {
        let component = char::from(self.separators.component()).to_string();
        let location = Place::of(fault).parts().join(&component);
        let code = [
            fault.code.to_string(),
            meaning(fault.code).to_owned(),
            "HL70357".to_owned(),
        ]
        .join(&component);
        let text = self.clean(&fault.text, 250);
        let fields = [
            &b""[..],
            location.as_bytes(),
            code.as_bytes(),
            b"E",
            b"",
            b"",
            b"",
            text.as_bytes(),
        ];
        self.segment("ERR", &fields);
    }

    fn segment(&mut self, name: &str, fields: &[&[u8]]) {
        let last = fields.iter().rposition(|f| !f.is_empty()).map_or(0, |i| i + 1);
        self.out.put_slice(name.as_bytes());
        for field in &fields[..last] {
            self.out.put_u8(self.separators.field());
            self.out.put_slice(field);
        }
        self.out.put_u8(b'\r');
    }

    /// Text for a field in any character set: ASCII, without control characters, cut, then escaped.
    fn clean(&self, text: &str, max: usize) -> String {
        let ascii = |c: char| match c {
            c if c.is_ascii_control() => ' ',
            c if c.is_ascii() => c,
            _ => '?',
        };
        let cut: String = text.chars().take(max).map(ascii).collect();
        let escaped = escape(&cut, &self.separators).into_owned();
        if self.separators.escape().is_some() {
            return escaped;
        }
        let s = self.separators;
        let structure = [Some(s.field()), Some(s.component()), s.repetition()];
        escaped
            .chars()
            .map(|c| {
                if structure.contains(&u8::try_from(c).ok()) {
                    ' '
                } else {
                    c
                }
            })
            .collect()
    }
}

/// A path taken apart for ERR.
#[derive(Default)]
struct Place {
    segment: String,
    occurrence: String,
    field: String,
    rest: [String; 3],
}

impl Place {
    fn of(fault: &AckFault) -> Place {
        let Some(path) = fault.location.as_deref().and_then(|l| l.parse::<Path>().ok()) else {
            return Place::default();
        };
        let within = path.within();
        let number = |n: Option<u16>| n.map(|n| n.to_string()).unwrap_or_default();
        let repetition = within.map(|w| w.repetition().unwrap_or(1));
        Place {
            segment: path.segment().to_owned(),
            occurrence: path.occurrence().unwrap_or(1).to_string(),
            field: number(path.field()),
            rest: [
                number(repetition),
                number(within.and_then(|w| w.component())),
                number(within.and_then(|w| w.subcomponent())),
            ],
        }
    }

    /// Segment, sequence, field, repetition, component, subcomponent; without empty ends.
    fn parts(self) -> Vec<String> {
        let mut parts = vec![self.segment, self.occurrence, self.field];
        parts.extend(self.rest);
        while parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        parts
    }
}

/// HL7 table 0357.
pub fn meaning(code: u16) -> &'static str {
    match code {
        0 => "Message accepted",
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        104 => "Value too long",
        198 => "Non-conformant cardinality",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        207 => "Application internal error",
        _ => "Other error",
    }
}

/// A partner's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// MSA-1.
    pub code: Code,
    /// MSA-2: the MSH-10 of the message answered, as it stands.
    pub control_id: String,
    /// MSA-3, or ERR-8, or the text of ERR-3; empty if the partner gave none.
    pub text: String,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({})", self.code)
    }
}

/// Reads an acknowledgement. Bytes that are none are a fault.
pub fn parse(raw: &[u8]) -> Result<Reply, Fault> {
    let separators = peek(raw)?.separators();
    let lines = || raw[start_of_header(raw).unwrap_or(0)..].split(|&b| b == b'\r' || b == b'\n');
    let named = |name: &'static [u8]| {
        lines().find(move |l| l.starts_with(name) && l.get(3).is_none_or(|&b| b == separators.field()))
    };
    let Some(msa) = named(b"MSA") else {
        return Err(Fault::new(
            FaultKind::Reply,
            "the answer holds no MSA segment: it is no acknowledgement",
        ));
    };
    let field = |line: &[u8], n: usize| -> Vec<u8> {
        line.split(|&b| b == separators.field())
            .nth(n)
            .unwrap_or_default()
            .to_vec()
    };
    let code = Code::of(field(msa, 1).trim_ascii()).ok_or_else(|| {
        Fault::new(
            FaultKind::Reply,
            "MSA-1 of the answer is none of AA, AE, AR, CA, CE and CR",
        )
        .on("MSA-1")
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let err = named(b"ERR").unwrap_or_default();
    let second = |bytes: Vec<u8>| {
        bytes
            .split(|&b| b == separators.component())
            .nth(1)
            .unwrap_or_default()
            .to_vec()
    };
    let why = [field(msa, 3), field(err, 8), second(field(err, 3))];
    Ok(Reply {
        code,
        control_id: text(field(msa, 2)).trim().to_owned(),
        text: why
            .into_iter()
            .find(|t| !t.is_empty())
            .map(text)
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(original: &str, code: Code, fault: Option<&AckFault>) -> String {
        let header = peek(original.as_bytes()).expect(original);
        let bytes = build(Some(&header), code, fault, "H1", "20260102030405");
        String::from_utf8(bytes.to_vec())
            .expect("text")
            .replace('\r', "\n")
    }

    fn fault() -> AckFault {
        AckFault {
            code: 101,
            location: Some("PID(2)-3.1".into()),
            text: "the patient's id | is missing".into(),
        }
    }

    #[test]
    fn an_acknowledgement_answers_in_the_form_of_the_originals_version() {
        let cases = [
            ("2.1", "ACK"),
            ("2.2", "ACK^A01"),
            ("2.3", "ACK^A01"),
            ("2.3.1", "ACK^A01^ACK"),
            ("2.8", "ACK^A01^ACK"),
        ];
        for (version, message_type) in cases {
            let original = format!("MSH|^~\\&|A|B|C|D|T||ADT^A01^ADT_A01|42|T|{version}\rPID|1");
            assert_eq!(
                answer(&original, Code::AA, None),
                format!("MSH|^~\\&|C|D|A|B|20260102030405||{message_type}|H1|T|{version}\nMSA|AA|42\n")
            );
        }
    }

    #[test]
    fn a_fault_says_where_and_why() {
        let cases = [
            ("2.4", "ERR|PID^2^3^101&Required field missing&HL70357"),
            (
                "2.5.1",
                r"ERR||PID^2^3^1^1|101^Required field missing^HL70357|E||||the patient's id \F\ is missing",
            ),
        ];
        for (version, expected) in cases {
            let original = format!("MSH|^~\\&|A|B|C|D|T||ADT^A01|42|P|{version}");
            let text = answer(&original, Code::AE, Some(&fault()));
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(
                lines[1], r"MSA|AE|42|the patient's id \F\ is missing",
                "{version}"
            );
            assert_eq!(lines[2], expected, "{version}");
        }
    }

    #[test]
    fn it_speaks_the_separators_and_the_character_set_of_the_original() {
        let original = "MSH$%*!@$A$B$C$D$T$$ADT%A01$4%2$P$2.5$$$$$$8859/1";
        assert_eq!(
            answer(original, Code::CA, None),
            "MSH$%*!@$C$D$A$B$20260102030405$$ACK%A01%ACK$H1$P$2.5$$$$$$8859/1\nMSA$CA$4%2\n"
        );
        assert_eq!(
            answer("MSH|^|A", Code::AR, Some(&fault())).lines().nth(1),
            Some("MSA|AR||the patient's id   is missing")
        );
    }

    #[test]
    fn what_could_not_be_read_is_answered_all_the_same() {
        let bytes = build(
            None,
            Code::AR,
            Some(&AckFault {
                location: None,
                ..fault()
            }),
            "H1",
            "20260102030405",
        );
        let text = String::from_utf8(bytes.to_vec())
            .expect("text")
            .replace('\r', "\n");
        assert_eq!(
            text,
            "MSH|^~\\&|||||20260102030405||ACK|H1|P|2.5.1\nMSA|AR||the patient's id \\F\\ is missing\n\
             ERR|||101^Required field missing^HL70357|E||||the patient's id \\F\\ is missing\n"
        );
    }

    #[test]
    fn an_acknowledgement_reads_back_as_it_was_built() {
        for code in [Code::AA, Code::AE, Code::AR, Code::CA, Code::CE, Code::CR] {
            let header = peek(b"MSH|^~\\&|A|B|C|D|T||ADT^A01|ID 7|P|2.5.1").expect("well formed");
            let reply = parse(&build(Some(&header), code, None, "H1", "2026")).expect("an acknowledgement");
            assert_eq!(
                (reply.code, reply.control_id.as_str(), reply.text.as_str()),
                (code, "ID 7", "")
            );
        }
    }

    #[test]
    fn partners_answers_are_read_and_garbage_is_refused() {
        let ok = [
            ("MSH|^~\\&|\nMSA|aa|7\n", Code::AA, "7", ""),
            ("\r\nMSH|^~\\&|\r\nMSA|AE|7|no bed", Code::AE, "7", "no bed"),
            (
                "MSH|^~\\&|\rMSA|AR|7\rERR||PID^1|101^Required^HL70357|E",
                Code::AR,
                "7",
                "Required",
            ),
            ("MSH|^~\\&|\rERR||||||||why\rMSA|CR", Code::CR, "", "why"),
        ];
        for (raw, code, id, text) in ok {
            let reply = parse(raw.as_bytes()).expect(raw);
            assert_eq!(
                (reply.code, reply.control_id.as_str(), reply.text.as_str()),
                (code, id, text),
                "{raw}"
            );
        }
        for raw in [
            "",
            "HTTP/1.1 400",
            "MSH|^~\\&|\rPID|1",
            "MSH|^~\\&|\rMSA|XX|7",
            "MSH|^~\\&|\rMSA",
            "MSH",
        ] {
            assert!(parse(raw.as_bytes()).is_err(), "{raw}");
        }
    }
}
