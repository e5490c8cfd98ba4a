//! The learned scheduler: a Gaussian policy, trained by policy gradient, as in the SIREN paper.

mod advantage;
mod evaluation;
mod file;
mod imitate;
mod log;
mod network;
mod normaliser;
mod objective;
mod policy;
mod rollout;
mod scheduler;
mod settings;
mod statistics;
mod training;
mod view;
mod weights;

use std::sync::Arc;

pub use evaluation::Evaluation;
use normaliser::Normaliser;
use objective::Objective;
use policy::Policy;
pub use scheduler::AgentScheduler;
pub use settings::{Sigma, TrainingSettings};
use siren_burn::BurnWorkload;
use siren_core::{Error, ErrorKind, Result, Seed};
pub use training::Training;

use crate::play::Episode;
use crate::task::SchedulingTask;

/// A trained policy.
///
/// [`Training`] makes one.
///
/// ```no_run
/// use siren_core::Seed;
/// use siren_drl::agent::Agent;
/// use siren_drl::{JobModel, SchedulingTask, play};
///
/// let agent = Agent::load("agent.safetensors")?;
/// let model = JobModel::named("seed")?;
/// let task = SchedulingTask::new(model.clone(), 200.0)?.into();
/// let mut scheduler = agent.scheduler(model);
/// let episode = play(&mut scheduler, &task, Seed::new(1))?;
/// println!("{:.0} s for ${:.2}", episode.time_s, episode.cost_usd);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Agent {
    workload: Arc<BurnWorkload<Objective>>,
    params: Vec<f32>,
    normaliser: Normaliser,
    policy: Policy,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

impl Agent {
    fn new(
        workload: Arc<BurnWorkload<Objective>>,
        params: Vec<f32>,
        normaliser: Normaliser,
    ) -> Result<Self> {
        if params.iter().any(|param| !param.is_finite()) {
            let message = "the policy's weights are not finite: train it with a smaller rate";
            return Err(Error::new(ErrorKind::Diverged, message));
        }
        let policy = Policy::new(&workload, &params, normaliser.clone())?;
        Ok(Self { workload, params, normaliser, policy })
    }

    /// The settings that it was trained with.
    pub fn settings(&self) -> TrainingSettings {
        self.workload.learner().settings
    }

    /// Plays `episodes` episodes together with the mean action, each with its own seed below
    /// `seed`. The result is that of [`scheduler`](Self::scheduler) with the task's model, playing
    /// one episode after the other.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when the task fails [`SchedulingTask::check`].
    pub fn play(
        &self,
        task: &Arc<SchedulingTask>,
        episodes: u64,
        seed: Seed,
    ) -> Result<Vec<Episode>> {
        rollout::play(&self.policy, task, episodes, seed)
    }
}
