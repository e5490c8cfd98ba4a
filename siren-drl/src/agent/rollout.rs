//! Experience.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use siren_core::{Allocation, Result, Seed};

use super::network::ACTIONS;
use super::policy::Policy;
use super::view::{INPUTS, View};
use crate::belief::Belief;
use crate::env::{Step, Vector};
use crate::play::Episode;
use crate::task::Task;

/// What one environment went through, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// What was seen, as it is.
    pub(super) raw: Vec<f32>,
    /// What was seen, normalised, and at the end what is seen now.
    pub(super) states: Vec<f32>,
    pub(super) actions: Vec<[f32; ACTIONS]>,
    pub(super) log_probs: Vec<f32>,
    pub(super) rewards: Vec<f64>,
    pub(super) ends: Vec<bool>,
    /// Last steps of episodes.
    pub(super) ended: Vec<Step>,
}

/// Seconds to the end beyond so many times those from the beginning count as no more.
const LONG: f64 = 3.0;

/// Environments with what is believed and seen of each.
pub(super) struct Crowd {
    pub(super) vector: Vector,
    tasks: Vec<Arc<Task>>,
    views: Vec<View>,
    beliefs: Vec<Belief>,
    /// Seconds from the beginning, by task.
    whole: Vec<f64>,
}

impl Crowd {
    pub(super) fn new(tasks: &[Arc<Task>], vector: Vector) -> Self {
        let views: Vec<View> = tasks.iter().map(|task| View::new(task)).collect();
        let begin = |task: &Arc<Task>| {
            let mut belief = certain(task);
            belief.observe(crate::Environment::new(Arc::clone(task), Seed::new(0)).state());
            belief
        };
        let whole = tasks.iter().zip(&views).map(|(task, view)| view.time_left(&begin(task)));
        Self { whole: whole.collect(), tasks: tasks.to_vec(), views, vector, beliefs: Vec::new() }
    }

    /// Begins to believe what the environments' states say.
    fn believe(&mut self) {
        let beliefs = (0..self.vector.len()).map(|environment| {
            let (state, task) = self.vector.state(environment);
            let mut belief = certain(&self.tasks[task]);
            belief.observe(state);
            belief
        });
        self.beliefs = beliefs.collect();
    }

