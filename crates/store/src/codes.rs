//! The numbers that stand for names' kinds and operators' wishes in every backend's tables.

use crate::{Desired, NameKind};

pub(crate) fn of_kind(kind: NameKind) -> i16 {
    match kind {
        NameKind::Inbound => 1,
        NameKind::Outbound => 2,
        NameKind::Handler => 3,
    }
}

/// `None`: a kind that only a newer program knows.
pub(crate) fn kind(code: i16) -> Option<NameKind> {
    [NameKind::Inbound, NameKind::Outbound, NameKind::Handler]
        .into_iter()
        .find(|kind| of_kind(*kind) == code)
}

pub(crate) fn of_desired(desired: Desired) -> i16 {
    match desired {
        Desired::Running => 0,
        Desired::Held => 1,
    }
}
