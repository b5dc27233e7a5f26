//! `mllp()`: HL7 over TCP, framed by VT and FS CR.
//!
//! Receiving promises: every complete frame is stored before it is answered, and answers leave in the
//! order of the frames; what cannot be stored is not answered and the socket closes. Sending promises:
//! a message counts as delivered only by an answer that names it (MSA-2 = MSH-10); a late answer to an
//! earlier message is never taken for the answer to the next.

mod answer;
mod link;
mod listener;
mod meters;
mod session;
mod settings;
mod sink;

use std::time::Duration;

use model::connector::{Call, Param, ParamKind, Spec, Value};
use model::problem::Problem;

use crate::contract::{Connector, Sink, Source};

/// The connector.
pub struct Mllp;

impl Connector for Mllp {
    fn spec(&self) -> Spec {
        Spec {
            name: "mllp",
            summary: "HL7 over TCP in MLLP frames: a listener, or a client that waits for acknowledgements.",
            inbound: Some(inbound()),
            outbound: Some(outbound()),
        }
    }

    fn source(&self, call: &Call) -> Result<Box<dyn Source>, Vec<Problem>> {
        Ok(Box::new(listener::MllpSource::new(settings::Inbound::read(
            call,
        )?)))
    }

    fn sink(&self, call: &Call) -> Result<Box<dyn Sink>, Vec<Problem>> {
        Ok(Box::new(sink::MllpSink::new(settings::Outbound::read(call)?)))
    }

    fn claims(&self, call: &Call) -> Vec<String> {
        call.int("port")
            .filter(|port| *port != 0)
            .map(|port| format!("tcp:{port}"))
            .into_iter()
            .collect()
    }
}

fn inbound() -> Vec<Param> {
    use ParamKind::{Int, Port, Seconds, Text, TextList};
    vec![
        Param::required("port", Port, "TCP port to listen on."),
        Param::optional("host", Text, "127.0.0.1", "Address to listen on."),
        Param::optional(
            "max_frame_bytes",
            Int,
            16_777_216,
            "A longer frame is refused and its socket closed.",
        ),
        Param::optional(
            "idle_timeout",
            Seconds,
            Value::None,
            "A socket on which no frame ended for this long is closed; off by default, TCP keep-alive finds dead partners.",
        ),
        Param::optional(
            "read_timeout",
            Seconds,
            Duration::from_secs(30),
            "A frame that began must end within this.",
        ),
        Param::optional(
            "max_connections",
            Int,
            256,
            "Sockets open at once; one more is closed at once.",
        ),
        Param::optional(
            "allow",
            TextList,
            Value::List(Vec::new()),
            "Addresses or networks that may connect, such as `10.1.0.0/16`; empty = all.",
        ),
        Param::optional(
            "pipeline",
            Int,
            64,
            "Frames of one socket that are stored in one go, at most.",
        ),
    ]
}

fn outbound() -> Vec<Param> {
    use ParamKind::{Bool, Int, Port, Seconds, Text};
    vec![
        Param::required("port", Port, "TCP port of the partner."),
        Param::optional("host", Text, "127.0.0.1", "Name or address of the partner."),
        Param::optional(
            "connect_timeout",
            Seconds,
            Duration::from_secs(10),
            "How long connecting may take.",
        ),
        Param::optional(
            "ack_timeout",
            Seconds,
            Duration::from_secs(30),
            "How long sending and the answer may take.",
        ),
        Param::optional("persistent", Bool, true, "Keep the socket open between messages."),
        Param::optional(
            "expect_ack",
            Bool,
            true,
            "Wait for an answer; without, handing over to the network counts.",
        ),
        Param::optional(
            "match_reply",
            Bool,
            true,
            "Only an answer whose MSA-2 is the MSH-10 that was sent counts. Turn off for partners that leave MSA-2 empty.",
        ),
        Param::optional("max_reply_bytes", Int, 1_048_576, "A longer answer is refused."),
        Param::optional(
            "keepalive",
            Seconds,
            Duration::from_secs(30),
            "Idle time before TCP keep-alive probes; 0 = off.",
        ),
    ]
}
