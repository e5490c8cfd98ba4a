//! A forecast of a job's time and cost, made before the job runs.
//!
//! [`Preview::new`] calls [`Profile::epoch`](siren_core::platform::Profile::epoch) for several
//! allocations. It reports the allocation that finishes the job at the least cost, the one that
//! finishes it first within the budget, and whether the budget suffices at all:
//!
//! ```
//! use siren_core::{Profile, StepTime, Usd};
//! use siren_hsp::preview::{Preview, PreviewInput};
//! use siren_hsp::{Config, StopRules};
//!
//! let config = Config {
//!     batch_size: 64,
//!     local_steps: 8,
//!     stop: StopRules { epochs: 10, budget: Some(Usd::new(0.5)), ..StopRules::default() },
//!     ..Config::default()
//! };
//! // LeNet on the digits: parameters, examples, bytes of all examples.
//! let subject = PreviewInput::new(431_080, 60_000, 60_000 * 785);
//! let preview =
//!     Preview::new(&config, &subject, &Profile::aws_lambda(), &StepTime::per_example(0.8e-3))?;
//! println!("{preview}");
//! assert!(preview.sufficient);
//! let (cheapest, fastest) = (&preview.rows[preview.cheapest], preview.fastest());
//! assert!(fastest.is_some_and(|fastest| fastest.seconds <= cheapest.seconds));
//! # Ok::<(), siren_core::Error>(())
//! ```
//!
//! The assumptions:
//!
//! - All epochs run with the same allocation: the first one in new environments, the others in warm
//!   ones. Neither a target loss nor a time limit ends the job earlier.
//! - No invocation fails. The driver's evaluation at the barrier takes no time and costs nothing.
//! - Times are means over many runs; a single epoch waits for its own stragglers.
//! - Under bulk mode, and under stale mode with bound 0, each round takes as long as the slowest
//!   worker, and waits are billed. Under stale mode with a larger bound, as under hybrid mode,
//!   workers are assumed not to wait, neither for one another nor for aggregators: time and cost
//!   are then lower bounds.
//! - Aggregators run, and are billed, from the launch of an epoch to its end.

mod grid;
mod table;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siren_core::platform::{EpochEstimate, EpochShape, Profile};
use siren_core::{
    Aggregation, Allocation, DriverUsage, EpochPlan, Error, RequestCosts, Requests, Result,
    StepTime, Usd,
};

use crate::Config;

/// A function that returns the aggregators of an epoch, as
/// [`ParameterStore::aggregation`](siren_core::ParameterStore::aggregation) does.
pub type Aggregators = Arc<dyn Fn(&EpochPlan) -> Aggregation + Send + Sync>;

/// The job of a preview, and the allocations to compare.
#[derive(Clone)]
pub struct PreviewInput {
    /// The number of parameters.
    pub parameters: u64,
    /// The number of training examples.
    pub examples: u64,
    /// The size of all training examples in bytes, which workers fetch from shared storage. 0 if
    /// every function has the data locally.
    pub data_bytes: u64,
    /// Numbers of workers to compare. A number above the number of batches counts as one worker per
    /// batch. If empty: 1, 2, 5, 10, 20, … up to the platform's concurrency limit.
    pub workers: Vec<u32>,
    /// Memory sizes to compare, in MB. If empty: sizes that double from the platform's smallest one
    /// up to one vCPU, one vCPU itself, and as many vCPUs as the step can use. Sizes too small for
    /// a worker are left out.
    pub memory_mb: Vec<u32>,
    /// The requests of one pull and of one push.
    pub store: RequestCosts,
    /// The aggregators that each epoch needs; none by default.
    pub aggregators: Aggregators,
    /// The driver's own requests and traffic in each epoch: see
    /// [`Backend::max_driver_usage`](siren_core::Backend::max_driver_usage).
    pub driver: DriverUsage,
}

impl PreviewInput {
    /// A job with this number of parameters, this number of training examples, and `data_bytes`
    /// bytes of training examples in all. The store needs one GET for each pull, one PUT for each
    /// push, and no aggregators.
    pub fn new(parameters: u64, examples: u64, data_bytes: u64) -> Self {
        Self {
            parameters,
            examples,
            data_bytes,
            workers: Vec::new(),
            memory_mb: Vec::new(),
            store: RequestCosts {
                pull: Requests { reads: 1, writes: 0 },
                push: Requests { reads: 0, writes: 1 },
                ..RequestCosts::NONE
            },
            aggregators: Arc::new(|_| Aggregation::NONE),
            driver: DriverUsage::NONE,
        }
    }

