//! Epochs in the form that the fits use.

use siren_core::Allocation;

use crate::history::RunHistory;
use crate::model::{At, Chance, Dynamics, JobModel};

/// One epoch that ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The number of its run, and its number within the run.
    pub(super) run: usize,
    pub(super) index: usize,
    /// The job's position before the epoch, by the model's curve.
    pub(super) at: At,
    pub(super) allocation: Allocation,
    /// The share of its batches that counted, and `true` if all did.
    pub(super) share: f64,
    pub(super) whole: bool,
    pub(super) loss: f64,
    pub(super) elapsed_s: f64,
    pub(super) fetch_s: f64,
    pub(super) compute_s: f64,
    pub(super) queue_s: f64,
    pub(super) update_s: f64,
    /// Waits in rounds, which are billed, and at the barrier, which are not.
    pub(super) round_wait_s: f64,
    pub(super) wait_s: f64,
    /// Pulls and pushes of one function; 0 if they were not counted.
    pub(super) rounds: f64,
    /// The peak memory in MB, if it is known for each function.
    pub(super) memory_mb: Option<f64>,
    /// The cost of the functions, and of the aggregators.
    pub(super) cost_usd: f64,
    pub(super) beside_usd: f64,
}

impl Sample {
    /// Seconds from launch to the mean start of the functions.
    pub(super) fn start_s(&self) -> f64 {
        let work = self.fetch_s + self.compute_s + self.queue_s + self.update_s;
        (self.elapsed_s - work - self.round_wait_s - self.wait_s).max(0.0)
    }
}

/// The epochs of a history, with their progress by the model.
pub(super) fn of(history: &RunHistory, model: &JobModel) -> Vec<Sample> {
    let all = || history.runs.iter().flat_map(|run| &run.epochs);
    let batches = all().map(|epoch| epoch.batches).max().unwrap_or(0);
    let mut samples = Vec::new();
    for (number, run) in history.runs.iter().enumerate() {
        let mut at = At::default();
        for (index, epoch) in run.epochs.iter().enumerate() {
            at.epoch = epoch.epoch;
            let allocation = Allocation::new(epoch.workers, epoch.memory_mb);
            let whole = epoch.complete || batches == 0;
            let share = if whole { 1.0 } else { epoch.batches as f64 / batches as f64 };
            samples.push(Sample {
                run: number,
                index,
                at,
                allocation,
                share,
                whole,
                loss: epoch.evaluation.loss,
                elapsed_s: epoch.elapsed_s,
                fetch_s: epoch.fetch_s,
                compute_s: epoch.compute_s,
                queue_s: epoch.queue_s,
                update_s: epoch.update_s,
                round_wait_s: epoch.round_wait_s,
                wait_s: epoch.wait_s,
                rounds: epoch.updates as f64 / f64::from(epoch.workers),
                memory_mb: (!epoch.memory_shared)
                    .then(|| epoch.memory_utilisation * f64::from(epoch.memory_mb)),
                cost_usd: (epoch.cost_usd - epoch.aggregator_cost_usd).max(0.0),
                beside_usd: epoch.aggregator_cost_usd,
            });
            at.progress += model.epoch(at, allocation, &Chance::EXPECTED).progress * share;
            at.memory_mb = Some(epoch.memory_mb);
        }
    }
    samples
}
