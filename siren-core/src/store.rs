//! The contract of a parameter store, which holds the parameters of a run.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Context, EpochPlan, Error, Invocation, NoiseScale, Requests, Result, Snapshot, SyncMode,
    Update, WorkerReport,
};

/// The outcome of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The update is durable, and counts once.
    Accepted,
    /// The update had been accepted before: nothing changed.
    Duplicate,
}

/// A worker's own copy of the parameters, which [`ParameterStore::pull`] keeps up to date.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The parameters. After you change them, call [`forget`](Replica::forget): otherwise a later
    /// pull may leave the changes in place.
    pub values: Vec<f32>,
    /// For each block of the store, the version of that block in `values`; zero before the first
    /// pull. The store maintains this field.
    pub versions: Vec<u64>,
}

impl Replica {
    /// An empty copy: the first pull fills it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next pull copy everything.
    pub fn forget(&mut self) {
        self.versions.fill(0);
    }
}

/// The outcome of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullOutcome {
    /// A lower bound of the number of updates in every pulled block. A gradient that is computed on
    /// the replica has this as its [version](Update::version).
    pub version: u64,
    /// The number of entries copied.
    pub copied: usize,
    /// The time that the pull waited for the progress of other shards, or of aggregators. It is
    /// approximate when the store, or the backend around it, cannot tell this time from that of the
    /// transfer.
    pub waited: Duration,
}

/// The part of a shard that has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Watermark {
    /// Batches counted, from the start of the shard.
    pub batches: u64,
    /// Examples in them.
    pub examples: u64,
    /// The sum of their losses.
    pub loss: f64,
}

/// The age of the parameters at which an epoch's updates were computed, as a number of updates
/// applied in the meantime. Zero for an epoch without updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Staleness {
    /// The mean over the epoch's updates.
    pub mean: f64,
    /// The largest.
    pub max: u64,
}

/// The contents of a sealed epoch. Only the batches in this summary count.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochSummary {
    /// The epoch.
    pub epoch: u64,
    /// The number of updates that the parameters hold, over all epochs.
    pub version: u64,
    /// Every shard's watermark.
    pub watermarks: Vec<Watermark>,
    /// The staleness of the epoch's updates.
    pub staleness: Staleness,
    /// The mean [factor](crate::Optimizer::step_factor) of the updates' steps; 1 without the noise
    /// rule, and in an epoch without updates.
    pub step_factor: f64,
    /// The progress of the epoch in passes over the data: the sum of each update's examples times
    /// its [efficiency](crate::Noise::efficiency), divided by the examples of a pass.
    pub progress: f64,
    /// The noise scale; `None` if the plan does not ask for it, or with fewer than two windows.
    pub noise: Option<NoiseScale>,
}

impl EpochSummary {
    /// The mean training loss over the examples that counted; NaN if none did.
    pub fn mean_loss(&self) -> f64 {
        let (examples, loss) =
            self.watermarks.iter().fold((0, 0.0), |(n, loss), w| (n + w.examples, loss + w.loss));
        loss / examples as f64
    }

    /// The number of batches that counted.
    pub fn batches(&self) -> u64 {
        self.watermarks.iter().map(|w| w.batches).sum()
    }
}

/// The progress of a store in its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The number of epochs sealed so far, which is the number of the next one.
    pub sealed_epochs: u64,
    /// The number of updates that the parameters hold.
    pub version: u64,
    /// Every shard's watermark while an epoch is open, otherwise `None`.
    pub open: Option<Vec<Watermark>>,
}

/// Upper bounds of the requests of a store to shared storage. The trainer reserves money for them
/// before it launches workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCosts {
    /// The most requests of one push.
    pub push: Requests,
    /// The most requests of one pull that does not wait.
    pub pull: Requests,
    /// The most requests in each second that a pull waits for other shards.
    pub wait: Requests,
    /// The most requests in each second that a pull waits until the worker's own updates are applied.
    /// Such a pull may then make those of another [`pull`](Self::pull).
    pub wait_own: Requests,
    /// The most other requests of an invocation, which it makes once, at its start.
    pub start: Requests,
}

