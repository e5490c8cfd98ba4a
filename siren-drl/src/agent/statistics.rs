//! Running statistics of a training.

use serde::{Deserialize, Serialize};

use super::rollout::Trajectory;

/// The running standard deviation of discounted returns, by which rewards are divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Returns {
    running: Vec<f64>,
    spread: RunningVariance,
}

impl Returns {
    pub(super) fn new(environments: usize) -> Self {
        Self { running: vec![0.0; environments], spread: RunningVariance::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Adds rewards to the statistics, and returns the factor by which rewards are multiplied.
    pub(super) fn scale(&mut self, trajectories: &[Trajectory], gamma: f64) -> f64 {
        for (running, trajectory) in self.running.iter_mut().zip(trajectories) {
            for (reward, end) in trajectory.rewards.iter().zip(&trajectory.ends) {
                *running = *running * gamma + reward;
                self.spread.add(*running);
                if *end {
                    *running = 0.0;
                }
            }
        }
        1.0 / (self.spread.variance().sqrt() + 1e-8)
    }
}

/// A running mean and variance (Welford, 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RunningVariance {
    count: f64,
    pub(super) mean: f64,
    squares: f64,
}

impl RunningVariance {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let from = value - self.mean;
        self.mean += from / self.count;
        self.squares += from * (value - self.mean);
    }

    pub(super) fn variance(&self) -> f64 {
        self.squares / self.count.max(1.0)
    }
}
