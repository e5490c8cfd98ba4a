//! Collecting experience.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use siren_core::{Allocation, Result, Seed};

use super::network::ACTIONS;
use super::policy::Policy;
use super::settings::TrainingSettings;
use super::view::{INPUTS, View};
use crate::belief::Belief;
use crate::env::{Environment, Step, VectorEnvironment};
use crate::play::Episode;
use crate::task::{Reward, SchedulingTask};

/// The experience of one environment, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Trajectory {
    /// Inputs, not normalised.
    pub(super) raw: Vec<f32>,
    /// Normalised inputs, and at the end those of the current state.
    pub(super) states: Vec<f32>,
    pub(super) actions: Vec<[f32; ACTIONS]>,
    pub(super) log_probs: Vec<f32>,
    pub(super) rewards: Vec<f64>,
    pub(super) ends: Vec<bool>,
    /// The last steps of episodes, each with its task's reward.
    pub(super) ended: Vec<(Step, Reward)>,
}

/// The largest remaining time, as a multiple of the time from the beginning.
const LONG: f64 = 3.0;

/// Environments, with a view of each task and a belief for each environment.
pub(super) struct VecRollout {
    pub(super) vector: VectorEnvironment,
    tasks: Vec<Arc<SchedulingTask>>,
    views: Vec<View>,
    beliefs: Vec<Belief>,
    /// Seconds from the beginning to the end, by task.
    time_from_start: Vec<f64>,
}

impl VecRollout {
    pub(super) fn new(tasks: &[Arc<SchedulingTask>], vector: VectorEnvironment) -> Self {
        let views: Vec<View> = tasks.iter().map(|task| View::new(task)).collect();
        let begin = |task: &Arc<SchedulingTask>| {
            let mut belief = believed(task);
            belief.observe(Environment::new(Arc::clone(task), Seed::new(0)).state());
            belief
        };
        let time_from_start =
            tasks.iter().zip(&views).map(|(task, view)| view.time_left(&begin(task)));
        Self {
            time_from_start: time_from_start.collect(),
            tasks: tasks.to_vec(),
            views,
            vector,
            beliefs: Vec::new(),
        }
    }

    pub(super) fn tasks(&self) -> &[Arc<SchedulingTask>] {
        &self.tasks
    }

    /// Starts new beliefs from the environments' current states.
    fn believe(&mut self) {
        let beliefs = (0..self.vector.len()).map(|environment| {
            let (state, task) = self.vector.state(environment);
            let mut belief = believed(&self.tasks[task]);
            belief.observe(state);
            belief
        });
        self.beliefs = beliefs.collect();
    }

