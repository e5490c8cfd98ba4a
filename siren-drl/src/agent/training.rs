//! Training by policy gradient.

use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use siren_burn::BurnWorkload;
use siren_core::{Batch, Error, Result, Seed, Stream, Workload};

use super::Agent;
use super::advantage::{estimate, standardise};
use super::evaluation::{Evaluation, policy_change, score};
use super::log::Log;
use super::normaliser::Normaliser;
use super::objective::Objective;
use super::policy::Policy;
use super::rollout::{Trajectory, VecRollout, play};
use super::settings::TrainingSettings;
use super::statistics::{Returns, RunningVariance};
use super::view::INPUTS;
use super::weights::Weights;
use crate::env::VectorEnvironment;
use crate::optimum::check_budget;
use crate::play::{Episode, Score};
use crate::task::SchedulingTask;

/// The training of an [`Agent`].
///
/// Each iteration collects experience with the policy, estimates advantages, and follows the
/// gradient of [PPO's objective](TrainingSettings::ppo) or of
/// [REINFORCE's](TrainingSettings::reinforce). All random numbers come from one seed: the same seed
/// trains the same agent, to the last bit, on the same kind of machine.
///
/// ```no_run
/// use std::sync::Arc;
/// use siren_core::Seed;
/// use siren_drl::agent::{Training, TrainingSettings};
/// use siren_drl::{JobModel, SchedulingTask};
///
/// let task = Arc::new(SchedulingTask::new(JobModel::named("seed")?, 200.0)?);
/// let mut training = Training::new(&[task], TrainingSettings::ppo(), Seed::new(1))?;
/// training.run()?;
/// training.agent()?.save("agent.safetensors")?;
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct Training {
    pub(super) settings: TrainingSettings,
    pub(super) workload: Arc<BurnWorkload<Objective>>,
    pub(super) tasks: Vec<Arc<SchedulingTask>>,
    pub(super) rollout: VecRollout,
    pub(super) weights: Weights,
    pub(super) best: Option<(Vec<f32>, Normaliser)>,
    pub(super) state: TrainingState,
    initial_seed: Seed,
    seed: Seed,
    gradient: Vec<f32>,
    log: Option<Log>,
}

/// The state of a training besides weights and environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainingState {
    pub(super) iteration: u64,
    pub(super) steps: u64,
    pub(super) normaliser: Normaliser,
    pub(super) returns: Returns,
    pub(super) rng: ChaCha8Rng,
    pub(super) evaluations: Vec<Evaluation>,
}

impl Training {
    /// Starts a training, from scratch or by imitating the planner
    /// ([`TrainingSettings::warm_start`]). Each episode draws one of the tasks.
    /// [`SchedulingTask::with_scaled_reward`] replaces each task's beta and c.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when a setting or a task is
    /// invalid, and [`ErrorKind::Budget`](siren_core::ErrorKind::Budget) with the minimum cost when
    /// a budget is below it.
    pub fn new(
        tasks: &[Arc<SchedulingTask>],
        settings: TrainingSettings,
        seed: Seed,
    ) -> Result<Self> {
        let mut new = Self::empty(tasks, settings, seed)?;
        new.rollout.tasks().iter().try_for_each(|task| check_budget(task))?;
        if settings.warm_start > 0 {
            new.imitate()?;
        }
        Ok(new)
    }

    pub(super) fn empty(
        tasks: &[Arc<SchedulingTask>],
        settings: TrainingSettings,
        seed: Seed,
    ) -> Result<Self> {
        settings.check()?;
        let workload = Arc::new(BurnWorkload::new(Objective { inputs: INPUTS, settings })?);
        let own = seed.split(Stream::Scheduler, &[]);
        let params = workload.init(own.child(0))?;
        let tensors = workload.layout().tensors().iter();
        let cut = tensors.filter(|t| !t.name.starts_with("critic")).map(|t| t.elements()).sum();
        tasks.iter().try_for_each(|task| task.check())?;
        let rewarded =
            tasks.iter().map(|task| SchedulingTask::clone(task).with_scaled_reward().map(Arc::new));
        let tasks = rewarded.collect::<Result<Vec<_>>>()?;
        let trained: Vec<Arc<SchedulingTask>> = tasks
            .iter()
            .map(|task| Arc::new(task.with_budget(task.budget_usd * settings.margin)))
            .collect();
        let vector = VectorEnvironment::new(&trained, settings.environments, 0, own.child(1))?;
        Ok(Self {
            rollout: VecRollout::new(&trained, vector),
            gradient: vec![0.0; params.len()],
            weights: Weights::new(params, cut),
            best: None,
            state: TrainingState {
                iteration: 0,
                steps: 0,
                normaliser: Normaliser::new(INPUTS),
                returns: Returns::new(settings.environments),
                rng: ChaCha8Rng::seed_from_u64(own.child(2).get()),
                evaluations: Vec::new(),
            },
            settings,
            workload,
            tasks,
            seed: own,
            initial_seed: seed,
            log: None,
        })
    }

