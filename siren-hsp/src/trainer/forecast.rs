//! The expected time of an epoch, and the allocations that the money left pays for.

use std::time::Duration;

use siren_core::{Aggregation, Allocation, EpochPlan, Platform, Requests, Usd};

use super::Trainer;

/// The timeout of a worker as a multiple of its forecast; at the timeout it returns the rest of its
/// shard.
const TIMEOUT_FACTOR: u32 = 4;

/// The shortest timeout that a forecast leads to.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A worker needs at least this many of its cycles to make progress.
const MIN_CYCLES: f64 = 1.5;

/// The timeout of an aggregator as a multiple of a worker's: it runs from before the first worker's
/// start until the last update is applied.
const AGGREGATOR_TIMEOUT_FACTOR: f64 = 1.25;

/// Extra requests of an aggregator, in seconds of its request rate.
const EXTRA_SECONDS: u64 = 2;

/// The plan for launching an epoch.
pub(super) struct LaunchPlan {
    /// The number of workers that the scheduler requested.
    pub(super) asked: u32,
    pub(super) plan: EpochPlan,
    pub(super) allocation: Allocation,
    pub(super) limits: InvocationLimits,
    pub(super) aggregators: Aggregators,
    /// The reservation for the driver's own part.
    pub(super) driver: Usd,
}

/// The aggregators of an epoch, and the limits of each.
#[derive(Clone, Copy)]
pub(super) struct Aggregators {
    pub(super) aggregation: Aggregation,
    pub(super) limits: InvocationLimits,
}

/// The limits of one invocation, and its reservation.
#[derive(Clone, Copy)]
pub(super) struct InvocationLimits {
    pub(super) timeout: Duration,
    pub(super) cycle: Option<Duration>,
    pub(super) request_cap: Requests,
    pub(super) reservation: Usd,
}

/// The input for computing limits: `batches` batches in each of `invocations` invocations, after
/// `failures` failures in a row, while `driver` is reserved for the driver itself.
#[derive(Clone, Copy)]
pub(super) struct LimitRequest {
    pub(super) batches: u64,
    pub(super) invocations: u32,
    pub(super) driver: Usd,
    pub(super) failures: u32,
}

impl Trainer {
    /// The plan for as many of the requested workers as there are batches and money for. Returns a
    /// message if there is not even money for one worker.
    pub(super) fn plan_launch(&self, asked: Allocation, epoch: u64) -> Result<LaunchPlan, String> {
        let most = u32::try_from(self.job.batches).unwrap_or(u32::MAX);
        let most = asked.workers.min(most);
        for workers in (1..=most).rev() {
            let allocation = Allocation { workers, ..asked };
            let plan = self.plan(epoch, allocation);
            let longest = plan.batches().div_ceil(u64::from(workers));
            let aggregation = self.aggregation(&plan);
            let together = workers.saturating_add(aggregation.aggregators);
            if aggregation.aggregators > 0 && together > self.platform.limits.concurrency {
                continue;
            }
            let most_driver = self.max_driver_cost(&plan);
            let driver = most_driver + self.cost_before_first_launch();
            // Once more, for the driver's work after the last barrier.
            let driver_all = driver + most_driver;
            let request = LimitRequest {
                batches: longest,
                invocations: workers,
                driver: driver_all,
                failures: 0,
            };
            let limits = self.invocation_limits(&plan, asked.memory_mb, request, aggregation);
            if let Some(limits) = limits {
                let aggregators = Aggregators {
                    aggregation,
                    limits: self.aggregator_limits(aggregation, limits.timeout),
                };
                return Ok(LaunchPlan {
                    asked: asked.workers,
                    plan,
                    allocation,
                    limits,
                    aggregators,
                    driver,
                });
            }
        }
        Err(self.shortfall(Allocation { workers: most, ..asked }, epoch))
    }

    /// The plan of an epoch with this allocation.
    pub(super) fn plan(&self, epoch: u64, allocation: Allocation) -> EpochPlan {
        let (layout, examples) = (self.job.layout, self.parts.train.len());
        let plan = self.config.plan(epoch, layout, examples, allocation.workers);
        let progress = self.epochs.iter().map(|epoch| epoch.progress).sum();
        EpochPlan {
            local_steps: allocation.local_steps.unwrap_or(plan.local_steps),
            learning_rate: self.config.learning_rate.after(epoch, progress),
            ..plan
        }
    }