    /// Runs the policy for `horizon` epochs in each environment, or for one whole episode each if
    /// `horizon` is 0. Also returns the number of epochs run in all environments.
    pub(super) fn collect(
        &mut self,
        policy: &Policy,
        settings: &TrainingSettings,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<Trajectory>, u64) {
        let TrainingSettings { horizon, shaped, gamma, .. } = *settings;
        if horizon == 0 {
            self.vector.reset();
        }
        // Only the environments carry over, so that a training can continue from their saved state.
        self.believe();
        let count = self.vector.len();
        let mut trajectories = vec![Trajectory::default(); count];
        let mut rows = vec![0.0; count * INPUTS];
        let mut allocations = vec![Allocation::new(1, 0); count];
        let mut steps = vec![Step::default(); count];
        let mut before: Vec<f64> = (0..count).map(|env| self.potential(env, shaped)).collect();
        let longest = self.tasks.iter().map(|task| task.epochs).max().unwrap_or(1);
        let rounds = if horizon == 0 { longest as usize } else { horizon };
        let mut run = 0;
        for _ in 0..rounds {
            run += count as u64;
            let rewards: Vec<Reward> = (0..count).map(|env| self.reward(env)).collect();
            self.see(&mut rows);
            let raw = rows.clone();
            policy.normalise(&mut rows);
            let gaussian = policy.act(&rows);
            let mut actions = vec![([0.0; ACTIONS], 0.0); count];
            for (env, (action, log_prob)) in actions.iter_mut().enumerate() {
                for (i, action) in action.iter_mut().enumerate() {
                    let (mean, log_sigma) = (gaussian.means[env][i], gaussian.log_sigmas[env][i]);
                    let z: f32 = StandardNormal.sample(rng);
                    *action = mean + log_sigma.exp() * z;
                    *log_prob -= 0.5 * z * z + log_sigma + 0.5 * std::f32::consts::TAU.ln();
                }
                let (_, task) = self.vector.state(env);
                allocations[env] = self.views[task].allocation(&self.beliefs[env], *action);
            }
            self.vector.step(&allocations, &mut steps);
            for (env, (trajectory, step)) in trajectories.iter_mut().zip(&steps).enumerate() {
                let over = horizon == 0 && !trajectory.ended.is_empty();
                self.observe(env, step.done());
                let now = self.potential(env, shaped);
                let after = if step.done() { 0.0 } else { now };
                let shaping = rewards[env].beta * (before[env] - gamma * after);
                before[env] = now;
                if over {
                    continue;
                }
                trajectory.raw.extend_from_slice(&raw[env * INPUTS..][..INPUTS]);
                trajectory.states.extend_from_slice(&rows[env * INPUTS..][..INPUTS]);
                let (action, log_prob) = actions[env];
                trajectory.actions.push(action);
                trajectory.log_probs.push(log_prob);
                trajectory.rewards.push(step.reward + shaping);
                trajectory.ends.push(step.done());
                trajectory.ended.extend(step.done().then_some((*step, rewards[env])));
            }
            if horizon == 0 && trajectories.iter().all(|trajectory| !trajectory.ended.is_empty()) {
                break;
            }
        }
        self.see(&mut rows);
        policy.normalise(&mut rows);
        for (trajectory, row) in trajectories.iter_mut().zip(rows.chunks_exact(INPUTS)) {
            trajectory.states.extend_from_slice(row);
        }
        (trajectories, run)
    }

    fn see(&self, rows: &mut [f32]) {
        for (env, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
            let (state, task) = self.vector.state(env);
            self.views[task].inputs(&self.beliefs[env], state, row);
        }
    }

    fn observe(&mut self, env: usize, begins: bool) {
        let (state, task) = self.vector.state(env);
        if begins {
            self.beliefs[env] = believed(&self.tasks[task]);
        }
        self.beliefs[env].observe(state);
    }

    fn reward(&self, env: usize) -> Reward {
        let (_, task) = self.vector.state(env);
        self.tasks[task].reward
    }

    /// Seconds to the end, for the shaping of rewards.
    fn potential(&self, env: usize, shaped: bool) -> f64 {
        if !shaped {
            return 0.0;
        }
        let (_, task) = self.vector.state(env);
        self.views[task].time_left(&self.beliefs[env]).min(LONG * self.time_from_start[task])
    }
}

/// The belief of a scheduler that has the true model. It trusts the model no more than any other,
/// since a scheduler cannot know how accurate its model is.
fn believed(task: &SchedulingTask) -> Belief {
    Belief::new(Arc::clone(&task.job))
}

