//! `passthrough()`: an inbound that handlers send to by name, so that one message becomes many, each
//! with a router, a disposition and a trail of its own. Internal: no socket and no file. The engine
//! writes the new message, with its parent, in the transaction that ends the handler's row.

use model::connector::{Call, Spec};
use model::problem::Problem;

use crate::contract::{Connector, Sink, Source};
use crate::internal::{Idle, wrong_direction};

/// The connector.
pub struct Passthrough;

impl Connector for Passthrough {
    fn spec(&self) -> Spec {
        Spec {
            name: "passthrough",
            summary: "Receives what handlers send to it: one message becomes many.",
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
