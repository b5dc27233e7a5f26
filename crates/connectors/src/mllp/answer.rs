//! What is answered to a frame. Pure.
//!
//! An answer is built from an [`Accepted`] only, which holds the store's receipt: its MSH-10 is the
//! number of the stored message and its MSH-7 the time of the commit.
//!
//! Original mode (MSH-15 and MSH-16 empty): always AA, AE or AR. Enhanced mode: MSH-15 says whether a
//! commit answer (CA, CE, CR) is due. Where it asks for none, MSH-16 may still ask for an application
//! answer; as the engine is what the sender talks to, it gets AA, AE or AR at the same commit. Words
//! that are not of table 0155 count as `AL`: better one answer too many than a sender that waits.

use bytes::Bytes;
use chrono::{DateTime, Local};
use formats::hl7::ack::{self, AckFault, Code};
use formats::hl7::{Header, peek};
use model::Timestamp;

use crate::contract::{Accepted, Verdict};

/// The answer to a frame, or nothing when its header asks for none.
pub(crate) fn answer(raw: &[u8], accepted: &Accepted) -> Option<Bytes> {
    let header = peek(raw).ok();
    let code = code(header.as_ref(), &accepted.verdict)?;
    let fault = match &accepted.verdict {
        Verdict::Accept => None,
        Verdict::Error(fault) | Verdict::Reject(fault) => Some(AckFault {
            code: fault.code,
            location: fault.location.clone(),
            text: fault.text.clone(),
        }),
    };
    let id = accepted.receipt.id().to_string();
    Some(ack::build(
        header.as_ref(),
        code,
        fault.as_ref(),
        &id,
        &hl7_time(accepted.receipt.at()),
    ))
}

fn code(header: Option<&Header<'_>>, verdict: &Verdict) -> Option<Code> {
    let commit = header.map_or("", |header| header.accept_ack().trim());
    let application = header.map_or("", |header| header.application_ack().trim());
    let accepted = matches!(verdict, Verdict::Accept);
    if commit.is_empty() && application.is_empty() {
        return Some(application_code(verdict));
    }
    if !commit.is_empty() && due(commit, accepted) {
        return Some(commit_code(verdict));
    }
    let asked = matches!(commit, "" | "NE") && !application.is_empty();
    (asked && due(application, accepted)).then(|| application_code(verdict))
}

/// HL7 table 0155.
fn due(condition: &str, accepted: bool) -> bool {
    match condition {
        "NE" => false,
        "ER" => !accepted,
        "SU" => accepted,
        _ => true,
    }
}

fn application_code(verdict: &Verdict) -> Code {
    match verdict {
        Verdict::Accept => Code::AA,
        Verdict::Error(_) => Code::AE,
        Verdict::Reject(_) => Code::AR,
    }
}

fn commit_code(verdict: &Verdict) -> Code {
    match verdict {
        Verdict::Accept => Code::CA,
        Verdict::Error(_) => Code::CE,
        Verdict::Reject(_) => Code::CR,
    }
}

/// `YYYYMMDDHHMMSS` by the node's clock: HL7 reads a time without zone as the sender's own.
fn hl7_time(at: Timestamp) -> String {
    let moment = DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    moment.with_timezone(&Local).format("%Y%m%d%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Fault;
    use model::{Committed, Epoch, MessageId, RowId};

    fn answered(mode: &str, verdict: Verdict) -> String {
        let raw = format!("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|ID7|P|2.5|||{mode}\rPID|1\r");
        let receipt = Committed::attest(
            MessageId(RowId::pack(Epoch(3), 42)),
            Timestamp(1_795_226_370_000_000),
        );
        match answer(raw.as_bytes(), &Accepted { receipt, verdict }) {
            Some(bytes) => ack::parse(&bytes).map(|reply| {
                assert_eq!(reply.control_id, "ID7");
                reply.code.as_str().to_owned()
            }),
            None => Ok("-".to_owned()),
        }
        .unwrap()
    }

    #[test]
    fn msh_15_and_msh_16_say_what_is_answered() {
        let fault = || Fault {
            code: 101,
            location: Some("PID-3".into()),
            text: "required".into(),
        };
        for (mode, accept, error, reject) in [
            ("|", "AA", "AE", "AR"),
            ("AL|NE", "CA", "CE", "CR"),
            ("AL|AL", "CA", "CE", "CR"),
            ("AL|", "CA", "CE", "CR"),
            ("NE|NE", "-", "-", "-"),
            ("NE|", "-", "-", "-"),
            ("ER|", "-", "CE", "CR"),
            ("SU|", "CA", "-", "-"),
            ("NE|AL", "AA", "AE", "AR"),
            ("|AL", "AA", "AE", "AR"),
            ("|ER", "-", "AE", "AR"),
            ("|SU", "AA", "-", "-"),
            ("ER|AL", "-", "CE", "CR"),
            ("XX|", "CA", "CE", "CR"),
        ] {
            let got = [Verdict::Accept, Verdict::Error(fault()), Verdict::Reject(fault())]
                .map(|verdict| answered(mode, verdict));
            assert_eq!(got, [accept, error, reject], "MSH-15|MSH-16 = {mode}");
        }
    }

    #[test]
    fn what_is_no_hl7_gets_a_plain_answer() {
        let receipt = Committed::attest(MessageId(RowId::pack(Epoch(3), 42)), Timestamp(0));
        let bytes = answer(
            b"{}",
            &Accepted {
                receipt,
                verdict: Verdict::Accept,
            },
        )
        .unwrap();
        let reply = ack::parse(&bytes).unwrap();
        assert_eq!((reply.code, reply.control_id.as_str()), (Code::AA, ""));
        assert!(bytes.windows(6).any(|window| window == b"|3-42|"));
    }
}