    /// Writes each evaluation to `training.jsonl` in this folder, and to TensorBoard event files
    /// with feature `tensorboard`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`](siren_core::ErrorKind::Other) when the log cannot be written.
    pub fn log_to(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let mut log = Log::open(folder.as_ref())?;
        // The log of a resumed training includes the evaluations before the interruption.
        self.state.evaluations.iter().try_for_each(|evaluation| log.write(evaluation))?;
        self.log = Some(log);
        Ok(self)
    }

    /// Trains to the end.
    ///
    /// # Errors
    ///
    /// As [`iterate`](Self::iterate).
    pub fn run(&mut self) -> Result<()> {
        while !self.is_done() {
            self.iterate()?;
        }
        Ok(())
    }

    /// `true` if all steps are done, or if [`TrainingSettings::patience`] evaluations brought no
    /// improvement.
    pub fn is_done(&self) -> bool {
        let evaluations = &self.state.evaluations;
        let since = evaluations.iter().rev().take_while(|evaluation| !evaluation.best).count();
        let patience = self.settings.patience;
        self.state.steps >= self.settings.steps || patience > 0 && since as u64 >= patience
    }

    /// Collects experience, estimates advantages and updates the weights. Returns an evaluation
    /// when one is due.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Diverged`](siren_core::ErrorKind::Diverged) when weights are no longer
    /// finite, and [`ErrorKind::Other`](siren_core::ErrorKind::Other) when the log cannot be
    /// written.
    pub fn iterate(&mut self) -> Result<Option<&Evaluation>> {
        let passes = self.settings.passes;
        let policy = self.policy(&self.weights.params)?;
        let (trajectories, run) =
            self.rollout.collect(&policy, &self.settings, &mut self.state.rng);
        let (rows, explained_variance) = self.rows(&policy, &trajectories);
        let count = rows.len() / self.width();
        let part = if self.settings.minibatch == 0 { count } else { self.settings.minibatch };
        let mut order: Vec<usize> = (0..count).collect();
        for _ in 0..passes {
            for i in (1..count).rev() {
                order.swap(i, self.state.rng.random_range(0..=i));
            }
            for picked in order.chunks(part) {
                self.update(&rows, picked)?;
            }
        }
        for trajectory in &trajectories {
            self.state.normaliser.learn(&trajectory.raw);
        }
        self.weights.average(self.settings.average);
        self.state.steps += run;
        self.state.iteration += 1;
        if !self.is_done() && !self.state.iteration.is_multiple_of(self.settings.evaluate_every) {
            return Ok(None);
        }
        self.check_finite()?;
        self.evaluate(&trajectories, &rows, explained_variance)?;
        Ok(self.state.evaluations.last())
    }

    /// One row for each step: the state, the action, the logarithm of its density, its advantage,
    /// its return. Also returns the share of the returns' variance that the critic explains.
    fn rows(&mut self, policy: &Policy, trajectories: &[Trajectory]) -> (Vec<f32>, f64) {
        let TrainingSettings { gamma, lambda, .. } = self.settings;
        let scale = self.state.returns.scale(trajectories, gamma);
        let mut rows = Vec::new();
        let (mut errors, mut targets) = (RunningVariance::default(), RunningVariance::default());
        for trajectory in trajectories {
            let values = policy.values(&trajectory.states);
            let (advantages, returns) = estimate(trajectory, &values, scale, gamma, lambda);
            for (at, state) in
                trajectory.states.chunks_exact(INPUTS).take(returns.len()).enumerate()
            {
                rows.extend_from_slice(state);
                rows.extend_from_slice(&trajectory.actions[at]);
                rows.extend([trajectory.log_probs[at], advantages[at], returns[at]]);
                errors.add((returns[at] - values[at]).into());
                targets.add(returns[at].into());
            }
        }
        (rows, 1.0 - errors.variance() / targets.variance().max(1e-12))
    }

    fn width(&self) -> usize {
        self.workload.learner().width()
    }

