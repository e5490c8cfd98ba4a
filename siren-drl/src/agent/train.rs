//! The loop.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siren_burn::BurnWorkload;
use siren_core::{Batch, Result, Seed, Stream, UpdateRule, Workload};
use siren_hsp::kernel::{self, Step as Update};

use super::network::ACTIONS;
use super::normaliser::Normaliser;
use super::objective::Objective;
use super::rollout::{self, Actor, Track, tensor, values};
use super::settings::Settings;
use super::view::{INPUTS, View};
use crate::env::{Environment, Step, Vector};
use crate::play::Episode;
use crate::task::Task;

/// TODO experimental
pub struct Learning {
    settings: Settings,
    workload: BurnWorkload<Objective>,
    views: Vec<View>,
    vector: Vector,
    normaliser: Normaliser,
    params: Vec<f32>,
    average: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    actor_len: usize,
    updates: u64,
    iteration: u64,
    steps: u64,
    rng: ChaCha8Rng,
    returns: Returns,
    gradient: Vec<f32>,
}

struct Returns {
    running: Vec<f64>,
    count: f64,
    mean: f64,
    squares: f64,
}

impl Learning {
    /// New.
    pub fn new(settings: Settings, tasks: &[Arc<Task>], seed: Seed) -> Result<Self> {
        let seed = seed.split(Stream::Scheduler, &[]);
        let workload = BurnWorkload::new(Objective { inputs: INPUTS, settings })?;
        let params = workload.init(seed.child(0))?;
        let actor_len = workload
            .layout()
            .tensors()
            .iter()
            .filter(|t| !t.name.starts_with("critic"))
            .map(|t| t.elements())
            .sum();
        let count = settings.environments;
        Ok(Self {
            views: tasks.iter().map(|task| View::new(task)).collect(),
            vector: Vector::new(tasks, count, 0, seed.child(1))?,
            normaliser: Normaliser::new(INPUTS),
            first: vec![0.0; params.len()],
            second: vec![0.0; params.len()],
            gradient: vec![0.0; params.len()],
            average: params.clone(),
            params,
            actor_len,
            updates: 0,
            iteration: 0,
            steps: 0,
            rng: ChaCha8Rng::seed_from_u64(seed.child(2).get()),
            returns: Returns { running: vec![0.0; count], count: 1e-4, mean: 0.0, squares: 0.0 },
            workload,
            settings,
        })
    }

    /// Whether all is done.
    pub fn done(&self) -> bool {
        self.steps >= self.settings.steps
    }

    /// steps
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One iteration: collect, estimate, update.
    pub fn iterate(&mut self) -> Result<Vec<Step>> {
        let settings = self.settings;
        let network = self.workload.module(&self.params)?;
        let actor = Actor {
            network: &network,
            normaliser: &self.normaliser,
            log_sigma: settings.log_sigma,
        };
        let mut ended = Vec::new();
        let beta = if settings.shaped { self.vector.states().next().map_or(0.0, |(_, t)| t.reward.beta) } else { 0.0 };
        let tracks = rollout::collect(
            &actor,
            &self.views,
            &mut self.vector,
            settings.horizon,
            &mut self.rng,
            beta,
            &mut ended,
        )?;
        let scale = self.scale(&tracks);
        let mut rows: Vec<f32> = Vec::new();
        for track in &tracks {
            let count = track.rewards.len() + 1;
            let estimates = values(network.value(tensor(&track.states, count)));
            let (advantages, returns) = advantages(track, &estimates, scale, &settings);
            for at in 0..track.rewards.len() {
                rows.extend_from_slice(&track.states[at * INPUTS..][..INPUTS]);
                rows.extend_from_slice(&track.actions[at]);
                rows.extend([track.log_probs[at], advantages[at] as f32, returns[at] as f32]);
            }
        }
        let width = INPUTS + ACTIONS + 3;
        let count = rows.len() / width;
        let part = if settings.minibatch == 0 { count } else { settings.minibatch };
        let mut order: Vec<usize> = (0..count).collect();
        let mut bytes = Vec::new();
        for _ in 0..settings.passes {
            for i in (1..count).rev() {
                order.swap(i, self.rng.random_range(0..=i));
            }
            for picked in order.chunks(part) {
                let mean = picked.iter().map(|i| rows[i * width + width - 2]).sum::<f32>()
                    / picked.len() as f32;
                let squares = picked
                    .iter()
                    .map(|i| (rows[i * width + width - 2] - mean).powi(2))
                    .sum::<f32>();
                let deviation = (squares / picked.len() as f32).sqrt() + 1e-8;
                bytes.clear();
                for &i in picked {
                    let row = &rows[i * width..][..width];
                    for (at, x) in row.iter().enumerate() {
                        let x = if at == width - 2 { (x - mean) / deviation } else { *x };
                        bytes.extend_from_slice(&x.to_le_bytes());
                    }
                }
                self.update(&bytes, picked.len())?;
            }
        }
        for track in &tracks {
            self.normaliser.learn(&track.raw);
        }
        self.steps += count as u64;
        self.iteration += 1;
        let keep = settings.average;
        for (a, p) in self.average.iter_mut().zip(&self.params) { *a = keep * *a + (1.0 - keep) * p; }
        Ok(ended)
    }