impl RequestCosts {
    /// The most requests in each second that a pull waits in this mode.
    pub fn waits(&self, sync_mode: SyncMode) -> Requests {
        match sync_mode.waits() {
            true => self.wait,
            false => self.wait_own,
        }
    }

    /// No requests: the costs of a store that does not use shared storage.
    pub const NONE: Self = Self {
        push: Requests::NONE,
        pull: Requests::NONE,
        wait: Requests::NONE,
        wait_own: Requests::NONE,
        start: Requests::NONE,
    };
}

/// The aggregators that an epoch needs beside its workers. They apply the pushed updates when
/// shared storage itself cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregation {
    /// The number of aggregators, each for one part of the parameters. Zero when the store applies
    /// updates itself.
    pub aggregators: u32,
    /// The memory of each, in MB.
    pub memory_mb: u32,
    /// The most requests of each in a second.
    pub requests_per_second: Requests,
}

impl Aggregation {
    /// No aggregators: the store applies updates itself.
    pub const NONE: Self =
        Self { aggregators: 0, memory_mb: 0, requests_per_second: Requests::NONE };

    /// The error that a store without aggregators returns from [`ParameterStore::aggregate`]. Its
    /// kind is [`ErrorKind::Rejected`](crate::ErrorKind::Rejected).
    pub fn unavailable(invocation: &Invocation) -> Error {
        Error::rejected(format!(
            "there is no part {} to aggregate: this store applies updates itself",
            invocation.shard
        ))
    }
}

