//! How an agent is trained.

use serde::{Deserialize, Serialize};

/// What sigma of the policy depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sigma {
    /// On the state, as in the SIREN paper: `N(mu(s), sigma(s))`.
    State,
    /// On nothing: two numbers that are learned.
    Free,
}

/// How an agent is trained: PPO and REINFORCE are two settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Width of the hidden layers.
    pub hidden: usize,
    /// What sigma depends on.
    pub sigma: Sigma,
    /// The first sigma's logarithm.
    pub log_sigma: f32,
    /// Environments.
    pub environments: usize,
    /// Epochs of each environment between two updates; 0 for one whole episode of each.
    pub horizon: usize,
    /// Passes over what was collected.
    pub passes: usize,
    /// Steps in a minibatch; 0 for all.
    pub minibatch: usize,
    /// How far a probability ratio may move, PPO's epsilon; infinite for none.
    pub clip: f32,
    /// Discount.
    pub gamma: f64,
    /// Of generalised advantage estimation.
    pub lambda: f64,
    /// The first learning rate of the policy.
    pub rate: f32,
    /// The first learning rate of the critic.
    pub critic_rate: f32,
    /// What part of the rates is left at the end.
    pub last_rate: f32,
    /// The largest norm of a gradient.
    pub clip_norm: f32,
    /// What entropy is worth.
    pub entropy: f32,
    /// Iterations that train the critic alone.
    pub critic_first: u64,
    /// How much of the averaged weights is kept in an iteration.
    pub average: f32,
    /// Shaped.
    pub shaped: bool,
    /// Steps in all.
    pub steps: u64,
}

impl Settings {
    /// PPO with GAE (Schulman and others, 2016 and 2017).
    pub fn ppo() -> Self {
        Self {
            hidden: 64,
            sigma: Sigma::Free,
            log_sigma: -0.7,
            environments: 16,
            horizon: 96,
            passes: 4,
            minibatch: 256,
            clip: 0.2,
            gamma: 0.995,
            lambda: 0.95,
            rate: 1e-3,
            critic_rate: 2e-3,
            last_rate: 0.1,
            clip_norm: 0.5,
            entropy: 0.0,
            critic_first: 5,
            average: 0.98,
            shaped: true,
            steps: 500_000,
        }
    }

    /// REINFORCE with a learned baseline (Williams, 1992), as the SIREN paper.
    pub fn reinforce() -> Self {
        Self {
            sigma: Sigma::State,
            environments: 32,
            horizon: 0,
            passes: 1,
            minibatch: 0,
            clip: f32::INFINITY,
            gamma: 1.0,
            lambda: 1.0,
            rate: 5e-3,
            critic_rate: 5e-3,
            ..Self::ppo()
        }
    }
}
