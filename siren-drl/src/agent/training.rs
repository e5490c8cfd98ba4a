//! Policy gradient.

use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use siren_burn::BurnWorkload;
use siren_core::{Batch, Error, Result, Seed, Stream, Workload};

use super::Agent;
use super::advantage::{estimate, standardise};
use super::log::Log;
use super::network::ACTIONS;
use super::normaliser::Normaliser;
use super::objective::Objective;
use super::policy::Policy;
use super::rollout::{Crowd, Track, play};
use super::settings::Settings;
use super::view::INPUTS;
use super::weights::Weights;
use crate::env::Vector;
use crate::optimum::check_budget;
use crate::play::{Episode, Score};
use crate::task::Task;

/// Tasks that an evaluation looks at, of many.
const EVALUATED: usize = 16;

/// What an evaluation found, and what the iteration before it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Iterations so far.
    pub iteration: u64,
    /// Steps of all environments so far.
    pub steps: u64,
    /// How well the agent does with the mean action, on episodes that are used for nothing else.
    pub score: Score,
    /// Seconds over those that a constant allocation of one-vCPU functions would take, mean over the tasks.
    pub relative_time: f64,
    /// Whether it is the best one so far: by success first, then by time.
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
    /// How much of the returns' variance the critic explained before the updates.
    pub explained_variance: f64,
}

/// The training of an [`Agent`].
///
/// Each iteration collects experience with the policy, estimates advantages, and follows the gradient of
/// [PPO's objective](Settings::ppo), or of [REINFORCE's](Settings::reinforce). Everything is drawn from one
/// seed: the same seed trains the same agent, to the last bit, on one kind of machine.
///
/// ```no_run
/// use std::sync::Arc;
/// use siren_core::Seed;
/// use siren_drl::agent::{Settings, Training};
/// use siren_drl::{JobModel, Task};
///
/// let task = Arc::new(Task::new(JobModel::named("seed")?, 200.0)?);
/// let mut training = Training::new(&[task], Settings::ppo(), Seed::new(1))?;
/// training.run()?;
/// training.agent()?.save("agent.safetensors")?;
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct Training {
    pub(super) settings: Settings,
    pub(super) workload: Arc<BurnWorkload<Objective>>,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) crowd: Crowd,
    pub(super) weights: Weights,
    pub(super) best: Option<(Vec<f32>, Normaliser)>,
    pub(super) rest: Rest,
    begun_with: Seed,
    seed: Seed,
    gradient: Vec<f32>,
    log: Option<Log>,
}

/// What a training consists of beside weights and environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) iteration: u64,
    pub(super) steps: u64,
    pub(super) normaliser: Normaliser,
    pub(super) returns: Returns,
    pub(super) rng: ChaCha8Rng,
    pub(super) evaluations: Vec<Evaluation>,
}

impl Training {
    /// Training from scratch, or from what imitating the planner gives ([`Settings::warm_start`]). Each
    /// episode draws one of the tasks. Rewards are those of the tasks, except that beta and c are chosen by
    /// [`Task::rewarded`].
    ///
    /// # Errors
    ///
    /// Rejected where a setting or a task makes no sense; [`ErrorKind::Budget`](siren_core::ErrorKind::Budget)
    /// with the least cost where a budget is below it.
    pub fn new(tasks: &[Arc<Task>], settings: Settings, seed: Seed) -> Result<Self> {
        let mut new = Self::empty(tasks, settings, seed)?;
        new.tasks.iter().try_for_each(|task| check_budget(task))?;
        if settings.warm_start > 0 {
            new.imitate()?;
        }
        Ok(new)
    }

