//! Where the parameters live.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Context, EpochPlan, Error, Invocation, Requests, Result, Update, WorkerReport};

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// Durable, and counted once.
    Accepted,
    /// It had been accepted before: nothing changed.
    Duplicate,
}

/// A worker's own copy of the parameters, which [`ParameterStore::pull`] keeps up to date.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The parameters. Change them only after [`forget`](Replica::forget), or a later pull will
    /// leave the changes in place.
    pub values: Vec<f32>,
    /// Per block of the store, the version that `values` has; zero is none. Kept by the store.
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

/// What a pull did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullOutcome {
    /// A lower bound of the updates that every pulled block holds: what a gradient computed on the
    /// replica carries as its version.
    pub version: u64,
    /// How many entries were copied.
    pub copied: usize,
    /// How long it waited for other shards' progress: as well as the store, or the backend around it,
    /// can tell this from the transfer.
    pub waited: Duration,
}

/// How much of a shard counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Watermark {
    /// Batches counted, from the start of the shard.
    pub batches: u64,
    /// Examples in them.
    pub examples: u64,
    /// The sum of their losses.
    pub loss: f64,
}

/// How old the parameters were that updates were computed at, in updates; zero for an epoch without
/// any.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Staleness {
    /// The mean over the epoch's updates.
    pub mean: f64,
    /// The largest.
    pub max: u64,
}

/// What a sealed epoch consists of. It alone says what counted.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochSummary {
    /// The epoch.
    pub epoch: u64,
    /// The number of updates that the parameters hold, over all epochs.
    pub version: u64,
    /// Every shard's watermark.
    pub watermarks: Vec<Watermark>,
    /// How stale the epoch's updates were.
    pub staleness: Staleness,
}

impl EpochSummary {
    /// The mean training loss over the examples that counted; NaN if none did.
    pub fn mean_loss(&self) -> f64 {
        let (examples, loss) =
            self.watermarks.iter().fold((0, 0.0), |(n, loss), w| (n + w.examples, loss + w.loss));
        loss / examples as f64
    }

    /// How many batches counted.
    pub fn batches(&self) -> u64 {
        self.watermarks.iter().map(|w| w.batches).sum()
    }
}

/// Where a store is in its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The number of epochs sealed so far, which is the number of the next one.
    pub sealed_epochs: u64,
    /// The number of updates that the parameters hold.
    pub version: u64,
    /// Every shard's watermark, while an epoch is open.
    pub open: Option<Vec<Watermark>>,
}

/// The whole state of a store between two epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The number of epochs sealed so far.
    pub sealed_epochs: u64,
    /// The number of updates that the parameters hold.
    pub version: u64,
    /// The parameters.
    pub values: Vec<f32>,
    /// What the optimizer keeps, a vector of the parameters' length for each slot.
    pub optimizer_state: Vec<Vec<f32>>,
}

impl Snapshot {
    /// The state before the first epoch.
    pub fn initial(values: Vec<f32>) -> Self {
        Self { sealed_epochs: 0, version: 0, values, optimizer_state: Vec::new() }
    }

    /// Refuses a state that no store may be in: slots of other lengths than the parameters, or
    /// entries that are not finite.
    ///
    /// # Errors
    ///
    /// Rejected or diverged, saying which entry.
    pub fn check(&self) -> Result<()> {
        if self.values.is_empty()
            || self.optimizer_state.iter().any(|s| s.len() != self.values.len())
        {
            return Err(Error::rejected(
                "the snapshot's vectors are empty or of different lengths: take it from a store or \
                 a checkpoint",
            ));
        }
        let vectors = std::iter::once(&self.values).chain(&self.optimizer_state);
        for (vector, values) in vectors.enumerate() {
            if let Some(entry) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::new(
                    crate::ErrorKind::Diverged,
                    format!("entry {entry} of the snapshot's vector {vector} is not finite"),
                ));
            }
        }
        Ok(())
    }
}

/// What a store asks of shared storage, so that money can be reserved before a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCosts {
    /// Requests of one push, at the most.
    pub push: Requests,
    /// Requests of one pull that waits for nobody, at the most.
    pub pull: Requests,
    /// Requests of each second that a pull waits for others, at the most.
    pub wait: Requests,
    /// Requests of an invocation beside those, at the most: what it has to look up once.
    pub start: Requests,
}

impl RequestCosts {
    /// No requests: the costs of a store that does not use shared storage.
    pub const NONE: Self = Self {
        push: Requests::NONE,
        pull: Requests::NONE,
        wait: Requests::NONE,
        start: Requests::NONE,
    };
}

/// The aggregators that an epoch needs beside its workers: where shared storage cannot add, they apply
/// what workers push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregation {
    /// How many, each for a part of the parameters; none where the store applies updates itself.
    pub aggregators: u32,
    /// The memory of each, in MB.
    pub memory_mb: u32,
    /// Requests that each makes in a second, at the most.
    pub requests_per_second: Requests,
}

