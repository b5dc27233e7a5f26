//! A leadership as its writer holds it.

use model::Term;
use uuid::Uuid;

use crate::Error;

/// A leadership as its writer holds it: the term, and which of its sessions may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    pub(crate) term: Term,
    /// New for each connection: a statement that an older connection left behind claims nothing.
    pub(crate) session: Uuid,
}

/// Numbers of leaderships have a limit: rows carry them in 20 bits.
pub(crate) fn check_epoch(epoch: u32) -> Result<(), Error> {
    if epoch >= 1 << 20 {
        return Err(Error::Refused(
            "this store has seen 2^20 leaderships: export it into a new one".to_owned(),
        ));
    }
    Ok(())
}

/// Why one node alone does not take a store that a cluster leads.
pub(crate) fn led_by_a_cluster() -> Error {
    Error::Refused(
        "a node of a cluster leads this store: set cluster.enabled on this one too, or give it a store of its own"
            .to_owned(),
    )
}

/// Why an administrative call of an older term is refused.
pub(crate) fn not_leading() -> Error {
    Error::Refused("this node no longer leads: ask the node that does".to_owned())
}
