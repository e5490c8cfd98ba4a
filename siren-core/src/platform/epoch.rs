//! Estimates of the time and the cost of an epoch.

mod worker_times;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use worker_times::WorkerTimes;

use super::delay_distribution::DelayDistribution;
use super::profile::Profile;
use super::step::StepTime;
use crate::{Allocation, EpochPlan, Requests, SyncMode, Usd, wire};

/// The work of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochShape {
    /// The number of batches.
    pub batches: u64,
    /// The number of examples in a batch.
    pub batch_size: u64,
    /// The number of batches in one push.
    pub local_steps: u64,
    /// The bytes of an example; 0 when the workers have the data in memory and fetch nothing.
    pub example_bytes: f64,
    /// The bytes of a pull.
    pub pull_bytes: u64,
    /// The bytes of a push.
    pub push_bytes: u64,
    /// The requests of one pull.
    pub pull: Requests,
    /// The requests of one push.
    pub push: Requests,
    /// The synchronisation of workers between the barriers.
    #[serde(default)]
    pub sync_mode: SyncMode,
}

impl EpochShape {
    /// The work of an epoch of `plan` for a dense model of `parameters` parameters. A pull reads
    /// one object and a push writes one; a push has the bytes that remain after compression.
    /// `data_bytes` is the size of the training data that workers fetch, or 0 when they have it in
    /// memory.
    pub fn dense(plan: &EpochPlan, parameters: u64, data_bytes: u64) -> Self {
        Self {
            batches: plan.batches(),
            batch_size: plan.batch_size,
            local_steps: plan.local_steps,
            example_bytes: data_bytes as f64 / plan.examples.max(1) as f64,
            pull_bytes: parameters * 4,
            push_bytes: plan.compression.payload_bytes(parameters) + wire::FRAME as u64,
            pull: Requests { reads: 1, writes: 0 },
            push: Requests { reads: 0, writes: 1 },
            sync_mode: plan.sync_mode,
        }
    }
}

/// The expected time and cost of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochEstimate {
    /// The number of workers that run: at most one for each batch.
    pub workers: u32,
    /// The time from launch to barrier, in seconds.
    pub elapsed_s: f64,
    /// The time of waiting for data, as a mean over the workers, in seconds: P^F.
    pub fetch_s: f64,
    /// The time of computing, as a mean over the workers, in seconds: P^C.
    pub compute_s: f64,
    /// The time of pulling and pushing, as a mean over the workers, in seconds: P^U.
    pub update_s: f64,
    /// The time of waiting for other workers, in rounds and at the barrier, as a mean over the
    /// workers, in seconds.
    pub wait_s: f64,
    /// The time of one cycle of pull, gradients and push, in seconds.
    pub cycle_s: f64,
    /// The expected longest billed time of a worker, in seconds.
    pub longest_s: f64,
    /// The number of invocations. It exceeds the number of workers when a shard takes longer than
    /// the platform's longest invocation.
    pub invocations: u64,
    /// The requests of all workers.
    pub requests: Requests,
    /// The cost without requests to storage.
    pub compute_cost: Usd,
    /// The cost of requests to storage.
    pub request_cost: Usd,
}

impl EpochEstimate {
    /// The total cost.
    pub fn cost(&self) -> Usd {
        self.compute_cost + self.request_cost
    }

    /// The time from launch to barrier as a duration.
    pub fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.elapsed_s).unwrap_or(Duration::MAX)
    }
}

