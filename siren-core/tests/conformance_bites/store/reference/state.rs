//! The state behind the reference store's lock.

use std::task::Waker;

use siren_core::{
    EpochPlan, EpochSummary, Error, ErrorKind, NoiseAverages, Result, Snapshot, Update, Watermark,
};

use super::super::Fault;
use super::super::optimizer::descend;
use super::noise::Measured;

pub(super) struct State {
    pub(super) snapshot: Snapshot,
    pub(super) open: Option<Open>,
    pub(super) last: Option<EpochSummary>,
    /// Increases with every change, a restore included. A replica's blocks have this version.
    pub(super) stamp: u64,
    pub(super) waiting: Vec<Waker>,
    /// Kept by a store with the fault that it does not forget.
    pub(super) orphans: Vec<(u32, u64, Vec<f32>)>,
    /// The open window of the last epoch, in a store with the fault that it goes on.
    pub(super) window: Vec<Vec<f32>>,
}

pub(super) struct Open {
    pub(super) plan: EpochPlan,
    pub(super) watermarks: Vec<Watermark>,
    pub(super) staleness: Vec<u64>,
    /// The updates of an incomplete round: the shard, the examples and the clipped gradient.
    pub(super) kept: Vec<(u32, u64, Vec<f32>)>,
    pub(super) noise: Measured,
}

impl Open {
    /// The number of rounds that all unfinished shards have pushed.
    pub(super) fn rounds(&self) -> u64 {
        let shards = (0..).zip(&self.watermarks);
        let unfinished = shards.filter(|&(s, w)| w.batches < self.plan.shard_len(s));
        let pushed = unfinished.map(|(_, w)| self.plan.updates(w.batches));
        pushed.min().unwrap_or(u64::MAX)
    }
}

pub(super) fn error<T>(kind: ErrorKind) -> Result<T> {
    Err(Error::new(kind, "the reference store refuses"))
}

impl State {
    /// The open epoch, if it has this number.
    pub(super) fn open(&mut self, epoch: u64) -> Result<(&mut Open, &mut Snapshot)> {
        if epoch < self.snapshot.sealed_epochs {
            return error(ErrorKind::Fenced);
        }
        match &mut self.open {
            Some(open) if open.plan.epoch == epoch => Ok((open, &mut self.snapshot)),
            _ => error(ErrorKind::Conflict),
        }
    }

    /// Moves the watermark past an applied update.
    pub(super) fn count(&mut self, update: &Update<'_>) -> Result<()> {
        let (open, snapshot) = self.open(update.id.epoch)?;
        snapshot.version += u64::from(!open.plan.sync_mode.merges_rounds());
        let watermark = &mut open.watermarks[update.id.shard as usize];
        watermark.batches += update.batches;
        watermark.examples += update.examples;
        watermark.loss += update.loss;
        self.stamp += 1;
        Ok(())
    }

    /// Applies the mean of the kept updates, if the round is complete or `sealed`.
    pub(super) fn end_round(&mut self, sealed: bool, has: impl Fn(Fault) -> bool) {
        let Some(open) = &mut self.open else { return };
        let plan = &open.plan;
        let shards = (0..).zip(&open.watermarks);
        let ahead = open.kept.iter().map(|kept| kept.0).collect::<Vec<_>>();
        let lacks =
            |(s, w): (u32, &Watermark)| w.batches < plan.shard_len(s) && !ahead.contains(&s);
        if open.kept.is_empty() || shards.into_iter().any(lacks) && !sealed {
            return;
        }
        open.kept.sort_by_key(|kept| kept.0);
        let total: u64 = open.kept.iter().map(|kept| kept.1).sum();
        let mut mean = vec![0.0; self.snapshot.values.len()];
        let round = open.kept.iter().map(|(_, examples, update)| (*examples, update.clone()));
        let averages = averages(&mut self.snapshot);
        open.noise.add_round(averages, plan, round.collect(), &has);
        for (_, examples, gradient) in open.kept.drain(..) {
            let mut weight = (examples as f64 / total as f64) as f32;
            if has(Fault::BulkForgetsTheExamples) {
                weight = 1.0 / ahead.len() as f32;
            }
            if has(Fault::BulkAddsUp) {
                weight = 1.0;
            }
            mean.iter_mut().zip(gradient).for_each(|(mean, g)| *mean += weight * g);
        }
        descend(plan, &mut self.snapshot, &mean, &has);
        self.snapshot.version += match has(Fault::BulkCountsEveryUpdate) {
            true => ahead.len() as u64,
            false => 1,
        };
        self.stamp += 1;
    }

    /// Lets waiting pulls check their condition again.
    pub(super) fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// The averages of the noise in a snapshot.
pub(super) fn averages(snapshot: &mut Snapshot) -> &mut NoiseAverages {
    snapshot.noise.resize(1, NoiseAverages::default());
    &mut snapshot.noise[0]
}