impl Aggregation {
    /// No aggregators: the store applies updates itself.
    pub const NONE: Self =
        Self { aggregators: 0, memory_mb: 0, requests_per_second: Requests::NONE };

    /// The answer of a store without aggregators to [`ParameterStore::aggregate`]: the error says that
    /// the store applies updates itself.
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
/// For every shard the store keeps one *watermark*, the number of batches counted. An update whose
/// position is below it is a duplicate, at it is applied, above it is a conflict. So a new attempt
/// at a shard starts at the watermark, nothing is lost or counted twice, and memory does not grow.
///
/// The *version* of the parameters is the number of updates that they hold, over all epochs. Under
/// [`SyncMode::Bulk`](crate::SyncMode::Bulk) a shard's updates are kept until every unfinished shard
/// has pushed its own of the same round; the mean of them all, weighted by examples, is then applied as
/// one update. Each is clipped on its own.
///
/// Every method is safe to retry and to cancel at any point: a cancelled push has either happened
/// in full or not at all.
///
/// A store that wraps another one implements [`StoreDecorator`](crate::StoreDecorator) instead.
#[async_trait]
pub trait ParameterStore: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// The requests that pushes and pulls make of shared storage, at the most; money is reserved for
    /// them. [`RequestCosts::NONE`] for a store that does not use shared storage.
    fn request_costs(&self) -> RequestCosts;

    /// The aggregators that an epoch of this plan needs; the trainer launches and pays for them.
    /// [`Aggregation::NONE`] for a store that applies updates itself.
    fn aggregation(&self, plan: &EpochPlan) -> Aggregation;

    /// Applies what workers push to one part of the parameters, until the epoch is sealed or the time
    /// is nearly up: what an invocation whose role is [`Aggregator`](crate::Role::Aggregator) does.
    /// Any number may run for the same part: only one at a time has an effect.
    ///
    /// # Errors
    ///
    /// Rejected when the store has no such part, as by [`Aggregation::unavailable`]; transient ones of
    /// shared storage.
    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport>;

    /// The requests that this handle of the store has made of shared storage so far, if it counts them
    /// for one invocation alone. The invocation is then billed for them, and otherwise for what
    /// [`request_costs`](Self::request_costs) allows.
    fn requests(&self) -> Option<Requests>;

    /// Starts an epoch. Idempotent: the same plan again changes nothing.
    ///
    /// # Errors
    ///
    /// Rejected when the plan is [not sound](EpochPlan::check); fenced when the epoch is sealed;
    /// conflict when it is not the next one, or another plan is open.
    async fn open(&self, plan: &EpochPlan) -> Result<()>;

    /// Brings `replica` up to date: copies the blocks that changed since it was last pulled, once
    /// every unfinished shard of `epoch` has pushed at least `progress` updates (a finished shard
    /// counts as past every round). These updates are then in what is copied.
    ///
    /// Atomic per block; versions may mix across blocks. A pull after a restore copies everything.
    ///
    /// # Errors
    ///
    /// Fenced when the epoch is sealed, also while waiting; conflict when it is not open, also when a
    /// restore drops it while waiting.
    ///
    /// # Cancellation
    ///
    /// Safe at any point: the replica stays consistent per block.
    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome>;

    /// Adds an update. Ok means durable and counted at most once, not yet visible to everybody. An
    /// update that loses the race with `seal` changes nothing, whether its push returned Ok or
    /// fenced.
    ///
    /// # Errors
    ///
    /// Fenced when the epoch is sealed; conflict when the epoch is not open, the update lies above the
    /// watermark, or, under bulk mode, it belongs to a later round than the one that goes on;
    /// diverged when the loss or the norm is not finite (refused before anything is
    /// touched); rejected when it does not fit the plan. Looked at in this order: the epoch, the fit,
    /// what is finite, the watermark; so a duplicate that comes after the seal is fenced.
    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome>;

    /// Closes an epoch: every block has then applied exactly what the report says. A round of bulk
    /// synchrony that is not complete is applied as the mean of what has come. Idempotent: a
    /// sealed epoch's report does not change, as long as it is the last one. A restore forgets it.
    ///
    /// # Errors
    ///
    /// Conflict when the epoch is neither open nor the last one sealed.
    async fn seal(&self, epoch: u64) -> Result<EpochSummary>;

    /// Where the store is in its run. The watermarks include every push that returned Ok before.
    ///
    /// # Errors
    ///
    /// Transient ones of shared storage.
    async fn status(&self) -> Result<Status>;

    /// The parameters and what the optimizer keeps.
    ///
    /// # Errors
    ///
    /// Conflict while an epoch is open.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// Puts the store into a state: initial parameters, or those of a checkpoint. An open epoch is
    /// dropped, and what its workers still push is refused until that epoch is opened again.
    ///
    /// # Errors
    ///
    /// Rejected when the snapshot has another number of parameters, diverged when an entry is not
    /// finite. The store is then as it was.
    async fn restore(&self, snapshot: &Snapshot) -> Result<()>;
}
