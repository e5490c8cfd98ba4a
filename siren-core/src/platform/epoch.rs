//! What an epoch takes and costs, without running it.

mod worker_times;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use worker_times::WorkerTimes;

use super::delay_distribution::DelayDistribution;
use super::profile::Profile;
use super::step::StepTime;
use crate::{Allocation, EpochPlan, Requests, SyncMode, Usd, wire};

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
    /// What workers wait for between the barriers.
    #[serde(default)]
    pub sync_mode: SyncMode,
}

impl EpochShape {
    /// The shape of a plan's epochs for a dense model of `parameters`, one object to pull and one to
    /// push, with training data of `data_bytes` that workers fetch; 0 where it is at hand. A push
    /// has the bytes that the compression leaves.
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
    /// Waiting for others, in rounds and at the barrier, the same.
    pub wait_s: f64,
    /// One cycle of pull, gradients and push, in seconds.
    pub cycle_s: f64,
    /// The longest time that one worker is expected to be billed for, in seconds.
    pub longest_s: f64,
    /// Invocations of all workers: more than workers where a shard takes longer than an invocation may.
    pub invocations: u64,
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
    /// What an epoch of `shape` is expected to take and to cost with an allocation; `cold` if no
    /// environment is warm.
    ///
    /// A worker with b batches, of which k make an update, takes
    /// `start + u (get + put + transfer) + b step + fetch` with u = b / k, rounded up: the first batch is
    /// fetched before it is computed, and each other one while one is computed, so that only what is left
    /// of its fetch is waited for. Costs are those of the mean worker. The barrier waits for the slowest
    /// of n, the expected largest of n sums of: the start, the latencies of all requests, rare long
    /// ones, how slow the function's CPU and its streams are.
    ///
    /// Under bulk mode each round is as long as the slowest worker's; so it is under stale mode
    /// with bound 0. With a larger bound, workers are taken to wait for nobody, which is a lower bound. Where
    /// storage does not answer as many requests in a second, all take as long as it needs. A
    /// shard that takes longer than an invocation may starts again, warm. No invocation fails.
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
        // Shards of two lengths.
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
            // Who starts first waits for who starts last.
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
