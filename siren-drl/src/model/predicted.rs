//! The model of a workload on a platform, before anything ran.

use siren_core::platform::{EpochShape, Profile};
use siren_core::{Allocation, Requests, StepTime, Work};

use super::{At, Chance, Compute, Dynamics, Fees, Fetch, JobModel, Loss, Noise};
use super::{Shards, Staleness, Start, Update};
use crate::solve::least_squares;

/// The share of the excess loss that is left at the target. A guess, from the SIREN talk.
const EXCESS: f64 = 0.05;

/// The pushes of a function in an epoch at which half of the progress is lost to staleness. A
/// guess: with fewer pushes, more of them are computed from parameters that others have changed.
pub(crate) const PUSHES: f64 = 4.0;

impl JobModel {
    /// Predicts the job of a workload on a platform, before anything ran. Epochs have the shape
    /// `shape`; functions behave as `profile` says and compute as `step` says. The expected time
    /// and cost of an epoch are about those of [`Profile::epoch`], with warm environments after the
    /// first epoch.
    ///
    /// The profile adds up distributions, and this model has closed formulae: its spread of
    /// functions is fitted to the profile's waits at the barrier. Aggregators are not included; see
    /// [`Fees::second_usd`].
    ///
    /// The loss is unknown. The following are guesses, to be replaced by a target
    /// ([`with_target`](Self::with_target)) and by experience: the loss is [`Loss::default`], half
    /// of the progress is lost if each function pushes only four times in an epoch, and all epochs
    /// compute and push the same amount.
    pub fn predicted(profile: &Profile, shape: &EpochShape, step: &StepTime) -> Self {
        let Profile { platform, starts, storage, network, cpu } = profile;
        let batches = shape.batches.max(1) as f64;
        let steps = shape.local_steps.max(1) as f64;
        let mean_s = |ms: f64| ms / 1e3;
        let (get, put) = (storage.get_ms.mean(), storage.put_ms.mean());
        let tail = storage.tail_ms.mean();
        let latency_s = |requests: Requests| {
            let (reads, writes) = (requests.reads as f64, requests.writes as f64);
            mean_s(reads * (get + tail) + writes * (put + tail))
        };
        let both = shape.pull + shape.push;
        let moved = shape.pull_bytes + shape.push_bytes;
        let moving_s = network.read_seconds(shape.pull_bytes, network.read_slowdown.mean())
            + network.write_seconds(shape.push_bytes, network.write_slowdown.mean());
        let size_mb = moved as f64 / 1e6;
        let mut fetch = Fetch {
            function_mb_s: if moving_s > 0.0 { size_mb / moving_s } else { 0.0 },
            ..Fetch::default()
        };
        let updates = batches / steps;
        let reads_s = updates * both.reads as f64 / storage.reads_per_s;
        let writes_s = updates * both.writes as f64 / storage.writes_per_s;
        if shape.example_bytes > 0.0 {
            let bytes = (shape.example_bytes * shape.batch_size as f64) as u64;
            let moving_s = network.read_seconds(bytes, network.read_slowdown.mean());
            fetch.batch_s = mean_s(get + tail) + moving_s;
            fetch.batch_deviation_s = mean_s(storage.get_ms.variance().sqrt());
            fetch.all_s = batches / storage.reads_per_s;
        }
        // The limit that is reached first.
        let mut all_s = reads_s;
        if writes_s > fetch.all_s + reads_s {
            (fetch.all_s, all_s) = (0.0, writes_s);
        }
        let epoch_reads = Requests { reads: reads_of(shape), writes: 0 };
        let gradient = Work::Gradient { examples: shape.batch_size };
        let mut model = Self {
            name: "predicted".into(),
            target_loss: Self::default().target_loss,
            platform: platform.clone(),
            loss: Loss::default(),
            fees: Fees {
                call_usd: platform.prices.invocation.dollars(),
                update_usd: platform.requests_cost(both).dollars(),
                epoch_usd: platform.requests_cost(epoch_reads).dollars(),
                ..Fees::default()
            },
            shards: Shards { batches, local_steps: steps },
            start: Start {
                seconds: platform.prices.billing_step.as_secs_f64() / 2.0,
                wait_s: mean_s(starts.warm_ms.mean()),
                first_billed_s: mean_s(starts.init_ms.mean()),
                each_s: mean_s(starts.dispatch_ms),
                ..Start::default()
            },
            fetch,
            compute: Compute {
                vcpu_seconds: batches * step.seconds(gradient, 1.0, cpu),
                parallel_share: step.parallel_share,
                memory_mb: memory_mb(profile, shape),
                ..Compute::default()
            },
            update: Update {
                shared_rounds: batches / steps,
                latency_s: latency_s(both),
                size_mb,
                all_s,
                ..Update::default()
            },
            staleness: Staleness { workers: batches / steps / PUSHES, fall: 0.0 },
            noise: Noise::default(),
        };
        model.spread_as(profile, shape, step);
        model
    }

