//! `loopback()`: an inbound that receives the replies of an outbound which names it in `reply_to`.
//! Internal: no socket and no file. The engine writes each reply, as a message whose parent is the
//! message that was sent, in the same transaction as the outcome of that send.

use model::connector::{Call, Spec};
use model::problem::Problem;

use crate::contract::{Connector, Sink, Source};
use crate::internal::{Idle, wrong_direction};

/// The connector.
pub struct Loopback;

impl Connector for Loopback {
    fn spec(&self) -> Spec {
        Spec {
            name: "loopback",
            summary: "Receives the replies of an outbound that names it in `reply_to`.",
            inbound: Some(Vec::new()),
            outbound: None,
        }
    }

    fn source(&self, _call: &Call) -> Result<Box<dyn Source>, Vec<Problem>> {
        Ok(Box::new(Idle))
    }

    fn sink(&self, call: &Call) -> Result<Box<dyn Sink>, Vec<Problem>> {
        Err(wrong_direction(call, "outbound"))
    }
}
