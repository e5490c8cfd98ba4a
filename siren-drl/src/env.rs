//! Episodes: a job that is scheduled epoch by epoch, with the conventions of Gymnasium.

mod vector;

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Seed};
pub use vector::{SavedVectorEnvironment, VectorEnvironment};

use crate::model::{At, Chance, Epoch};
use crate::state::State;
use crate::task::SchedulingTask;

/// The result of a step of an [`Environment`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// The state after the epoch.
    pub state: State,
    /// `-beta P`, plus c or -c at the end.
    pub reward: f64,
    /// `true` if the episode ended because the target was reached or the money is spent.
    pub terminated: bool,
    /// `true` if the episode ended because its epochs are used up. That is a failure, and the
    /// reward includes -c.
    pub truncated: bool,
    /// Information that a scheduler must not use.
    pub info: StepInfo,
}

impl Step {
    /// `true` if the episode is over.
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// Information beyond the state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepInfo {
    /// `true` if the target was reached within the budget.
    pub success: bool,
    /// Seconds since the beginning.
    pub elapsed_s: f64,
    /// Dollars since the beginning.
    pub cost_usd: f64,
    /// Ideal epochs since the beginning.
    pub progress: f64,
    /// The outcome of the epoch.
    pub epoch: Epoch,
}

/// One job that is scheduled epoch by epoch: the Markov decision process of the SIREN paper.
///
/// The state is [`State`], the action an [`Allocation`], and the reward [`Reward`](crate::Reward).
/// An action outside the task's bounds counts as the nearest one inside. An environment has its own
/// stream of random numbers and never allocates memory.
///
/// ```
/// use siren_core::{Allocation, Seed};
/// use siren_drl::{Environment, JobModel, SchedulingTask};
///
/// let task = SchedulingTask::new(JobModel::named("seed")?, 200.0)?;
/// let mut env = Environment::new(task.into(), Seed::new(1));
/// let (mut state, mut reward) = (env.reset(None), 0.0);
/// loop {
///     let action = Allocation::new(350, 3_008);
///     let step = env.step(action);
///     (state, reward) = (step.state, reward + step.reward);
///     if step.terminated || step.truncated {
///         println!("{:.0} s, ${:.2} left: {reward:.2}", step.info.elapsed_s, state.budget_usd);
///         assert!(step.info.success);
///         break;
///     }
/// }
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Environment {
    task: Arc<SchedulingTask>,
    needed: f64,
    rng: ChaCha8Rng,
    state: State,
    progress: f64,
    elapsed_s: f64,
}

/// The saved state of an [`Environment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEnvironment {
    rng: ChaCha8Rng,
    state: State,
    progress: f64,
    elapsed_s: f64,
}

impl Environment {
    /// An environment before its first epoch.
    pub fn new(task: Arc<SchedulingTask>, seed: Seed) -> Self {
        let mut new = Self {
            needed: 0.0,
            task,
            rng: ChaCha8Rng::seed_from_u64(seed.get()),
            state: State::default(),
            progress: 0.0,
            elapsed_s: 0.0,
        };
        new.begin();
        new
    }

    /// Begins an episode and returns its first state. With a seed, the stream of random numbers
    /// starts anew; without one, it continues.
    pub fn reset(&mut self, seed: Option<Seed>) -> State {
        if let Some(seed) = seed {
            self.rng = ChaCha8Rng::seed_from_u64(seed.get());
        }
        self.begin();
        self.state
    }

    /// As [`reset`](Self::reset), with another task.
    pub fn reset_to(&mut self, task: Arc<SchedulingTask>, seed: Option<Seed>) -> State {
        self.task = task;
        self.reset(seed)
    }

    fn begin(&mut self) {
        self.needed = self.task.ideal_epochs();
        self.progress = 0.0;
        self.elapsed_s = 0.0;
        let loss = self.task.job.loss(0.0);
        self.state = State { loss, budget_usd: self.task.budget_usd, ..State::default() };
    }

    /// Runs an epoch.
    pub fn step(&mut self, action: Allocation) -> Step {
        let mut step = Step::default();
        self.advance(action, &mut step);
        step
    }

    /// As [`step`](Self::step), but into an existing `Step`: copying steps takes a good part of the
    /// time of a step.
    #[inline]
    fn advance(&mut self, action: Allocation, into: &mut Step) {
        let task = &*self.task;
        let allocation = task.bounds.nearest(action.workers.into(), action.memory_mb.into());
        let at = At {
            epoch: self.state.epoch,
            progress: self.progress,
            memory_mb: self.state.allocation.map(|before| before.memory_mb),
        };
        let epoch = task.job.epoch(at, allocation, &Chance::draw(&mut self.rng));
        self.progress += epoch.progress;
        self.elapsed_s += epoch.elapsed_s;
        self.state = State {
            epoch: self.state.epoch + 1,
            loss: task.job.loss(self.progress),
            elapsed_s: epoch.elapsed_s,
            fetch_s: epoch.fetch_s,
            compute_s: epoch.compute_s,
            update_s: epoch.update_s,
            memory: epoch.memory,
            cpu: epoch.cpu,
            budget_usd: self.state.budget_usd - epoch.cost_usd,
            allocation: Some(allocation),
        };
        // Tolerates the rounding of sums.
        let reached = self.progress >= self.needed * (1.0 - 1e-12);
        let bankrupt = self.state.budget_usd < 0.0;
        let success = reached && !bankrupt;
        let terminated = reached || bankrupt;
        let truncated = !terminated && self.state.epoch >= task.epochs;
        let end = match terminated || truncated {
            false => 0.0,
            true if success => task.reward.terminal,
            true => -task.reward.terminal,
        };
        into.state = self.state;
        into.reward = end - task.reward.beta * epoch.elapsed_s;
        into.terminated = terminated;
        into.truncated = truncated;
        into.info.success = success;
        into.info.elapsed_s = self.elapsed_s;
        into.info.cost_usd = task.budget_usd - self.state.budget_usd;
        into.info.progress = self.progress;
        into.info.epoch = epoch;
    }

    /// The current state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Ideal epochs since the beginning. A scheduler must not use them.
    pub fn progress(&self) -> f64 {
        self.progress
    }

    /// The task of the current episode.
    pub fn task(&self) -> &Arc<SchedulingTask> {
        &self.task
    }

    /// Saves the state of the environment.
    pub fn save(&self) -> SavedEnvironment {
        SavedEnvironment {
            rng: self.rng.clone(),
            state: self.state,
            progress: self.progress,
            elapsed_s: self.elapsed_s,
        }
    }

    /// Continues from a saved state. The task must be the one that it was saved with.
    pub fn restore(&mut self, task: Arc<SchedulingTask>, saved: SavedEnvironment) {
        self.needed = task.ideal_epochs();
        self.task = task;
        let SavedEnvironment { rng, state, progress, elapsed_s } = saved;
        (self.rng, self.state, self.progress, self.elapsed_s) = (rng, state, progress, elapsed_s);
    }
}