    /// Sets the numbers of workers to compare.
    #[must_use]
    pub fn with_workers(self, workers: impl Into<Vec<u32>>) -> Self {
        Self { workers: workers.into(), ..self }
    }

    /// Sets the memory sizes to compare, in MB.
    #[must_use]
    pub fn with_memory(self, memory_mb: impl Into<Vec<u32>>) -> Self {
        Self { memory_mb: memory_mb.into(), ..self }
    }

    /// Counts this store's requests and aggregators.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn siren_core::ParameterStore>) -> Self {
        let costs = store.request_costs();
        Self { store: costs, aggregators: Arc::new(move |plan| store.aggregation(plan)), ..self }
    }

    /// Counts the driver's own requests, and the bytes that leave the region for it, in each epoch.
    #[must_use]
    pub fn with_driver(self, driver: DriverUsage) -> Self {
        Self { driver, ..self }
    }

    /// Returns an error for a job without parameters or examples.
    fn check(&self) -> Result<()> {
        if self.parameters == 0 {
            return Err(Error::rejected("the number of parameters is 0: give at least 1"));
        }
        if self.examples == 0 {
            return Err(Error::rejected("the number of examples is 0: give at least 1"));
        }
        Ok(())
    }
}

/// The expected time and cost of a job, for several allocations. Plain data; `Display` prints a
/// table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The name of the platform.
    pub platform: String,
    /// The number of epochs of the job.
    pub epochs: u64,
    /// The number of batches of an epoch.
    pub batches: u64,
    /// The budget of the job, if it is limited.
    pub budget: Option<Usd>,
    /// One row per allocation, sorted by workers and then by memory; at least one.
    pub rows: Vec<Row>,
    /// The index of the row whose job costs least.
    pub cheapest: usize,
    /// The index of the row whose job ends first among those that the budget suffices for. `None`
    /// if the budget suffices for no row.
    pub fastest: Option<usize>,
    /// `true` if the budget suffices for at least one row.
    pub sufficient: bool,
    /// The smallest budget that suffices for at least one row.
    pub least: Usd,
}

/// The time and cost of the job with one allocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The number of workers, and their memory.
    pub allocation: Allocation,
    /// An epoch in warm environments, without aggregators.
    pub epoch: EpochEstimate,
    /// The time of this epoch, in seconds, from launch to barrier.
    pub epoch_seconds: f64,
    /// Its cost, aggregators included.
    pub epoch_cost: Usd,
    /// Its cost without the fees for requests to storage.
    pub epoch_cost_without_requests: Usd,
    /// The number of aggregators beside the workers.
    pub aggregators: u32,
    /// The time of all epochs, in seconds, the first one in new environments.
    pub seconds: f64,
    /// The cost of all epochs.
    pub cost: Usd,
    /// The budget that suffices: the cost, and the reservation beyond it while the last epoch runs.
    /// The trainer reserves, for each invocation, the longest billed start and twice the requests.
    pub needs: Usd,
}

impl Preview {
    /// Compares the allocations of `subject` for a job with the epochs, batch size, local steps,
    /// synchronisation mode, compression and budget of `config`. `profile` describes the platform,
    /// and `step` the time of a training step.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the field, when a
    /// setting cannot train, a value of the profile or the step is not valid, the platform does not
    /// have an allocation, or a worker does not fit into it.
    pub fn new(
        config: &Config,
        subject: &PreviewInput,
        profile: &Profile,
        step: &StepTime,
    ) -> Result<Self> {
        subject.check()?;
        config.check(subject.examples)?;
        profile.check()?;
        step.check()?;
        let batches = config.plan(0, 0, subject.examples, 1).batches();
        let allocations = grid::allocations(config, subject, profile, step, batches)?;
        let rows: Vec<Row> = allocations
            .into_iter()
            .map(|allocation| row(config, subject, profile, step, allocation))
            .collect();
        let budget = config.stop.budget;
        let least_by = |key: &dyn Fn(&Row) -> f64, of: &dyn Fn(&Row) -> bool| {
            let rows = rows.iter().enumerate().filter(|(_, row)| of(row));
            rows.min_by(|(_, a), (_, b)| key(a).total_cmp(&key(b))).map(|(index, _)| index)
        };
        let within = |row: &Row| budget.is_none_or(|budget| row.needs <= budget);
        let cheapest = least_by(&|row| row.cost.dollars(), &|_| true).unwrap_or_default();
        let fastest = least_by(&|row| row.seconds, &within);
        let least = rows.iter().map(|row| row.needs).reduce(Usd::min).unwrap_or_default();
        Ok(Self {
            platform: profile.platform.name.clone(),
            epochs: config.stop.epochs,
            batches,
            budget,
            cheapest,
            fastest,
            sufficient: fastest.is_some(),
            least,
            rows,
        })
    }