    /// Lets a policy act for `horizon` epochs in each environment, or, if that is 0, to the end of an
    /// episode each.
    pub(super) fn collect(
        &mut self,
        policy: &Policy,
        horizon: usize,
        shaped: bool,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Track> {
        // Nothing but the environments carries over, so that training can go on from what is saved of them.
        self.believe();
        let count = self.vector.len();
        let mut tracks = vec![Track::default(); count];
        let mut rows = vec![0.0; count * INPUTS];
        let mut allocations = vec![Allocation { workers: 1, memory_mb: 0 }; count];
        let mut steps = vec![Step::default(); count];
        let mut before: Vec<f64> = (0..count).map(|one| self.potential(one, shaped)).collect();
        let longest = self.tasks.iter().map(|task| task.epochs).max().unwrap_or(1);
        let rounds = if horizon == 0 { longest as usize } else { horizon };
        for _ in 0..rounds {
            self.see(&mut rows);
            let raw = rows.clone();
            policy.normalise(&mut rows);
            let gaussian = policy.act(&rows);
            let mut actions = vec![([0.0; ACTIONS], 0.0); count];
            for (one, (action, log_prob)) in actions.iter_mut().enumerate() {
                for (i, action) in action.iter_mut().enumerate() {
                    let (mean, log_sigma) = (gaussian.means[one][i], gaussian.log_sigmas[one][i]);
                    let z: f32 = StandardNormal.sample(rng);
                    *action = mean + log_sigma.exp() * z;
                    *log_prob -= 0.5 * z * z + log_sigma + 0.5 * std::f32::consts::TAU.ln();
                }
                let (_, task) = self.vector.state(one);
                allocations[one] = self.views[task].allocation(&self.beliefs[one], *action);
            }
            self.vector.step(&allocations, &mut steps);
            for (one, (track, step)) in tracks.iter_mut().zip(&steps).enumerate() {
                let over = horizon == 0 && !track.ended.is_empty();
                let beta = self.reward_beta(one);
                self.observe(one, step.done());
                let now = self.potential(one, shaped);
                let after = if step.done() { 0.0 } else { now };
                let shaping = beta * (before[one] - after);
                before[one] = now;
                if over {
                    continue;
                }
                track.raw.extend_from_slice(&raw[one * INPUTS..][..INPUTS]);
                track.states.extend_from_slice(&rows[one * INPUTS..][..INPUTS]);
                let (action, log_prob) = actions[one];
                track.actions.push(action);
                track.log_probs.push(log_prob);
                track.rewards.push(step.reward + shaping);
                track.ends.push(step.done());
                track.ended.extend(step.done().then_some(*step));
            }
            if horizon == 0 && tracks.iter().all(|track| !track.ended.is_empty()) {
                break;
            }
        }
        self.see(&mut rows);
        policy.normalise(&mut rows);
        for (track, row) in tracks.iter_mut().zip(rows.chunks_exact(INPUTS)) {
            track.states.extend_from_slice(row);
        }
        tracks
    }

    fn see(&self, rows: &mut [f32]) {
        for (one, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
            let (state, task) = self.vector.state(one);
            self.views[task].inputs(&self.beliefs[one], state, row);
        }
    }

    fn observe(&mut self, one: usize, begins: bool) {
        let (state, task) = self.vector.state(one);
        if begins {
            self.beliefs[one] = certain(&self.tasks[task]);
        }
        self.beliefs[one].observe(state);
    }

    fn reward_beta(&self, one: usize) -> f64 {
        let (_, task) = self.vector.state(one);
        self.tasks[task].reward.beta
    }

    /// Seconds to the end, for the shaping of rewards.
    fn potential(&self, one: usize, shaped: bool) -> f64 {
        if !shaped {
            return 0.0;
        }
        let (_, task) = self.vector.state(one);
        self.views[task].time_left(&self.beliefs[one]).min(LONG * self.whole[task])
    }
}

/// A belief in a model that is right.
fn certain(task: &Task) -> Belief {
    Belief::new(Arc::clone(&task.job)).with_trust(f64::INFINITY)
}

/// Plays episodes with the mean action, all at once; the model is known to be right.
pub(super) fn play(
    policy: &Policy,
    task: &Arc<Task>,
    episodes: u64,
    seed: Seed,
) -> Result<Vec<Episode>> {
    let mut vector = Vector::new(&[Arc::clone(task)], episodes.max(1) as usize, 0, seed)?;
    let count = vector.len();
    let view = View::new(task);
    let mut beliefs = vec![certain(task); count];
    let mut rows = vec![0.0; count * INPUTS];
    let mut allocations = vec![Allocation { workers: 1, memory_mb: 0 }; count];
    let mut steps = vec![Step::default(); count];
    let mut chosen = vec![Vec::new(); count];
    let mut ended: Vec<Option<Episode>> = vec![None; count];
    while ended.iter().any(Option::is_none) {
        for (one, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
            beliefs[one].observe(vector.state(one).0);
            view.inputs(&beliefs[one], vector.state(one).0, row);
        }
        policy.normalise(&mut rows);
        let gaussian = policy.act(&rows);
        for (one, allocation) in allocations.iter_mut().enumerate() {
            *allocation = view.allocation(&beliefs[one], gaussian.means[one]);
        }
        vector.step(&allocations, &mut steps);
        for (one, step) in steps.iter().enumerate() {
            if ended[one].is_none() {
                chosen[one].extend(step.state.allocation);
            }
            if step.done() && ended[one].is_none() {
                ended[one] = Some(Episode {
                    success: step.info.success,
                    time_s: step.info.elapsed_s,
                    cost_usd: step.info.cost_usd,
                    allocations: std::mem::take(&mut chosen[one]),
                });
            }
        }
    }
    Ok(ended.into_iter().flatten().collect())
}
