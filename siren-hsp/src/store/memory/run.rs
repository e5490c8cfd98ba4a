//! The epochs of a run.

use parking_lot::Mutex;
use siren_core::{EpochPlan, EpochSummary, Error, ErrorKind, Result, Update, Watermark};

use super::rounds::Rounds;
use crate::store::noise::Sums;
use crate::store::summary::Totals;
use crate::store::update::Weight;

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
    /// The sum of the factors of the updates' steps.
    pub(super) factors: f64,
    /// The sum of the updates' examples times their efficiency.
    pub(super) progress: f64,
}

impl Shard {
    /// Counts an update that was applied to parameters of `version` with this weight.
    pub(super) fn count(&mut self, update: &Update<'_>, version: u64, weight: Weight) {
        let staleness = version.saturating_sub(update.version);
        self.staleness += staleness;
        self.staleness_max = self.staleness_max.max(staleness);
        self.factors += weight.step;
        self.progress += weight.efficiency * update.examples as f64;
        self.watermark.batches += update.batches;
        self.watermark.examples += update.examples;
        self.watermark.loss += update.loss;
    }
}

impl Open {
    /// The summary of the epoch, which ends with parameters of `version`.
    pub(super) fn summarise(
        plan: &EpochPlan,
        shards: &[Shard],
        version: u64,
        noise: Sums,
    ) -> EpochSummary {
        let totals = Totals {
            version,
            watermarks: shards.iter().map(|shard| shard.watermark).collect(),
            staleness: shards.iter().map(|shard| shard.staleness).sum(),
            staleness_max: shards.iter().map(|shard| shard.staleness_max).max().unwrap_or(0),
            factors: shards.iter().map(|shard| shard.factors).sum(),
            progress: shards.iter().map(|shard| shard.progress).sum(),
            noise: &[noise],
        };
        totals.summary(plan)
    }
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
