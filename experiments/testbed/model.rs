//! Predictions of time and cost, from the passes over the data that a search found.

use siren_backend_sim::Simulation;
use siren_core::Allocation;
use siren_core::platform::EpochEstimate;
use siren_experiments::testbed::Contest;

/// The memory sizes that the time model compares. More than one vCPU does not help a worker that
/// computes on one thread.
const MEMORY_MB: [u32; 5] = [256, 512, 885, 1_280, 1_769];
/// The passes over the data that a number of functions takes, found by a search with real
/// gradients.
#[derive(Clone, Copy)]
pub(crate) struct Passes {
    pub(crate) workers: u32,
    pub(crate) epochs: u64,
}

/// Predicts time and cost from the passes that were searched.
pub(crate) struct Model<'a> {
    pub(crate) contest: &'a Contest,
    pub(crate) simulation: &'a Simulation,
    pub(crate) passes: &'a [Passes],
}

impl Model<'_> {
    /// The fastest allocation within `budget`, in dollars. Without a budget, the one with the least
    /// product of time and money.
    pub(crate) fn best(&self, budget: Option<f64>) -> Option<Allocation> {
        let all = self.passes.iter().flat_map(|&passes| {
            MEMORY_MB.map(|memory_mb| {
                let allocation = Allocation::new(passes.workers, memory_mb);
                let (time, cost) = self.predict(allocation, passes.epochs);
                (allocation, time, cost)
            })
        });
        let worth = |&(_, time, cost): &(Allocation, f64, f64)| match budget {
            Some(_) => time,
            None => time * cost,
        };
        all.filter(|(_, _, cost)| budget.is_none_or(|budget| *cost <= budget))
            .min_by(|a, b| worth(a).total_cmp(&worth(b)))
            .map(|(allocation, _, _)| allocation)
    }

    /// Seconds and dollars of `epochs` passes.
    fn predict(&self, allocation: Allocation, epochs: u64) -> (f64, f64) {
        let all = (0..epochs).map(|epoch| self.epoch(allocation, epoch == 0));
        all.fold((0.0, 0.0), |(time, cost), epoch| {
            (time + epoch.elapsed_s, cost + epoch.cost().dollars())
        })
    }

    pub(crate) fn epoch(&self, allocation: Allocation, cold: bool) -> EpochEstimate {
        let contest = self.contest;
        let shape = contest.with(&contest.job, allocation.workers).shape(contest.example_bytes);
        self.simulation.profile.epoch(&shape, &contest.job.step, allocation, cold)
    }
}
