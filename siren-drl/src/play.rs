//! Playing episodes, and the score of a scheduler.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Result, Scheduler, Seed};

use crate::env::Environment;
use crate::task::SchedulingTask;

/// The result of one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// `true` if the target was reached within the budget.
    pub success: bool,
    /// Seconds.
    pub time_s: f64,
    /// Dollars.
    pub cost_usd: f64,
    /// The allocation of each epoch.
    pub allocations: Vec<Allocation>,
}

/// Plays one episode with a scheduler.
///
/// # Errors
///
/// Returns the scheduler's errors.
pub fn play(
    scheduler: &mut dyn Scheduler,
    task: &Arc<SchedulingTask>,
    seed: Seed,
) -> Result<Episode> {
    let mut environment = Environment::new(Arc::clone(task), seed);
    let job = task.as_job();
    let mut allocations = Vec::new();
    loop {
        let allocation = scheduler.allocate(&job, &environment.state().to_observation())?;
        let step = environment.step(allocation);
        allocations.extend(step.state.allocation);
        if step.done() {
            return Ok(Episode {
                success: step.info.success,
                time_s: step.info.elapsed_s,
                cost_usd: step.info.cost_usd,
                allocations,
            });
        }
    }
}

/// The performance of a scheduler over many episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The fewest functions of an epoch, mean over the episodes.
    pub functions_min: f64,
    /// The most functions of an epoch, mean over the episodes.
    pub functions_max: f64,
    /// The smallest memory of an epoch in MB, mean over the episodes.
    pub memory_min_mb: f64,
    /// The largest memory of an epoch in MB, mean over the episodes.
    pub memory_max_mb: f64,
    /// Seconds, mean over the episodes that succeeded; over all of them if none did.
    pub time_s: f64,
    /// Dollars, mean over the same episodes.
    pub cost_usd: f64,
    /// The share of the episodes that reached the target within the budget.
    pub success: f64,
}

impl Score {
    /// The score of `episodes` episodes, each with a new scheduler and its own seed below `seed`.
    ///
    /// # Errors
    ///
    /// Returns the scheduler's errors.
    pub fn measure<S: Scheduler>(
        mut scheduler: impl FnMut() -> S,
        task: &Arc<SchedulingTask>,
        episodes: u64,
        seed: Seed,
    ) -> Result<Self> {
        let played =
            (0..episodes.max(1)).map(|episode| play(&mut scheduler(), task, seed.child(episode)));
        Ok(Self::of(&played.collect::<Result<Vec<_>>>()?))
    }

    /// The score of these episodes.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn of(episodes: &[Episode]) -> Self {
        assert!(!episodes.is_empty(), "a score of no episode");
        let successes = episodes.iter().filter(|episode| episode.success).count();
        let counted = |episode: &&Episode| episode.success || successes == 0;
        let mean = |of: &dyn Fn(&Episode) -> f64| {
            let all: Vec<f64> = episodes.iter().filter(counted).map(of).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        let workers = |pick: fn(u32, u32) -> u32, from| {
            mean(&move |episode| {
                episode.allocations.iter().map(|a| a.workers).fold(from, pick).into()
            })
        };
        let memory = |pick: fn(u32, u32) -> u32, from| {
            mean(&move |episode| {
                episode.allocations.iter().map(|a| a.memory_mb).fold(from, pick).into()
            })
        };
        Self {
            functions_min: workers(u32::min, u32::MAX),
            functions_max: workers(u32::max, 0),
            memory_min_mb: memory(u32::min, u32::MAX),
            memory_max_mb: memory(u32::max, 0),
            time_s: mean(&|episode| episode.time_s),
            cost_usd: mean(&|episode| episode.cost_usd),
            success: successes as f64 / episodes.len() as f64,
        }
    }
}