    pub(super) fn empty(tasks: &[Arc<Task>], settings: Settings, seed: Seed) -> Result<Self> {
        settings.check()?;
        let workload = Arc::new(BurnWorkload::new(Objective { inputs: INPUTS, settings })?);
        let own = seed.split(Stream::Scheduler, &[]);
        let params = workload.init(own.child(0))?;
        let tensors = workload.layout().tensors().iter();
        let cut = tensors.filter(|t| !t.name.starts_with("critic")).map(|t| t.elements()).sum();
        tasks.iter().try_for_each(|task| task.check())?;
        let tasks: Vec<Arc<Task>> =
            tasks.iter().map(|task| Arc::new(Task::clone(task).rewarded())).collect();
        let trained: Vec<Arc<Task>> = tasks
            .iter()
            .map(|task| Arc::new(task.with_budget(task.budget_usd * settings.margin)))
            .collect();
        let vector = Vector::new(&trained, settings.environments, 0, own.child(1))?;
        Ok(Self {
            crowd: Crowd::new(&trained, vector),
            gradient: vec![0.0; params.len()],
            weights: Weights::new(params, cut),
            best: None,
            rest: Rest {
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
            begun_with: seed,
            log: None,
        })
    }

    /// Writes each evaluation to `training.jsonl` in this folder, and as TensorBoard's event files with
    /// feature `tensorboard`.
    ///
    /// # Errors
    ///
    /// Other when nothing can be written there.
    pub fn log_to(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        self.log = Some(Log::open(folder.as_ref())?);
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

    /// Whether all steps are done, or nothing has become better for long.
    pub fn is_done(&self) -> bool {
        let evaluations = &self.rest.evaluations;
        let since = evaluations.iter().rev().take_while(|evaluation| !evaluation.best).count();
        let patience = self.settings.patience;
        self.rest.steps >= self.settings.steps || patience > 0 && since as u64 >= patience
    }

    /// Collects, estimates, follows the gradient; and evaluates, where that is due.
    ///
    /// # Errors
    ///
    /// Diverged when weights are no longer finite; other when the log cannot be written.
    pub fn iterate(&mut self) -> Result<Option<&Evaluation>> {
        let Settings { horizon, passes, shaped, .. } = self.settings;
        let policy = self.policy(&self.weights.params)?;
        let tracks = self.crowd.collect(&policy, horizon, shaped, &mut self.rest.rng);
        let (rows, explained_variance) = self.rows(&policy, &tracks);
        let count = rows.len() / self.width();
        let part = if self.settings.minibatch == 0 { count } else { self.settings.minibatch };
        let mut order: Vec<usize> = (0..count).collect();
        for _ in 0..passes {
            for i in (1..count).rev() {
                order.swap(i, self.rest.rng.random_range(0..=i));
            }
            for picked in order.chunks(part) {
                self.update(&rows, picked)?;
            }
        }
        for track in &tracks {
            self.rest.normaliser.learn(&track.raw);
        }
        self.weights.average(self.settings.average);
        self.rest.steps += count as u64;
        self.rest.iteration += 1;
        if !self.is_done() && !self.rest.iteration.is_multiple_of(self.settings.evaluate_every) {
            return Ok(None);
        }
        self.check_finite()?;
        self.evaluate(&tracks, &rows, explained_variance)?;
        Ok(self.rest.evaluations.last())
    }

    /// One row for each step: the state, the action, the logarithm of its density, its advantage, its
    /// return. And how much of the returns' variance the critic explains.
    fn rows(&mut self, policy: &Policy, tracks: &[Track]) -> (Vec<f32>, f64) {
        let Settings { gamma, lambda, .. } = self.settings;
        let scale = self.rest.returns.scale(tracks, gamma);
        let mut rows = Vec::new();
        let (mut errors, mut targets) = (Spread::default(), Spread::default());
        for track in tracks {
            let values = policy.values(&track.states);
            let (advantages, returns) = estimate(track, &values, scale, gamma, lambda);
            for (at, state) in track.states.chunks_exact(INPUTS).take(returns.len()).enumerate() {
                rows.extend_from_slice(state);
                rows.extend_from_slice(&track.actions[at]);
                rows.extend([track.log_probs[at], advantages[at], returns[at]]);
                errors.add((returns[at] - values[at]).into());
                targets.add(returns[at].into());
            }
        }
        (rows, 1.0 - errors.variance() / targets.variance().max(1e-12))
    }

    fn width(&self) -> usize {
        self.workload.learner().width()
    }

    /// One step along the gradient, on these rows, with advantages of mean 0 and variance 1.
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
        let left = 1.0 - self.rest.steps as f32 / self.settings.steps as f32;
        let fall = self.settings.last_rate + (1.0 - self.settings.last_rate) * left.max(0.0);
        let policy = self.rest.iteration >= self.settings.critic_first;
        self.weights.descend(&self.gradient, &self.settings, fall, policy);
        Ok(())
    }

    fn evaluate(&mut self, tracks: &[Track], rows: &[f32], explained_variance: f64) -> Result<()> {
        let averaged = self.policy(&self.weights.average)?;
        let (score, relative_time) = self.score(&averaged)?;
        let rank = |score: &Score, time: f64| (score.success.min(0.995), -time);
        let best = self.rest.evaluations.iter().rfind(|other| other.best);
        let best = best.is_none_or(|other| {
            rank(&score, relative_time) > rank(&other.score, other.relative_time)
        });
        if best {
            let average = self.weights.average.clone();
            self.best = Some((average, self.rest.normaliser.clone()));
        }
        let ended: Vec<_> = tracks.iter().flat_map(|track| &track.ended).collect();
        let share = |of: f64| (!ended.is_empty()).then(|| of / ended.len() as f64);
        let reward = self.tasks[0].reward;
        let ends = |success| if success { reward.c } else { -reward.c };
        let returned =
            ended.iter().map(|step| ends(step.info.success) - reward.beta * step.info.elapsed_s);
        let after = self.policy(&self.weights.params)?;
        let (kl, clip_fraction, sigma) = self.moved(&after, rows);
        let evaluation = Evaluation {
            iteration: self.rest.iteration,
            steps: self.rest.steps,
            score,
            relative_time,
            best,
            episode_return: share(returned.sum()),
            episode_success: share(ended.iter().filter(|step| step.info.success).count() as f64),
            sigma,
            kl,
            clip_fraction,
            explained_variance,
        };
        if let Some(log) = &mut self.log {
            log.write(&evaluation)?;
        }
        self.rest.evaluations.push(evaluation);
        Ok(())
    }

    /// How far the updates moved the policy: divergence, share of clipped ratios; and its mean sigma.
    fn moved(&self, after: &Policy, rows: &[f32]) -> (f64, f64, [f64; ACTIONS]) {
        let width = self.width();
        let seen: Vec<f32> =
            rows.chunks_exact(width).flat_map(|row| &row[..INPUTS]).copied().collect();
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
            // Schulman, "Approximating KL divergence", 2020: unbiased, never negative.
            kl += log_ratio.exp_m1() - log_ratio;
            let far = log_ratio.exp_m1().abs() > f64::from(self.settings.clip);
            clipped += if far { 1.0 } else { 0.0 };
        }
        let count = gaussian.means.len().max(1) as f64;
        (kl / count, clipped / count, sigma.map(|sum| sum / count))
    }

