//! What a job will cost and take, before it runs.
//!
//! [`Preview::new`] asks [`Profile::epoch`](siren_core::platform::Profile::epoch) for a number of
//! allocations, and says which of them finishes the job at the least cost, which one finishes it first
//! within the budget, and whether the budget can suffice at all:
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
//! What it assumes:
//!
//! - All epochs are run with the same allocation: the first one in new environments, the others in warm
//!   ones. Neither target loss nor time limit ends the job sooner.
//! - No invocation fails, and the evaluation at the barrier, which the driver does, takes no time and costs
//!   nothing.
//! - Times are means over many runs; a single epoch waits for its own stragglers.
//! - Under bulk mode, and under stale mode with bound 0, each round takes as long as the
//!   slowest worker does, and waits are paid for. Under stale mode with a larger bound nobody is
//!   taken to wait, as under hybrid mode: a lower bound of time and cost.
//! - Aggregators run, and are paid for, from the launch of an epoch to its end.

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

/// Which aggregators an epoch needs, as
/// [`ParameterStore::aggregation`](siren_core::ParameterStore::aggregation) says.
pub type Aggregators = Arc<dyn Fn(&EpochPlan) -> Aggregation + Send + Sync>;

/// What is trained and on what, and which allocations are looked at.
#[derive(Clone)]
pub struct PreviewInput {
    /// The number of parameters.
    pub parameters: u64,
    /// The number of training examples.
    pub examples: u64,
    /// The bytes of all training examples, which workers fetch from shared storage; 0 if every function
    /// has them at hand.
    pub data_bytes: u64,
    /// Numbers of workers to look at; more than there are batches counts as one for each. With none
    /// given, 1, 2, 5, 10, 20, … up to what the platform runs at once.
    pub workers: Vec<u32>,
    /// Memory sizes to look at, in MB. With none given, those that double from the platform's smallest
    /// one up to one vCPU, one vCPU itself, and as many vCPUs as the step has use for; without those that
    /// a worker does not fit into.
    pub memory_mb: Vec<u32>,
    /// Requests of one pull and one push.
    pub store: RequestCosts,
    /// The aggregators that each epoch needs; none by default.
    pub aggregators: Aggregators,
    /// What the driver's own part adds to each epoch: see
    /// [`Backend::max_driver_usage`](siren_core::Backend::max_driver_usage).
    pub driver: DriverUsage,
}

impl PreviewInput {
    /// Training of so many parameters on so many examples, of `data_bytes` in all, over a store that
    /// needs a GET for each pull, a PUT for each push, and no aggregators.
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

    /// Looks at these numbers of workers.
    #[must_use]
    pub fn with_workers(self, workers: impl Into<Vec<u32>>) -> Self {
        Self { workers: workers.into(), ..self }
    }

    /// Looks at these memory sizes, in MB.
    #[must_use]
    pub fn with_memory(self, memory_mb: impl Into<Vec<u32>>) -> Self {
        Self { memory_mb: memory_mb.into(), ..self }
    }

    /// Counts the requests of this store, and the aggregators that it needs.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn siren_core::ParameterStore>) -> Self {
        let costs = store.request_costs();
        Self { store: costs, aggregators: Arc::new(move |plan| store.aggregation(plan)), ..self }
    }

    /// Counts the driver's own part in each epoch: its requests, and the bytes that leave the region.
    #[must_use]
    pub fn with_driver(self, driver: DriverUsage) -> Self {
        Self { driver, ..self }
    }

    /// Refuses what cannot be trained.
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

/// What a job is expected to take and to cost, for a number of allocations. Plain data; as text it is a
/// table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The name of the platform.
    pub platform: String,
    /// Epochs of the job.
    pub epochs: u64,
    /// Batches of an epoch.
    pub batches: u64,
    /// The money that the job may cost, if that is limited.
    pub budget: Option<Usd>,
    /// A row for each allocation, by workers and then by memory; at least one.
    pub rows: Vec<Row>,
    /// The index of the row whose job costs least.
    pub cheapest: usize,
    /// The index of the row whose job ends first among those that the budget suffices for.
    pub fastest: Option<usize>,
    /// Whether the budget suffices for any row.
    pub sufficient: bool,
    /// The least budget that suffices for any row.
    pub least: Usd,
}

/// What the job takes and costs with one allocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How many workers of what memory size.
    pub allocation: Allocation,
    /// An epoch in warm environments, without aggregators.
    pub epoch: EpochEstimate,
    /// The time of such an epoch, in seconds, from launch to barrier.
    pub epoch_seconds: f64,
    /// Its cost, aggregators included.
    pub epoch_cost: Usd,
    /// Its cost without the fees for requests to storage.
    pub epoch_cost_without_requests: Usd,
    /// Aggregators beside the workers.
    pub aggregators: u32,
    /// The time of all epochs, in seconds, the first one in new environments.
    pub seconds: f64,
    /// Their cost.
    pub cost: Usd,
    /// The budget that suffices: the cost, and what has to be set aside beyond it while the last epoch
    /// runs, since the trainer reserves for each invocation the longest start that the platform bills, and
    /// twice the requests.
    pub needs: Usd,
}

impl Preview {
    /// Looks at the allocations that `subject` names, for a job as `config` says (epochs, batch size, local
    /// steps, synchrony, compression, budget), on a platform that behaves as `profile` says and computes
    /// as `step` says.
    ///
    /// # Errors
    ///
    /// Rejected, naming the field: a setting that cannot train, a profile or a step that cannot be, an
    /// allocation that the platform does not have or a worker does not fit into.
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

    /// The row whose job ends first within the budget.
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
    let driver = profile.platform.tally_cost(subject.driver);
    let epoch_cost = warm.cost() + extra.0 + extra.1 + driver;
    let cost = first.cost() + first_extra.0 + first_extra.1 + driver + epoch_cost * later;
    let last = if later > 0.0 { &warm } else { &first };
    let seconds = first.elapsed_s + warm.elapsed_s * later;
    // The driver holds its own part back once more, for what it does after the last barrier.
    let spare = reserve(profile, &shape, allocation, last, &aggregation) + driver;
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

/// What an epoch's aggregators cost: their time, and their requests at the most.
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

/// What the trainer sets aside for an epoch beyond its cost: each invocation's longest start, the rest of
/// what it reserves for requests (twice those that it needs, and 8 more of each kind), and how much
/// longer than the mean worker the longest one may run.
fn reserve(
    profile: &Profile,
    shape: &EpochShape,
    allocation: Allocation,
    epoch: &EpochEstimate,
    aggregation: &Aggregation,
) -> Usd {
    let platform = &profile.platform;
    let workers = u64::from(epoch.workers);
    let longest = shape.batches.div_ceil(workers.max(1));
    let fetch = Requests { reads: u64::from(shape.example_bytes > 0.0), writes: 0 };
    let updates = longest.div_ceil(shape.local_steps.max(1));
    let cap = (shape.pull + shape.push) * (updates * 2 + 8) + fetch * (longest * 2 + 8);
    // A worker hands back its shard when less than a quarter more than a cycle is left.
    let time = epoch.longest_s + 1.25 * epoch.cycle_s;
    let enforced = platform.enforced(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
    let time = (enforced.saturating_add(platform.limits.init)).as_secs_f64();
    let one = platform.prices.invocation
        + platform.requests_cost(cap)
        + platform.second_cost(allocation.memory_mb) * time;
    // An aggregator outlasts the workers by a quarter, and is reserved for as long as it may run.
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
