//! Settings of a training.

use serde::{Deserialize, Serialize};
use siren_core::{Error, Result};

/// The range of the logarithm of sigma, so that neither a density nor a step explodes.
pub(super) const LOG_SIGMA_RANGE: (f32, f32) = (-5.0, 1.0);

/// The dependence of the policy's sigma on the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sigma {
    /// A function of the state, as in the SIREN paper: `N(mu(s), sigma(s))`.
    State,
    /// Independent of the state: two numbers that are learned.
    Free,
}

/// Settings of a training. PPO and REINFORCE are two settings of the same loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    /// Width of both hidden layers, of the policy and of the critic.
    pub hidden: usize,
    /// The dependence of sigma on the state.
    pub sigma: Sigma,
    /// The initial logarithm of sigma.
    pub log_sigma: f32,
    /// The number of environments that are stepped together.
    pub environments: usize,
    /// Epochs of each environment between two updates; 0 for one whole episode of each.
    pub horizon: usize,
    /// Passes over the collected steps.
    pub passes: usize,
    /// Steps in a minibatch; 0 for all collected steps.
    pub minibatch: usize,
    /// The largest change of a ratio of densities, PPO's epsilon; 0 for no limit.
    pub clip: f32,
    /// The discount, gamma. Below 1, early seconds count more than late ones, and the policy spends
    /// too early.
    pub gamma: f64,
    /// Lambda of generalised advantage estimation.
    pub lambda: f64,
    /// The initial learning rate of the policy.
    pub rate: f32,
    /// The initial learning rate of the critic.
    pub critic_rate: f32,
    /// The final learning rates as a share of the initial ones; they fall linearly.
    pub last_rate: f32,
    /// The largest norm of a gradient, separately for the policy and the critic.
    pub clip_norm: f32,
    /// The weight of the entropy.
    pub entropy: f32,
    /// The number of first iterations that train the critic alone.
    pub critic_first: u64,
    /// The share of the averaged weights that an iteration keeps. The agent has the averaged
    /// weights.
    pub average: f32,
    /// `true` if rewards are shaped by the potential `-beta T(s)`, where T is the time of the rest
    /// of the job with a constant allocation of one-vCPU functions, by the job's model. Shaping
    /// changes no optimal policy (Ng, Harada, Russell, 1999).
    pub shaped: bool,
    /// The share of the budget that is used in training.
    pub margin: f64,
    /// The number of the planner's episodes that are imitated first; 0 for training from scratch.
    pub warm_start: usize,
    /// Steps of all environments in the whole training.
    pub steps: u64,
    /// Iterations from one evaluation to the next.
    pub evaluate_every: u64,
    /// Episodes of an evaluation.
    pub evaluate_episodes: u64,
    /// The number of evaluations without improvement after which training ends; 0 for no such end.
    pub patience: u64,
}

impl Default for TrainingSettings {
    /// [`ppo`](Self::ppo).
    fn default() -> Self {
        Self::ppo()
    }
}

impl TrainingSettings {
    /// Proximal policy optimisation with generalised advantage estimation (Schulman and others,
    /// 2016 and 2017).
    pub fn ppo() -> Self {
        Self {
            hidden: 32,
            sigma: Sigma::Free,
            log_sigma: -0.7,
            environments: 16,
            horizon: 96,
            passes: 4,
            minibatch: 256,
            clip: 0.2,
            gamma: 1.0,
            lambda: 0.97,
            rate: 1e-3,
            critic_rate: 2e-3,
            last_rate: 0.1,
            clip_norm: 0.5,
            entropy: 0.0,
            critic_first: 5,
            average: 0.98,
            shaped: true,
            margin: 1.0,
            warm_start: 0,
            steps: 600_000,
            evaluate_every: 32,
            evaluate_episodes: 128,
            patience: 0,
        }
    }

    /// REINFORCE with a learned baseline (Williams, 1992): whole episodes, one step along the
    /// gradient for each batch of them, and sigma that depends on the state, as in the SIREN paper.
    pub fn reinforce() -> Self {
        Self {
            sigma: Sigma::State,
            environments: 32,
            horizon: 0,
            passes: 1,
            minibatch: 0,
            clip: 0.0,
            lambda: 1.0,
            rate: 5e-3,
            critic_rate: 5e-3,
            evaluate_every: 16,
            ..Self::ppo()
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the setting, when a
    /// setting is out of range.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("hidden", self.hidden as u64),
            ("environments", self.environments as u64),
            ("passes", self.passes as u64),
            ("steps", self.steps),
            ("evaluate_every", self.evaluate_every),
            ("evaluate_episodes", self.evaluate_episodes),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Error::rejected(format!("the agent's {name} is 0: give at least 1")));
        }
        let shares = [
            ("gamma", self.gamma),
            ("lambda", self.lambda),
            ("last_rate", self.last_rate.into()),
            ("average", self.average.into()),
            ("margin", self.margin),
        ];
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::rejected(format!(
                    "the agent's {name} is {value}: give a number from 0 to 1"
                )));
            }
        }
        let sizes = [
            ("rate", self.rate),
            ("critic_rate", self.critic_rate),
            ("clip_norm", self.clip_norm),
            ("clip", self.clip),
            ("entropy", self.entropy),
        ];
        for (name, value) in sizes {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::rejected(format!(
                    "the agent's {name} is {value}: give a finite number, 0 or more"
                )));
            }
        }
        let refused = |name: &str, remedy: &str| {
            Err(Error::rejected(format!(
                "with this {name} the agent learns nothing: give {remedy}"
            )))
        };
        if !(self.log_sigma > LOG_SIGMA_RANGE.0 && self.log_sigma < LOG_SIGMA_RANGE.1) {
            return refused("log_sigma", "a number between -5 and 1");
        }
        if self.average == 1.0 {
            return refused("average", "a number below 1");
        }
        if self.margin == 0.0 {
            return refused("margin", "a number above 0");
        }
        if self.clip_norm == 0.0 {
            return refused("clip_norm", "a number above 0");
        }
        if self.minibatch == 1 {
            return refused("minibatch", "2 or more, or 0 for all");
        }
        Ok(())
    }
}