    fn update(&mut self, bytes: &[u8], examples: usize) -> Result<()> {
        let batch = Batch { bytes, examples };
        self.workload.gradient(&self.params, &batch, Seed::new(0), &mut self.gradient)?;
        self.updates += 1;
        let settings = &self.settings;
        let left = 1.0 - self.steps as f32 / settings.steps as f32;
        let fall = settings.last_rate + (1.0 - settings.last_rate) * left.max(0.0);
        let critic_only = self.iteration < settings.critic_first;
        let cut = self.actor_len;
        let rule = UpdateRule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-5 };
        for (range, rate) in
            [(0..cut, settings.rate), (cut..self.params.len(), settings.critic_rate)]
        {
            if range.start == 0 && critic_only {
                continue;
            }
            let gradient = &self.gradient[range.clone()];
            let scale =
                kernel::clip_scale(Some(settings.clip_norm), 1, kernel::squared_norm(gradient));
            let update = Update { rule, rate: rate * fall, scale, decay: 0.0 };
            let mut slots = [&mut self.first[range.clone()], &mut self.second[range.clone()]];
            update.apply(self.updates, &mut self.params[range.clone()], &mut slots, gradient);
        }
        Ok(())
    }

    fn scale(&mut self, tracks: &[Track]) -> f64 {
        let returns = &mut self.returns;
        for (running, track) in returns.running.iter_mut().zip(tracks) {
            for (reward, end) in track.rewards.iter().zip(&track.ends) {
                *running = *running * self.settings.gamma + reward;
                returns.count += 1.0;
                let from = *running - returns.mean;
                returns.mean += from / returns.count;
                returns.squares += from * (*running - returns.mean);
                if *end {
                    *running = 0.0;
                }
            }
        }
        1.0 / ((returns.squares / returns.count).sqrt() + 1e-8)
    }

    /// Plays with the mean action.
    pub fn play(&self, task: &Arc<Task>, episodes: u64, seed: Seed) -> Result<Vec<Episode>> {
        let network = self.workload.module(&self.average)?;
        let actor = Actor {
            network: &network,
            normaliser: &self.normaliser,
            log_sigma: self.settings.log_sigma,
        };
        let view = View::new(task);
        let mut running: Vec<(Environment, Option<Episode>, Vec<Allocation>)> = (0..episodes)
            .map(|e| (Environment::new(Arc::clone(task), seed.child(e)), None, Vec::new()))
            .collect();
        use siren_core::Allocation;
        let mut rows = vec![0.0; running.len() * INPUTS];
        while running.iter().any(|r| r.1.is_none()) {
            for (r, row) in running.iter().zip(rows.chunks_exact_mut(INPUTS)) {
                view.inputs(r.0.state(), row);
            }
            self.normaliser.apply(&mut rows);
            let (means, _) = actor.act(&rows);
            for (i, (environment, episode, allocations)) in running.iter_mut().enumerate() {
                if episode.is_some() {
                    continue;
                }
                let allocation =
                    view.allocation(environment.state(), [means[2 * i], means[2 * i + 1]]);
                let step = environment.step(allocation);
                allocations.extend(step.state.allocation);
                if step.done() {
                    *episode = Some(Episode {
                        success: step.info.success,
                        time_s: step.info.elapsed_s,
                        cost_usd: step.info.cost_usd,
                        allocations: std::mem::take(allocations),
                    });
                }
            }
        }
        Ok(running.into_iter().filter_map(|r| r.1).collect())
    }

    /// sigma now
    pub fn sigma(&self) -> Vec<f32> {
        self.params[self.actor_len - 2..self.actor_len].iter().map(|x| (x + self.settings.log_sigma).exp()).collect()
    }
}

/// Generalised advantage estimation (Schulman and others, 2016), and the returns it implies.
fn advantages(
    track: &Track,
    estimates: &[f32],
    scale: f64,
    settings: &Settings,
) -> (Vec<f64>, Vec<f64>) {
    let count = track.rewards.len();
    let (mut advantages, mut returns) = (vec![0.0; count], vec![0.0; count]);
    let mut running = 0.0;
    for at in (0..count).rev() {
        let goes_on = if track.ends[at] { 0.0 } else { 1.0 };
        let (now, next) = (f64::from(estimates[at]), f64::from(estimates[at + 1]));
        let surprise = track.rewards[at] * scale + settings.gamma * next * goes_on - now;
        running = surprise + settings.gamma * settings.lambda * goes_on * running;
        advantages[at] = running;
        returns[at] = running + now;
    }
    (advantages, returns)
}