    /// Sets the loss curve: `initial` at the start, falling to `target` in `epochs` ideal epochs.
    /// The shape is a guess for use without measurements: the excess loss falls to a twentieth, as
    /// in the SIREN talk's job.
    ///
    /// If `initial` is not above `target` or `epochs` is not above 0, the curve keeps its shape,
    /// but falls to below the target.
    #[must_use]
    pub fn with_target(mut self, initial: f64, target: f64, epochs: f64) -> Self {
        self.target_loss = target;
        if !(initial > target && epochs > 0.0 && initial.is_finite() && epochs.is_finite()) {
            self.loss.b2 = self.loss.b2.min(target - 0.05 * target.abs().max(1e-6));
            return self;
        }
        let excess = (initial - target) / (1.0 - EXCESS);
        let (first, last) = (1.0 / excess, 1.0 / (EXCESS * excess));
        self.loss = Loss { b0: (last - first) / epochs, b1: first, b2: initial - excess };
        self
    }

    /// Fits the spread of functions, which has no closed form, to the profile's barriers. Measures
    /// the additional time of new environments with one allocation.
    fn spread_as(&mut self, profile: &Profile, shape: &EpochShape, step: &StepTime) {
        let limits = &profile.platform.limits;
        self.noise.billed = if shape.sync_mode.runs_in_step() { 1.0 } else { 0.0 };
        let most = f64::from(limits.concurrency).min(self.shards.batches);
        let (small, large) = (f64::from(limits.memory_min_mb), f64::from(limits.memory_max_mb));
        let vcpu = limits.memory_per_vcpu_mb.clamp(small, large);
        let known: Vec<(Allocation, f64)> = [2.0, 4.0, 8.0, 16.0]
            .map(|parts: f64| most.powf(parts / 16.0).round().max(2.0))
            .into_iter()
            .flat_map(|n| [vcpu / 8.0, vcpu, large].map(|m| (n, m.clamp(small, large))))
            .map(|(n, m)| Allocation::new(n as u32, m as u32))
            .map(|to| (to, profile.epoch(shape, step, to, false).elapsed_s))
            .collect();
        let set = |model: &mut Self, x: &[f64; 3]| {
            let [time, update, late] = x.map(f64::exp);
            (model.noise.time, model.noise.update, model.update.late_s) = (time, update, late);
        };
        let (many, memory) = (most.powf(0.75).round().max(1.0), vcpu);
        let typical = Allocation::new(many as u32, memory as u32);
        let elapsed_s = |cold| profile.epoch(shape, step, typical, cold).elapsed_s;
        self.start.first_s = (elapsed_s(true) - elapsed_s(false)).max(0.0);
        self.start.change_s = self.start.first_s + profile.starts.publish_s;
        let at = At { epoch: 1, ..At::default() };
        let start = [(profile.cpu.deviation + 1e-4).ln(), 0.1_f64.ln(), 0.01_f64.ln()];
        let (found, _) = least_squares(start, |x, into| {
            let mut model = self.clone();
            set(&mut model, x);
            into.extend(known.iter().map(|&(to, elapsed_s)| {
                (model.epoch(at, to, &Chance::EXPECTED).elapsed_s.max(1e-9) / elapsed_s.max(1e-9))
                    .ln()
            }));
            // Unknowns that the barriers do not determine stay at their start.
            into.extend(x.iter().zip(start).map(|(x, start)| 0.003 * (x - start)));
        });
        set(self, &found);
        for small in [&mut self.noise.time, &mut self.noise.update, &mut self.update.late_s] {
            if *small < 1e-4 {
                *small = 0.0;
            }
        }
    }
}

/// The requests for the data of an epoch.
fn reads_of(shape: &EpochShape) -> u64 {
    if shape.example_bytes > 0.0 { shape.batches } else { 0 }
}

/// The memory of a worker, in MB: the replica, the sum of gradients and two batches; with local
/// steps also a copy and one batch's gradient.
fn memory_mb(profile: &Profile, shape: &EpochShape) -> f64 {
    let vectors = if shape.local_steps > 1 { 4 } else { 2 };
    let batch = (shape.example_bytes * shape.batch_size as f64) as u64;
    profile.cpu.memory_mb(shape.pull_bytes / 4, vectors, 2 * batch)
}

#[cfg(test)]
mod tests;