    /// The row whose job costs least.
    pub fn cheapest(&self) -> Option<&Row> {
        self.rows.get(self.cheapest)
    }

    /// The row whose job ends first within the budget, if there is one.
    pub fn fastest(&self) -> Option<&Row> {
        self.rows.get(self.fastest?)
    }
}

fn row(
    config: &Config,
    subject: &PreviewInput,
    profile: &Profile,
    step: &StepTime,
    allocation: Allocation,
) -> Row {
    let plan = config.plan(0, 0, subject.examples, allocation.workers);
    let shape = EpochShape {
        pull: subject.store.pull,
        push: subject.store.push,
        ..EpochShape::dense(&plan, subject.parameters, subject.data_bytes)
    };
    let aggregation = (subject.aggregators)(&plan);
    let first = profile.epoch(&shape, step, allocation, true);
    let warm = profile.epoch(&shape, step, allocation, false);
    let later = config.stop.epochs.saturating_sub(1) as f64;
    let (first_extra, extra) = (
        aggregation_cost(profile, &aggregation, &first),
        aggregation_cost(profile, &aggregation, &warm),
    );
    let driver = profile.platform.driver_usage_cost(subject.driver);
    let epoch_cost = warm.cost() + extra.0 + extra.1 + driver;
    let cost = first.cost() + first_extra.0 + first_extra.1 + driver + epoch_cost * later;
    let last = if later > 0.0 { &warm } else { &first };
    let seconds = first.elapsed_s + warm.elapsed_s * later;
    // The driver reserves its own part once more, for its work after the last barrier.
    let wait = subject.store.waits(config.sync_mode);
    let spare = reserve(profile, &shape, allocation, last, &aggregation, wait) + driver;
    Row {
        allocation,
        epoch_seconds: warm.elapsed_s,
        epoch_cost,
        epoch_cost_without_requests: warm.compute_cost + extra.0,
        aggregators: aggregation.aggregators,
        seconds,
        cost,
        needs: cost + spare,
        epoch: warm,
    }
}

/// The cost of an epoch's aggregators: their time, and an upper bound of their requests.
fn aggregation_cost(
    profile: &Profile,
    aggregation: &Aggregation,
    epoch: &EpochEstimate,
) -> (Usd, Usd) {
    let platform = &profile.platform;
    let n = f64::from(aggregation.aggregators);
    let time = platform.second_cost(aggregation.memory_mb) * epoch.elapsed_s;
    let requests = platform.requests_cost(aggregation.requests_per_second) * epoch.elapsed_s;
    ((platform.prices.invocation + time) * n, requests * n)
}

/// The trainer's reservation for an epoch beyond its cost: each invocation's longest start, the
/// rest of its reservation for requests (twice the requests needed, and 8 more of each kind), and
/// the time by which the longest worker may exceed the mean one.
fn reserve(
    profile: &Profile,
    shape: &EpochShape,
    allocation: Allocation,
    epoch: &EpochEstimate,
    aggregation: &Aggregation,
    wait: Requests,
) -> Usd {
    let platform = &profile.platform;
    let workers = u64::from(epoch.workers);
    let longest = shape.batches.div_ceil(workers.max(1));
    let fetch = Requests { reads: u64::from(shape.example_bytes > 0.0), writes: 0 };
    let updates = longest.div_ceil(shape.local_steps.max(1));
    let cap = (shape.pull + shape.push) * (updates * 2 + 8) + fetch * (longest * 2 + 8);
    // A worker stops early when the time left is less than 1.25 cycles.
    let time = epoch.longest_s + 1.25 * epoch.cycle_s;
    let enforced = platform.enforced(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
    let time = (enforced.saturating_add(platform.limits.init)).as_secs_f64();
    let one = platform.prices.invocation
        + platform.requests_cost(cap + wait * (time.ceil() as u64 + 1))
        + platform.second_cost(allocation.memory_mb) * time;
    // An aggregator may run a quarter longer than the workers; the reservation covers that.
    let aggregator_time =
        Duration::try_from_secs_f64(epoch.elapsed_s * 1.25).unwrap_or(Duration::MAX);
    let aggregator_time =
        platform.enforced(aggregator_time).saturating_add(platform.limits.init).as_secs_f64();
    let aggregator_reserve =
        platform.second_cost(aggregation.memory_mb) * (aggregator_time - epoch.elapsed_s).max(0.0);
    let whole =
        one * f64::from(epoch.workers) + aggregator_reserve * f64::from(aggregation.aggregators);
    (whole - epoch.cost()).max(Usd::ZERO)
}

#[cfg(test)]
mod tests;