impl Profile {
    /// Estimates the time and the cost of an epoch of `shape` with an allocation. `cold` is `true`
    /// if no environment is warm.
    ///
    /// A worker with b batches, k of them in an update, takes
    ///
    /// `start + u (get + put + transfer) + b step + fetch`
    ///
    /// with u = b / k, rounded up. The first batch is fetched before any computation. Each later
    /// one is fetched during the computation of the batch before, and only the rest of its fetch is
    /// added. Costs are n times those of the mean worker. The barrier waits for the slowest of n
    /// workers: the expected largest of n sums of the start, the latencies of all requests, the
    /// rare long delays, and the computing and transfers at the random speeds of the function.
    ///
    /// Under bulk mode, and under stale mode with bound 0, each round takes as long as that of its
    /// slowest worker. With a larger bound, the estimate assumes that workers do not wait for one
    /// another, which is a lower bound. If the workers make more requests per second than the
    /// storage answers, the epoch takes as long as the storage needs for all of them. A shard that
    /// takes longer than the longest invocation starts again in a warm environment. The estimate
    /// assumes that no invocation fails.
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
        // Shards have one of two lengths.
        let (short, longer) =
            (shape.batches / u64::from(workers), shape.batches % u64::from(workers));
        let long = short + u64::from(longer > 0);
        let k = shape.local_steps.max(1);
        let updates = longer * long.div_ceil(k) + (u64::from(workers) - longer) * short.div_ceil(k);
        let requests = (shape.pull + shape.push) * updates;
        let fetches = if shape.example_bytes > 0.0 { shape.batches } else { 0 };
        let requests = requests + Requests { reads: fetches, writes: 0 };

        let times = WorkerTimes::new(self, shape, step, allocation.memory_mb);
        let (mean_updates, share) = (updates as f64 / n, shape.batches as f64 / n);
        let own = times.seconds(mean_updates, share);
        let mut handler = own;
        let (long_updates, short_updates) = (long.div_ceil(k) as f64, short.div_ceil(k) as f64);
        let less =
            times.seconds(long_updates, long as f64) - times.seconds(short_updates, short as f64);

        let starts = &self.starts;
        let start = if cold { &starts.cold_ms } else { &starts.warm_ms };
        let start_mean = start.mean() / 1e3;
        let dispatch = starts.dispatch_ms / 1e3 * (n - 1.0);
        let windows = (n / f64::from(starts.burst.max(1))).ceil() - 1.0;
        let ramp = if cold { windows.max(0.0) * starts.burst_s } else { 0.0 };
        let begin = DelayDistribution::from_quantiles(|z| start.at(z) / 1e3)
            .plus(&DelayDistribution::uniform(dispatch));
        let (long_n, short_n) =
            if longer > 0 { (longer as f64, n - longer as f64) } else { (n, 0.0) };
        let rounds = shape.sync_mode.runs_in_step() && workers > 1;
        let work = times.handler_time(long_updates, long as f64, 1.0);
        let mut longest = work.expected_max(long_n, short_n, less);
        let mut slowest = begin.plus(&work).expected_max(long_n, short_n, less);
        let mut waits = 0.0;
        if rounds {
            let round = times.handler_time(1.0, k.min(long) as f64, 0.0).expected_max(n, 0.0, 0.0);
            let begins = begin.expected_max(n, 0.0, 0.0);
            // The worker that starts first waits for the one that starts last.
            longest = longest.max(long_updates * round) + begins - start_mean;
            slowest = slowest.max(begins + times.fetch.mean + long_updates * round);
            waits = (slowest - start_mean - dispatch / 2.0 - handler).max(0.0);
            handler += waits;
        }
        let least = (requests.writes as f64 / self.storage.writes_per_s)
            .max(requests.reads as f64 / self.storage.reads_per_s);
        handler = handler.max(least);
        longest = longest.max(least);
        let restarts = (handler / platform.limits.timeout.as_secs_f64().max(1e-3)).floor();
        let elapsed = slowest.max(start_mean + least) + ramp + restarts * start_mean;
        let init = if cold { starts.init_ms.mean() / 1e3 } else { 0.0 };
        let billed =
            handler + init + (1.0 + restarts) * platform.prices.billing_step.as_secs_f64() / 2.0;
        EpochEstimate {
            workers,
            elapsed_s: elapsed,
            fetch_s: times.fetch.mean + (share - 1.0).max(0.0) * times.exposed_fetch.mean,
            compute_s: share * times.batch,
            update_s: mean_updates * times.update_s,
            wait_s: (elapsed - start_mean - dispatch / 2.0 - own).max(waits),
            cycle_s: times.update_s + k as f64 * (times.batch + times.exposed_fetch.mean),
            longest_s: longest + init,
            invocations: u64::from(workers).saturating_mul((restarts as u64).saturating_add(1)),
            requests,
            compute_cost: (platform.prices.invocation * (1.0 + restarts)
                + platform.second_cost(allocation.memory_mb) * billed)
                * n,
            request_cost: platform.requests_cost(requests),
        }
    }
}