/// Plays episodes together, with the mean action.
pub(super) fn play(
    policy: &Policy,
    task: &Arc<SchedulingTask>,
    episodes: u64,
    seed: Seed,
) -> Result<Vec<Episode>> {
    let mut vector =
        VectorEnvironment::new(&[Arc::clone(task)], episodes.max(1) as usize, 0, seed)?;
    let count = vector.len();
    let view = View::new(task);
    let mut beliefs = vec![believed(task); count];
    let mut rows = vec![0.0; count * INPUTS];
    let mut allocations = vec![Allocation::new(1, 0); count];
    let mut steps = vec![Step::default(); count];
    let mut chosen = vec![Vec::new(); count];
    let mut ended: Vec<Option<Episode>> = vec![None; count];
    while ended.iter().any(Option::is_none) {
        for (env, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
            beliefs[env].observe(vector.state(env).0);
            view.inputs(&beliefs[env], vector.state(env).0, row);
        }
        policy.normalise(&mut rows);
        let gaussian = policy.act(&rows);
        for (env, allocation) in allocations.iter_mut().enumerate() {
            *allocation = view.allocation(&beliefs[env], gaussian.means[env]);
        }
        vector.step(&allocations, &mut steps);
        for (env, step) in steps.iter().enumerate() {
            if ended[env].is_none() {
                chosen[env].extend(step.state.allocation);
            }
            if step.done() && ended[env].is_none() {
                ended[env] = Some(Episode {
                    success: step.info.success,
                    time_s: step.info.elapsed_s,
                    cost_usd: step.info.cost_usd,
                    allocations: std::mem::take(&mut chosen[env]),
                });
            }
        }
    }
    Ok(ended.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use siren_burn::BurnWorkload;
    use siren_core::Workload;

    use super::*;
    use crate::agent::normaliser::Normaliser;
    use crate::agent::objective::Objective;
    use crate::model::JobModel;

    fn rollout(settings: &TrainingSettings) -> (VecRollout, Policy) {
        let task = |budget| {
            let task = SchedulingTask::new(JobModel::named("seed").unwrap(), budget).unwrap();
            Arc::new(task.with_scaled_reward().unwrap())
        };
        // The second task has another beta, and the untrained policy goes bankrupt in some
        // episodes.
        let tasks = [task(300.0), task(100.0)];
        let vector = VectorEnvironment::new(&tasks, 6, 0, Seed::new(3)).unwrap();
        let workload =
            BurnWorkload::new(Objective { inputs: INPUTS, settings: *settings }).unwrap();
        let params = workload.init(Seed::new(1)).unwrap();
        let policy = Policy::new(&workload, &params, Normaliser::new(INPUTS)).unwrap();
        (VecRollout::new(&tasks, vector), policy)
    }

    /// The sum of an episode's rewards is its return plus the potential of its first state,
    /// whatever the task of the next episode.
    #[test]
    fn shaping_adds_the_first_states_potential_to_an_episodes_return() {
        let settings = TrainingSettings { environments: 6, ..TrainingSettings::reinforce() };
        let (mut rollout, policy) = rollout(&settings);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..3 {
            let (trajectories, _) = rollout.collect(&policy, &settings, &mut rng);
            for trajectory in trajectories {
                let [(step, reward)] = trajectory.ended[..] else { panic!("not one episode") };
                let first = rollout
                    .tasks
                    .iter()
                    .zip(&rollout.time_from_start)
                    .find(|(task, _)| task.reward == reward)
                    .map(|(_, time_from_start)| *time_from_start);
                let end = if step.info.success { reward.terminal } else { -reward.terminal };
                let plain = end - reward.beta * step.info.elapsed_s;
                let expected = plain + reward.beta * first.unwrap();
                let sum: f64 = trajectory.rewards.iter().sum();
                assert!((sum - expected).abs() < 1e-9, "{sum}, not {expected}");
            }
        }
    }

    #[test]
    fn whole_episodes_begin_at_the_beginning() {
        let settings = TrainingSettings { environments: 6, ..TrainingSettings::reinforce() };
        let (mut rollout, policy) = rollout(&settings);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..3 {
            let (trajectories, run) = rollout.collect(&policy, &settings, &mut rng);
            let kept: usize = trajectories.iter().map(|trajectory| trajectory.rewards.len()).sum();
            assert!(run >= kept as u64 && run % 6 == 0, "{run} epochs, {kept} kept");
            for trajectory in trajectories {
                // The first input is the epoch.
                assert_eq!(trajectory.raw[0], 0.0);
                assert_eq!(trajectory.ends.iter().filter(|end| **end).count(), 1);
                assert_eq!(trajectory.raw.len() + INPUTS, trajectory.states.len());
            }
        }
    }
}
