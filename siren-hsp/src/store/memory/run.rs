//! The epochs of a run.

use parking_lot::Mutex;
use siren_core::{EpochPlan, EpochSummary, Error, ErrorKind, Result, Watermark};

use super::rounds::Rounds;

/// The epochs sealed so far, and the open one.
pub(super) struct Run {
    pub(super) sealed_epochs: u64,
    pub(super) last: Option<EpochSummary>,
    pub(super) open: Option<Open>,
}

pub(super) struct Open {
    pub(super) plan: EpochPlan,
    pub(super) shards: Vec<Mutex<Shard>>,
    pub(super) rounds: Rounds,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Shard {
    pub(super) watermark: Watermark,
    pub(super) staleness: u64,
    pub(super) staleness_max: u64,
}

impl Run {
    /// The open epoch, if it is `epoch`.
    pub(super) fn current(&self, epoch: u64) -> Result<&Open> {
        if epoch < self.sealed_epochs {
            return Err(fenced(epoch));
        }
        match &self.open {
            Some(open) if open.plan.epoch == epoch => Ok(open),
            _ => Err(Error::new(ErrorKind::Conflict, format!("epoch {epoch} is not open"))),
        }
    }
}

pub(super) fn fenced(epoch: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("epoch {epoch} is sealed"))
}