    /// The aggregators that an epoch needs, with a memory size that the platform has.
    pub(super) fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        let aggregation = self.parts.store.aggregation(plan);
        let memory_mb = self.platform.memory_at_least(aggregation.memory_mb);
        Aggregation { memory_mb, ..aggregation }
    }

    /// The limits of each aggregator beside workers with this timeout.
    pub(super) fn aggregator_limits(
        &self,
        aggregation: Aggregation,
        timeout: Duration,
    ) -> InvocationLimits {
        let platform = &self.platform;
        // Rounded down: never longer than `aggregator_price` assumes, since only that is
        // affordable.
        let timeout = whole_steps(platform, timeout.mul_f64(AGGREGATOR_TIMEOUT_FACTOR))
            .min(platform.limits.timeout);
        let seconds = timeout.as_secs_f64().ceil() as u64 + EXTRA_SECONDS;
        let request_cap = aggregation.requests_per_second * seconds;
        let billed = platform.enforced(timeout) + platform.limits.init;
        InvocationLimits {
            timeout,
            cycle: None,
            request_cap,
            reservation: platform.invocation_cost(aggregation.memory_mb, billed, request_cap),
        }
    }

    /// The price of all aggregators: the fixed part, and the part per second of the workers'
    /// timeout.
    fn aggregator_price(&self, aggregation: Aggregation) -> (Usd, Usd) {
        let platform = &self.platform;
        let count = f64::from(aggregation.aggregators);
        let second = platform.second_cost(aggregation.memory_mb);
        let requests = platform.requests_cost(aggregation.requests_per_second);
        // A started second counts as a full second of requests.
        let fixed = platform.prices.invocation
            + second * platform.limits.init.as_secs_f64()
            + requests * (EXTRA_SECONDS + 1) as f64;
        (fixed * count, (second + requests) * (AGGREGATOR_TIMEOUT_FACTOR * count))
    }

    /// The limits for `invocations` concurrent invocations of `batches` batches each, beside these
    /// aggregators. They grow after `failures` in a row. `None` when the money left does not pay
    /// for any progress.
    pub(super) fn invocation_limits(
        &self,
        plan: &EpochPlan,
        memory_mb: u32,
        request: LimitRequest,
        aggregation: Aggregation,
    ) -> Option<InvocationLimits> {
        let LimitRequest { batches, invocations, driver, failures } = request;
        let platform = &self.platform;
        let forecast = self.forecast.with_local_steps(plan.local_steps, batches);
        let cycle = forecast.cycle(platform, memory_mb);
        let min_time = cycle.unwrap_or_default().mul_f64(MIN_CYCLES);
        let request_cap = self.request_cap(plan, batches);
        let wait = self.parts.store.request_costs().waits(plan.sync_mode);
        let second = platform.second_cost(memory_mb);
        // The fixed price, including one started second of waiting.
        let fixed = platform.prices.invocation + platform.requests_cost(request_cap + wait);
        let mut timeout = platform.limits.timeout;
        if let Some(expected) = forecast.batches(platform, memory_mb, batches) {
            let wanted = expected.saturating_mul(TIMEOUT_FACTOR).max(MIN_TIMEOUT).max(min_time);
            timeout = timeout.min(wanted.saturating_mul(1 << failures.min(16)));
        }
        if let Some(left) = self.ledger.left() {
            // Slightly less, so that rounding never exceeds the money left.
            let left = left * (1.0 - 1e-9) - driver;
            let affordable = match platform.limits.timeouts_s.is_empty() {
                true => {
                    let (aggregator_cost, aggregator_second) = self.aggregator_price(aggregation);
                    let invocations = f64::from(invocations);
                    let share = (left - aggregator_cost) * (1.0 / invocations) - fixed;
                    let start = second * platform.limits.init.as_secs_f64();
                    let rate = second
                        + platform.requests_cost(wait)
                        + aggregator_second * (1.0 / invocations);
                    let seconds = (share - start).dollars() / rate.dollars();
                    if seconds.is_nan() || seconds < 0.0 {
                        return None;
                    }
                    // If time costs nothing, every timeout is affordable.
                    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
                }
                // Invocations that do not stop by themselves are billed for the timeout that the
                // platform enforces.
                false => {
                    let rungs = platform.limits.timeouts_s.iter().rev();
                    let rungs = rungs.map(|&seconds| Duration::from_secs(seconds.into()));
                    rungs.map(|rung| rung.min(timeout)).find(|&timeout| {
                        let seconds = timeout.as_secs_f64().ceil();
                        let billed = platform.enforced(timeout) + platform.limits.init;
                        let each = fixed
                            + second * billed.as_secs_f64()
                            + platform.requests_cost(wait) * seconds;
                        let aggregator_cost =
                            self.aggregator_limits(aggregation, timeout).reservation;
                        let aggregator_cost = aggregator_cost * f64::from(aggregation.aggregators);
                        each * f64::from(invocations) + aggregator_cost <= left
                    })?
                }
            };
            if affordable < min_time.min(timeout) {
                return None;
            }
            timeout = timeout.min(affordable);
        }
        // Billed time is rounded up to whole steps, and the last step must be paid for too.
        let timeout = whole_steps(platform, timeout);
        if timeout.is_zero() {
            return None;
        }
        let request_cap = request_cap + wait * timeout.as_secs_f64().ceil() as u64;
        let billed = platform.enforced(timeout).saturating_add(platform.limits.init);
        let billed = platform.billed(billed);
        Some(InvocationLimits {
            timeout,
            cycle,
            request_cap,
            reservation: platform.invocation_cost(memory_mb, billed, request_cap),
        })
    }

    /// The largest possible cost of the driver's own part in an epoch.
    pub(super) fn max_driver_cost(&self, plan: &EpochPlan) -> Usd {
        let usage = self.parts.backend.max_driver_usage(plan, self.job.parameters);
        self.platform.driver_usage_cost(usage)
    }

    /// A message with the money that would be needed.
    fn shortfall(&self, allocation: Allocation, epoch: u64) -> String {
        let Allocation { workers, memory_mb, .. } = allocation;
        let platform = &self.platform;
        let left = self.ledger.left().unwrap_or_default();
        let plan = self.plan(epoch, allocation);
        let per_worker = plan.batches().div_ceil(u64::from(workers.max(1)));
        let price = |batches: u64, time: Option<Duration>| {
            let time = platform.enforced(time.unwrap_or_default());
            let billed = platform.billed(time) + platform.limits.init;
            let wait = self.parts.store.request_costs().waits(plan.sync_mode);
            let cap =
                self.request_cap(&plan, batches) + wait * (time.as_secs_f64().ceil() as u64 + 1);
            platform.invocation_cost(memory_mb, billed, cap)
        };
        let forecast = self.forecast.with_local_steps(plan.local_steps, per_worker);
        let expected = forecast.batches(platform, memory_mb, per_worker);
        let aggregation = self.aggregation(&plan);
        let aggregator_cost =
            self.aggregator_limits(aggregation, expected.unwrap_or_default()).reservation;
        let whole = price(per_worker, expected) * f64::from(workers)
            + aggregator_cost * f64::from(aggregation.aggregators)
            + self.max_driver_cost(&plan) * 2.0
            + self.cost_before_first_launch();
        let least = price(
            plan.local_steps,
            forecast.cycle(platform, memory_mb).map(|cycle| cycle.mul_f64(MIN_CYCLES)),
        );
        format!(
            "{left} is left of the budget, but epoch {epoch} with {workers} workers of {memory_mb} \
             MB needs about {whole}, and a single update of one worker {least}: give a larger budget"
        )
    }

    /// The cap on requests: twice the pulls, pushes and fetches that `batches` batches need, and
    /// some more.
    fn request_cap(&self, plan: &EpochPlan, batches: u64) -> Requests {
        let store = self.parts.store.request_costs();
        store.start
            + (store.pull + store.push) * (plan.updates(batches) * 2 + 8)
            + self.parts.train.request_costs() * (batches * 2 + 8)
    }
}

/// `time`, rounded down to whole billing steps.
fn whole_steps(platform: &Platform, time: Duration) -> Duration {
    let step = platform.prices.billing_step.as_nanos().max(1);
    let nanos = time.as_nanos() / step * step;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
