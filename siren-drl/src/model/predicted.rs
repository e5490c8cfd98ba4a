//! The job that a workload is on a platform, before anything ran.

use siren_core::platform::{EpochShape, Profile};
use siren_core::{Allocation, Requests, StepTime, SyncMode, Work};

use super::{At, Chance, Compute, Dynamics, Fees, Fetch, JobModel, Loss, Noise};
use super::{Shards, Staleness, Start, Update};
use crate::solve::least_squares;

/// How far the excess loss falls from the start to the target: to this share. A guess, the SIREN talk's.
const EXCESS: f64 = 0.05;

/// Pushes that a function makes in an epoch where half of the progress is lost to staleness. A guess: the
/// fewer there are, the more of them are computed on parameters that others have long changed.
pub(crate) const PUSHES: f64 = 4.0;

impl JobModel {
    /// The job of a workload on a platform, before anything ran: epochs of `shape` where functions behave
    /// as `profile` says and compute as `step` says. Its expected epochs take and cost about what
    /// [`Profile::epoch`] says of them, environments being warm after the first epoch.
    ///
    /// Where the profile adds up distributions, this has closed formulae: the spread of functions is fitted
    /// to the profile's waits at the barrier. Aggregators are not part of it; see [`Fees::second_usd`].
    ///
    /// Nothing is known of the loss. These are guesses, to be replaced by a target
    /// ([`with_target`](Self::with_target)) and by experience:
    /// the loss of [`Loss::default`], and half of the progress lost where each function pushes only four
    /// times in an epoch. All epochs compute and push as much.
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

    /// The same job, whose loss is `initial` at the start and is to fall to `target` in so many ideal
    /// epochs. A guess where nothing was measured: the excess loss falls to a twentieth, as in the SIREN
    /// talk's job.
    ///
    /// Without `initial` above `target` and a number of epochs above 0, the curve stays as it was, but
    /// falls to below the target.
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

    /// Fits what is not known in closed form, the spread of functions, to the profile's barriers, and takes
    /// what new environments add from one.
    fn spread_as(&mut self, profile: &Profile, shape: &EpochShape, step: &StepTime) {
        let limits = &profile.platform.limits;
        self.noise.billed = match shape.sync_mode {
            SyncMode::Bulk | SyncMode::Stale { bound: 0 } => 1.0,
            _ => 0.0,
        };
        let most = f64::from(limits.concurrency).min(self.shards.batches);
        let (small, large) = (f64::from(limits.memory_min_mb), f64::from(limits.memory_max_mb));
        let vcpu = limits.memory_per_vcpu_mb.clamp(small, large);
        let known: Vec<(Allocation, f64)> = [2.0, 4.0, 8.0, 16.0]
            .map(|parts: f64| most.powf(parts / 16.0).round().max(2.0))
            .into_iter()
            .flat_map(|n| [vcpu / 8.0, vcpu, large].map(|m| (n, m.clamp(small, large))))
            .map(|(n, m)| Allocation { workers: n as u32, memory_mb: m as u32 })
            .map(|to| (to, profile.epoch(shape, step, to, false).elapsed_s))
            .collect();
        let set = |model: &mut Self, x: &[f64; 3]| {
            let [time, update, late] = x.map(f64::exp);
            (model.noise.time, model.noise.update, model.update.late_s) = (time, update, late);
        };
        let (many, memory) = (most.powf(0.75).round().max(1.0), vcpu);
        let typical = Allocation { workers: many as u32, memory_mb: memory as u32 };
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
            // What no barrier tells stays where it was.
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

/// Requests for the data of an epoch.
fn reads_of(shape: &EpochShape) -> u64 {
    if shape.example_bytes > 0.0 { shape.batches } else { 0 }
}

/// The memory that a worker needs: the replica and the sum of gradients; with local steps a copy and one
/// batch's gradient too; and two batches.
fn memory_mb(profile: &Profile, shape: &EpochShape) -> f64 {
    let vectors = if shape.local_steps > 1 { 4 } else { 2 };
    let batch = (shape.example_bytes * shape.batch_size as f64) as u64;
    profile.cpu.memory_mb(shape.pull_bytes / 4, vectors, 2 * batch)
}

#[cfg(test)]
mod tests;