/// Holds the parameters of one run and applies updates to them.
///
/// The life of an epoch: [`open`](Self::open), then any number of [`pull`](Self::pull) and
/// [`push`](Self::push) by all workers at once, then [`seal`](Self::seal). Between two epochs
/// [`snapshot`](Self::snapshot) is consistent.
///
/// For every shard the store keeps a *watermark*, the number of batches counted so far. An update
/// whose position is at the watermark is accepted. One below it is a duplicate, and one above it a
/// conflict. A new attempt at a shard therefore starts at the watermark. No batch is lost or
/// counted twice, and the store needs no list of earlier updates.
///
/// The *version* of the parameters is the number of updates that they hold, over all epochs. Under
/// [`SyncMode::Bulk`](crate::SyncMode::Bulk) the store keeps the updates of a round until every
/// unfinished shard has pushed its update of that round. Then it applies their mean, weighted by
/// examples, as one update. Each update is clipped before the mean is taken.
///
/// Every method is safe to retry and to cancel at any point: a cancelled push has happened either
/// in full or not at all. All methods may return [transient](Error::is_transient) errors of shared
/// storage.
///
/// To wrap another store, implement [`StoreDecorator`](crate::StoreDecorator) instead.
///
/// # Examples
///
/// A worker pulls the parameters, computes a gradient and pushes it:
///
/// ```
/// use siren_core::{Batch, Gradient, ParameterStore, PushOutcome, Replica, Result};
/// use siren_core::{Seed, Update, UpdateId, Workload};
///
/// async fn train_one_batch<S: ParameterStore>(
///     store: &S,
///     replica: &mut Replica,
///     workload: &impl Workload,
///     batch: &Batch<'_>,
///     id: UpdateId,
/// ) -> Result<PushOutcome> {
///     let pulled = store.pull(id.epoch, replica, 0).await?;
///     let mut gradient = vec![0.0; store.dim()];
///     let loss = workload.gradient(&replica.values, batch, Seed::new(1), &mut gradient)?;
///     let update = Update {
///         id,
///         batches: 1,
///         examples: batch.examples as u64,
///         loss: loss * batch.examples as f64,
///         version: pulled.version,
///         squared_norm: gradient.iter().map(|&entry| f64::from(entry).powi(2)).sum(),
///         gradient: Gradient::Dense(&gradient),
///     };
///     store.push(&update).await
/// }
/// ```
#[async_trait]
pub trait ParameterStore: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// Upper bounds of the requests of pushes and pulls to shared storage. [`RequestCosts::NONE`]
    /// for a store that does not use shared storage.
    fn request_costs(&self) -> RequestCosts;

    /// The aggregators that an epoch of this plan needs; the trainer launches and pays for them.
    /// [`Aggregation::NONE`] for a store that applies updates itself.
    fn aggregation(&self, plan: &EpochPlan) -> Aggregation;

    /// Applies pushed updates to one part of the parameters, until the epoch is sealed or the
    /// invocation's time is nearly used up. An invocation whose role is
    /// [`Aggregator`](crate::Role::Aggregator) runs this. Several may run for the same part at
    /// once: only one of them has an effect at a time.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the store has no such part
    /// (see [`Aggregation::unavailable`]).
    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport>;

    /// The number of requests that this handle of the store has made to shared storage, if it
    /// counts them for one invocation alone. The invocation is then billed for these requests. With
    /// `None` it is billed for the upper bounds in [`request_costs`](Self::request_costs).
    fn requests(&self) -> Option<Requests>;

    /// Starts an epoch. Idempotent: opening the same plan again changes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the plan does not pass
    /// [`EpochPlan::check`], [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) when the epoch is
    /// sealed, and [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it is not the next one
    /// or another plan is open.
    async fn open(&self, plan: &EpochPlan) -> Result<()>;

    /// Brings `replica` up to date. Waits until every unfinished shard of `epoch` has pushed at
    /// least `progress` updates, then copies the blocks that changed since the last pull. The
    /// copied blocks contain these updates. A `progress` of 0 does not wait for other shards:
    /// see [`SyncMode::progress`](crate::SyncMode::progress). A store with aggregators may also wait
    /// until they have applied the worker's earlier updates.
    ///
    /// Each block is copied atomically; different blocks may have different versions. A pull after
    /// a restore copies everything.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) when the epoch is sealed, and
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it is not open. Both may happen
    /// during the wait; a restore drops the open epoch.
    ///
    /// # Cancellation
    ///
    /// Safe at any point: every block of the replica is then as before or up to date.
    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome>;

    /// Adds an update. `Ok` means that the update is durable and counts at most once; it may become
    /// visible to pulls later. An update that comes too late for a concurrent `seal` changes
    /// nothing, whether its push returned `Ok` or [`ErrorKind::Fenced`](crate::ErrorKind::Fenced).
    ///
    /// # Errors
    ///
    /// These errors change nothing. The checks are made in this order:
    ///
    /// - [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) when the epoch is sealed, also for a
    ///   duplicate, and [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it is not open;
    /// - [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the update does not fit the plan;
    /// - [`ErrorKind::Diverged`](crate::ErrorKind::Diverged) when the loss or the norm is not
    ///   finite;
    /// - [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the update is above the watermark
    ///   or, under bulk mode, belongs to a later round than the current one.
    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome>;

    /// Closes an epoch. Every block has then applied exactly the updates in the summary. Under bulk
    /// mode, an incomplete round is applied as the mean of the updates that were pushed.
    /// Idempotent: sealing the last sealed epoch again returns the same summary, until a restore.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the epoch is neither open
    /// nor the last one sealed.
    async fn seal(&self, epoch: u64) -> Result<EpochSummary>;

    /// The store's progress in its run. The watermarks include every push that returned `Ok`
    /// before.
    ///
    /// # Errors
    ///
    /// Returns only [transient](Error::is_transient) errors of shared storage.
    async fn status(&self) -> Result<Status>;

    /// The parameters and the optimizer's state.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) while an epoch is open.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// Puts the store into a given state: initial parameters, or those of a checkpoint. An open
    /// epoch is dropped: later pushes of its workers are refused until that epoch is opened again.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the snapshot has another
    /// number of parameters, and [`ErrorKind::Diverged`](crate::ErrorKind::Diverged) when an entry
    /// is not finite. The store is then unchanged.
    async fn restore(&self, snapshot: &Snapshot) -> Result<()>;
}