    /// Takes one step along the gradient of these rows, with advantages of mean 0 and variance 1.
    fn update(&mut self, rows: &[f32], picked: &[usize]) -> Result<()> {
        let width = self.width();
        let mut minibatch: Vec<f32> = Vec::with_capacity(picked.len() * width);
        let mut advantages: Vec<f32> =
            picked.iter().map(|row| rows[row * width + width - 2]).collect();
        standardise(&mut advantages);
        for (row, advantage) in picked.iter().zip(advantages) {
            minibatch.extend_from_slice(&rows[row * width..][..width]);
            let last = minibatch.len() - 2;
            minibatch[last] = advantage;
        }
        let bytes: Vec<u8> = minibatch.iter().flat_map(|x| x.to_le_bytes()).collect();
        let batch = Batch { bytes: &bytes, examples: picked.len() };
        self.workload.gradient(&self.weights.params, &batch, Seed::new(0), &mut self.gradient)?;
        let left = 1.0 - self.state.steps as f32 / self.settings.steps as f32;
        let fall = self.settings.last_rate + (1.0 - self.settings.last_rate) * left.max(0.0);
        let policy = self.state.iteration >= self.settings.critic_first;
        self.weights.descend(&self.gradient, &self.settings, fall, policy);
        Ok(())
    }

    fn evaluate(
        &mut self,
        trajectories: &[Trajectory],
        rows: &[f32],
        explained_variance: f64,
    ) -> Result<()> {
        let averaged = self.policy(&self.weights.average)?;
        let (score, relative_time) = score(
            &averaged,
            &self.tasks,
            self.settings.evaluate_episodes,
            // Episodes that are used for nothing else.
            self.random(3),
        )?;
        let rank = |score: &Score, time: f64| (score.success.min(0.995), -time);
        let best = self.state.evaluations.iter().rfind(|other| other.best);
        let best = best.is_none_or(|other| {
            rank(&score, relative_time) > rank(&other.score, other.relative_time)
        });
        if best {
            let average = self.weights.average.clone();
            self.best = Some((average, self.state.normaliser.clone()));
        }
        let ended: Vec<_> = trajectories.iter().flat_map(|trajectory| &trajectory.ended).collect();
        let share = |of: f64| (!ended.is_empty()).then(|| of / ended.len() as f64);
        let returned = ended.iter().map(|(step, reward)| {
            let end = if step.info.success { reward.terminal } else { -reward.terminal };
            end - reward.beta * step.info.elapsed_s
        });
        let after = self.policy(&self.weights.params)?;
        let (kl, clip_fraction, sigma) =
            policy_change(&after, rows, self.width(), self.settings.clip);
        let evaluation = Evaluation {
            iteration: self.state.iteration,
            steps: self.state.steps,
            score,
            relative_time,
            best,
            episode_return: share(returned.sum()),
            episode_success: share(
                ended.iter().filter(|(step, _)| step.info.success).count() as f64
            ),
            sigma,
            kl,
            clip_fraction,
            explained_variance,
        };
        if let Some(log) = &mut self.log {
            log.write(&evaluation)?;
        }
        self.state.evaluations.push(evaluation);
        Ok(())
    }

    pub(super) fn policy(&self, params: &[f32]) -> Result<Policy> {
        Policy::new(&self.workload, params, self.state.normaliser.clone())
    }

    /// Steps of all environments so far.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// All evaluations so far.
    pub fn evaluations(&self) -> &[Evaluation] {
        &self.state.evaluations
    }

    /// The best agent so far, by its evaluations; the current agent if there was no evaluation.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Diverged`](siren_core::ErrorKind::Diverged) when its weights are not
    /// finite.
    pub fn agent(&self) -> Result<Agent> {
        let (params, normaliser) = match &self.best {
            Some((params, normaliser)) => (params.clone(), normaliser.clone()),
            None => (self.weights.average.clone(), self.state.normaliser.clone()),
        };
        Agent::new(Arc::clone(&self.workload), params, normaliser)
    }

    /// Plays episodes with the current agent and the mean action.
    ///
    /// # Errors
    ///
    /// As [`Agent::play`].
    pub fn play(
        &self,
        task: &Arc<SchedulingTask>,
        episodes: u64,
        seed: Seed,
    ) -> Result<Vec<Episode>> {
        play(&self.policy(&self.weights.average)?, task, episodes, seed)
    }

    pub(super) fn initial_seed(&self) -> Seed {
        self.initial_seed
    }

    pub(super) fn random(&self, number: u64) -> Seed {
        self.seed.child(number)
    }

    pub(super) fn check_finite(&self) -> Result<()> {
        match self.weights.params.iter().all(|param| param.is_finite()) {
            true => Ok(()),
            false => Err(Error::new(
                siren_core::ErrorKind::Diverged,
                "the policy's weights are no longer finite: try a smaller learning rate",
            )),
        }
    }
}
