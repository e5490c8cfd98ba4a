//! What an epoch takes and costs, without running it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::profile::Profile;
use super::step::StepTime;
use crate::{Allocation, EpochPlan, Requests, Usd, Work};

/// What there is to do in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochShape {
    /// Batches.
    pub batches: u64,
    /// Examples in a batch.
    pub batch_size: u64,
    /// Batches that one push covers.
    pub local_steps: u64,
    /// Bytes of an example; 0 where data is at hand and nothing is fetched.
    pub example_bytes: f64,
    /// Bytes of a pull.
    pub pull_bytes: u64,
    /// Bytes of a push.
    pub push_bytes: u64,
    /// Requests of one pull.
    pub pull: Requests,
    /// Requests of one push.
    pub push: Requests,
}

impl EpochShape {
    /// The shape of a plan's epochs for a dense model of `parameters`, one object to pull and one to
    /// push, with training data of `data_bytes` that workers fetch; 0 where it is at hand.
    pub fn dense(plan: &EpochPlan, parameters: u64, data_bytes: u64) -> Self {
        Self {
            batches: plan.batches(),
            batch_size: plan.batch_size,
            local_steps: plan.local_steps,
            example_bytes: data_bytes as f64 / plan.examples.max(1) as f64,
            pull_bytes: parameters * 4,
            push_bytes: parameters * 4,
            pull: Requests { reads: 1, writes: 0 },
            push: Requests { reads: 0, writes: 1 },
        }
    }
}

/// What an epoch is expected to take and to cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochEstimate {
    /// Workers that run: at most one for each batch.
    pub workers: u32,
    /// From launch to barrier, in seconds.
    pub elapsed_s: f64,
    /// Waiting for data, mean over the workers, in seconds: P^F.
    pub fetch_s: f64,
    /// Computing, the same: P^C.
    pub compute_s: f64,
    /// Pulling and pushing, the same: P^U.
    pub update_s: f64,
    /// Waiting at the barrier, the same.
    pub wait_s: f64,
    /// One cycle of pull, gradients and push, in seconds.
    pub cycle_s: f64,
    /// Requests of all workers.
    pub requests: Requests,
    /// Money, without requests to storage.
    pub compute_cost: Usd,
    /// Money for requests to storage.
    pub request_cost: Usd,
}

impl EpochEstimate {
    /// The money in all.
    pub fn cost(&self) -> Usd {
        self.compute_cost + self.request_cost
    }

    /// The time as a duration.
    pub fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.elapsed_s).unwrap_or(Duration::MAX)
    }
}

impl Profile {
    /// What an epoch of `shape` is expected to take and to cost with an allocation, under hybrid
    /// synchrony; `cold` if no environment is warm.
    ///
    /// A worker takes `start + u * (get + put + k * step + transfer) + fetch`, with `u` updates of `k`
    /// batches; all terms are means. The barrier waits for the slowest of n workers: for the slowest
    /// start, the slowest CPU and the slowest stream of n, and for the largest of n sums of u delays,
    /// which are taken as normal.
    pub fn epoch(
        &self,
        shape: &EpochShape,
        step: &StepTime,
        allocation: Allocation,
        cold: bool,
    ) -> EpochEstimate {
        let platform = &self.platform;
        let most = u32::try_from(shape.batches).unwrap_or(u32::MAX).max(1);
        let workers = allocation.workers.clamp(1, most);
        let n = f64::from(workers);
        let share = shape.batches as f64 / n;
        let longest = shape.batches.div_ceil(u64::from(workers)) as f64;
        let k = shape.local_steps.max(1) as f64;
        let updates = |batches: f64| (batches / k).ceil();

        let vcpus = platform.vcpus(allocation.memory_mb);
        let work = Work::Gradient { examples: shape.batch_size };
        let batch = step.seconds(work, vcpus, &self.cpu);
        let (get, put) = (Delay::of(&self.storage.get_ms), Delay::of(&self.storage.put_ms));
        let tail = self.storage.tail_ms.mean() / 1e3;
        let network = &self.network;
        let (read, write) = (network.read_slowdown.mean(), network.write_slowdown.mean());
        let transfer = |read: f64, write: f64| {
            network.read_seconds(shape.pull_bytes, read)
                + network.write_seconds(shape.push_bytes, write)
        };
        // The next batch is fetched while one is computed; the first of each worker is waited for.
        let bytes = shape.example_bytes * shape.batch_size as f64;
        let (fetch, beyond) = if bytes > 0.0 {
            let one = get.mean + tail + network.read_seconds(bytes as u64, read);
            (one, (one - batch).max(0.0))
        } else {
            (0.0, 0.0)
        };
        let update = get.mean + put.mean + 2.0 * tail + transfer(read, write);
        let cycle = update + k * batch;
        let of_worker = |batches: f64, batch: f64, update: f64| {
            updates(batches) * update + batches * batch + fetch + (batches - 1.0).max(0.0) * beyond
        };
        let handler = of_worker(share, batch, update);

        let start = if cold { &self.starts.cold_ms } else { &self.starts.warm_ms };
        let init = if cold { self.starts.init_ms.mean() / 1e3 } else { 0.0 };
        let dispatch = self.starts.dispatch_ms / 1e3 * (n - 1.0);
        let windows = (n / f64::from(self.starts.burst.max(1))).ceil() - 1.0;
        let ramp = if cold { windows.max(0.0) * self.starts.burst_s } else { 0.0 };
        let extreme = Distribution::lognormal(1.0, NORMAL_P99.exp()).expected_max(n).ln();
        let slowest_batch = batch * self.cpu.slowdown(extreme);
        let slowest_read = network.read_slowdown.expected_max(n);
        let slowest_write = network.write_slowdown.expected_max(n);
        let slowest_update = update + transfer(slowest_read, slowest_write) - transfer(read, write);
        let spread = (updates(longest) * (get.variance + put.variance)).sqrt() * extreme;
        // Not all of the extremes fall on one worker: each alone is a lower bound of the slowest.
        let alone = [
            of_worker(longest, slowest_batch, update),
            of_worker(longest, batch, slowest_update),
            of_worker(longest, batch, update) + spread,
        ];
        let slowest = alone.into_iter().fold(0.0, f64::max);
        let first = dispatch.max(ramp) + start.expected_max(n) / 1e3;
        let elapsed = slowest + start.mean() / 1e3 + dispatch.max(ramp);
        let elapsed = elapsed.max(first + of_worker(share, batch, update));

        let pushes = n * updates(share);
        let fetches = if bytes > 0.0 { shape.batches } else { 0 };
        let requests =
            (shape.pull + shape.push) * pushes as u64 + Requests { reads: fetches, writes: 0 };
        let billed = handler + init + platform.prices.billing_step.as_secs_f64() / 2.0;
        EpochEstimate {
            workers,
            elapsed_s: elapsed,
            fetch_s: fetch + (share - 1.0).max(0.0) * beyond,
            compute_s: share * batch,
            update_s: updates(share) * update,
            wait_s: (elapsed - start.mean() / 1e3 - dispatch / 2.0 - handler).max(0.0),
            cycle_s: cycle,
            requests,
            compute_cost: (platform.prices.invocation
                + platform.second_cost(allocation.memory_mb) * billed)
                * n,
            request_cost: platform.requests_cost(requests),
        }
    }
}

/// The 99th percentile of the normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_0;

/// A delay in seconds.
struct Delay {
    mean: f64,
    variance: f64,
}

impl Delay {
    fn of(ms: &Distribution) -> Self {
        Self { mean: ms.mean() / 1e3, variance: ms.variance() / 1e6 }
    }
}
