//! The evaluation of an agent during its training.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siren_core::{Result, Seed};

use super::network::ACTIONS;
use super::policy::Policy;
use super::rollout::play;
use super::statistics::RunningVariance;
use super::view::INPUTS;
use crate::play::Score;
use crate::task::SchedulingTask;

/// The least relative time of a task in which no episode succeeded: failing fast must not count as
/// fast.
const FAILED: f64 = 10.0;

/// The largest number of tasks in an evaluation.
const EVALUATED: usize = 16;

/// The result of an evaluation, and statistics of the iteration before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Iterations so far.
    pub iteration: u64,
    /// Steps of all environments so far.
    pub steps: u64,
    /// The score of the agent with the mean action, on episodes that are used for nothing else.
    pub score: Score,
    /// Seconds divided by those of the fastest constant allocation within the budget, mean over the
    /// tasks.
    pub relative_time: f64,
    /// `true` if it is the best one so far: by success first, then by time.
    pub best: bool,
    /// The mean reward of the iteration's episodes, without shaping.
    pub episode_return: Option<f64>,
    /// The share of the iteration's episodes that succeeded.
    pub episode_success: Option<f64>,
    /// Sigma of functions and of memory, mean over the iteration's states.
    pub sigma: [f64; ACTIONS],
    /// The Kullback-Leibler divergence from the policy that collected to the one after the updates.
    pub kl: f64,
    /// The share of the steps whose ratio of densities was clipped after the updates.
    pub clip_fraction: f64,
    /// The share of the returns' variance that the critic explained before the updates.
    pub explained_variance: f64,
}

/// The divergence from the policy that collected, the share of clipped ratios, and the mean sigma.
pub(super) fn policy_change(
    after: &Policy,
    rows: &[f32],
    width: usize,
    clip: f32,
) -> (f64, f64, [f64; ACTIONS]) {
    let seen: Vec<f32> = rows.chunks_exact(width).flat_map(|row| &row[..INPUTS]).copied().collect();
    let gaussian = after.act(&seen);
    let (mut kl, mut clipped, mut sigma) = (0.0, 0.0, [0.0; ACTIONS]);
    let policies = gaussian.means.iter().zip(&gaussian.log_sigmas);
    for (row, (mean, log_sigma)) in rows.chunks_exact(width).zip(policies) {
        let mut log_prob = 0.0;
        for i in 0..ACTIONS {
            let z = (row[INPUTS + i] - mean[i]) / log_sigma[i].exp();
            log_prob -= 0.5 * z * z + log_sigma[i] + 0.5 * std::f32::consts::TAU.ln();
            sigma[i] += f64::from(log_sigma[i].exp());
        }
        let log_ratio = f64::from(log_prob - row[INPUTS + ACTIONS]);
        // Unbiased and never negative (Schulman, "Approximating KL divergence", 2020).
        kl += log_ratio.exp_m1() - log_ratio;
        let clip = f64::from(clip);
        let far = clip > 0.0 && log_ratio.exp_m1().abs() > clip;
        clipped += if far { 1.0 } else { 0.0 };
    }
    let count = gaussian.means.len().max(1) as f64;
    (kl / count, clipped / count, sigma.map(|sum| sum / count))
}

/// The score of `episodes` episodes in all, drawn from `seed`, and the mean of the tasks' relative
/// times.
pub(super) fn score(
    policy: &Policy,
    tasks: &[Arc<SchedulingTask>],
    episodes: u64,
    seed: Seed,
) -> Result<(Score, f64)> {
    let every = tasks.len().div_ceil(EVALUATED);
    let tasks: Vec<&Arc<SchedulingTask>> = tasks.iter().step_by(every).collect();
    let episodes = episodes.div_ceil(tasks.len() as u64);
    let (mut all, mut relative) = (Vec::new(), RunningVariance::default());
    for (number, task) in (0..).zip(tasks) {
        let played = play(policy, task, episodes, seed.child(number))?;
        let score = Score::of(&played);
        let time = score.time_s * task.reward.beta;
        relative.add(if score.success > 0.0 { time } else { time.max(FAILED) });
        all.extend(played);
    }
    Ok((Score::of(&all), relative.mean))
}