    /// Success and time on the validation episodes, which belong to seeds of their own.
    fn score(&self, policy: &Policy) -> Result<(Score, f64)> {
        let every = self.tasks.len().div_ceil(EVALUATED);
        let tasks: Vec<&Arc<Task>> = self.tasks.iter().step_by(every).collect();
        let episodes = self.settings.evaluate_episodes.div_ceil(tasks.len() as u64);
        let (mut all, mut relative) = (Vec::new(), Spread::default());
        for (number, task) in (0..).zip(tasks) {
            let played = play(policy, task, episodes, self.seed.child(3).child(number))?;
            relative.add(Score::of(&played).time_s * task.reward.beta);
            all.extend(played);
        }
        Ok((Score::of(&all), relative.mean))
    }

    pub(super) fn policy(&self, params: &[f32]) -> Result<Policy> {
        Policy::new(&self.workload, params, self.rest.normaliser.clone())
    }

    /// Steps of all environments so far.
    pub fn steps(&self) -> u64 {
        self.rest.steps
    }

    /// All evaluations so far.
    pub fn evaluations(&self) -> &[Evaluation] {
        &self.rest.evaluations
    }

    /// The best agent so far, by its evaluations; the one that training began with, if there was none.
    ///
    /// # Errors
    ///
    /// Diverged when its weights are not finite.
    pub fn agent(&self) -> Result<Agent> {
        let (params, normaliser) = match &self.best {
            Some((params, normaliser)) => (params.clone(), normaliser.clone()),
            None => (self.weights.average.clone(), self.rest.normaliser.clone()),
        };
        Agent::new(Arc::clone(&self.workload), params, normaliser)
    }

    /// Lets the agent as it is now play, with the mean action.
    ///
    /// # Errors
    ///
    /// As [`Agent::play`].
    pub fn play(&self, task: &Arc<Task>, episodes: u64, seed: Seed) -> Result<Vec<Episode>> {
        play(&self.policy(&self.weights.average)?, task, episodes, seed)
    }

    pub(super) fn begun_with(&self) -> Seed {
        self.begun_with
    }

    pub(super) fn random(&self, number: u64) -> Seed {
        self.seed.child(number)
    }

    pub(super) fn check_finite(&self) -> Result<()> {
        match self.weights.params.iter().all(|param| param.is_finite()) {
            true => Ok(()),
            false => Err(Error::new(
                siren_core::ErrorKind::Diverged,
                "the policy's weights are no longer finite: try a smaller rate",
            )),
        }
    }
}

/// The running standard deviation of discounted returns, by which rewards are divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Returns {
    running: Vec<f64>,
    spread: Spread,
}

impl Returns {
    fn new(environments: usize) -> Self {
        Self { running: vec![0.0; environments], spread: Spread::default() }
    }

    fn scale(&mut self, tracks: &[Track], gamma: f64) -> f64 {
        for (running, track) in self.running.iter_mut().zip(tracks) {
            for (reward, end) in track.rewards.iter().zip(&track.ends) {
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
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let from = value - self.mean;
        self.mean += from / self.count;
        self.squares += from * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.count.max(1.0)
    }
}
