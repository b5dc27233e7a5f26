//! What the internal inbounds share: nothing outside can reach them, so their source only waits.

use async_trait::async_trait;
use model::connector::Call;
use model::problem::Problem;

use crate::contract::{Source, SourceContext, SourceError};

/// A source that receives nothing by itself: the engine writes its messages within its own
/// transactions. It runs so that the connection has a life like any other on screens.
pub(crate) struct Idle;

#[async_trait]
impl Source for Idle {
    async fn bind(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    async fn run(&mut self, context: SourceContext) -> Result<(), SourceError> {
        context.stop.cancelled().await;
        Ok(())
    }
}

/// The answer of a connector to a use in the direction that it does not offer.
pub(crate) fn wrong_direction(call: &Call, direction: &str) -> Vec<Problem> {
    let message = format!("{}() cannot be used by an {direction}", call.connector);
    vec![
        Problem::error("wrong-direction", message)
            .at(call.span.clone())
            .suggest("choose another connector"),
    ]
}
