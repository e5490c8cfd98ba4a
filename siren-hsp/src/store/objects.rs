//! The store over shared objects, such as S3's.
//!
//! Object storage cannot apply updates, so *aggregators* do, another role of the worker:
//!
//! - A push writes one object, named after its update, and only if it does not exist.
//! - The *state* is one small object, replaced only by compare-and-swap. It contains the open epoch
//!   and the updates that count. The first aggregator lists the pushed updates and advances the
//!   state; the seal closes it. All decisions are made in this object, and a cut is one write.
//! - The parameters are split into *parts*, one object each, which follow the state. An aggregator
//!   reads its part of the updates that the state names, applies them in a fixed order, and
//!   replaces the part by compare-and-swap. Several processes may do this: a late writer is
//!   refused, and reads the part again.
//! - A pull reads the parts that changed.
//!
//! Keys contain the number of the *lineage*, which begins with a restore, or of the *generation*,
//! which begins with each opening of an epoch. Late writes of an earlier lineage or generation are
//! never read.

mod aggregate;
mod apply;
#[cfg(any(test, feature = "yardstick"))]
mod cas;
mod client;
mod gc;
mod keys;
mod lifecycle;
mod options;
mod part;
mod part_noise;
mod part_object;
mod payload;
mod pull;
mod push;
mod seal;
mod sequence;
mod session;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
#[cfg(any(test, feature = "yardstick"))]
pub use cas::CasStore;
use client::Client;
use keys::{Cuts, Keys};
pub use options::ObjectOptions;
use parking_lot::Mutex;
use part::Part;
use session::{Session, View};
use siren_core::{
    Aggregation, Clock, Context, EpochPlan, EpochSummary, Error, Invocation, ParameterStore,
    PullOutcome, PushOutcome, Replica, RequestCosts, Requests, Result, Seed, Snapshot, Status,
    Stream, Update, WorkerReport, Workload,
};

use siren_core::objects::Objects;

/// A parameter store over shared [`Objects`]: for workers that share no memory.
///
/// This is a handle. All handles over the same objects with the same name of the run are one store,
/// also in different processes. Creating a handle is cheap and makes no requests.
///
/// ```
/// # use std::sync::Arc;
/// # use async_trait::async_trait;
/// # use siren_core::{Batch, Clock, Layout, Metrics, ParameterStore, Result, Seed, Time, Workload};
/// use siren_hsp::{MemoryObjects, ObjectStore};
/// # struct Mean(Layout);
/// # impl Workload for Mean {
/// #     fn layout(&self) -> &Layout { &self.0 }
/// #     fn init(&self, _: Seed) -> Result<Vec<f32>> { Ok(vec![0.5]) }
/// #     fn gradient(&self, p: &[f32], b: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
/// #         let x = b.floats(1)?;
/// #         let d: Vec<f32> = x.iter().map(|x| p[0] - x).collect();
/// #         g[0] = d.iter().sum::<f32>() / d.len() as f32;
/// #         Ok(f64::from(d.iter().map(|d| d * d / 2.0).sum::<f32>()) / d.len() as f64)
/// #     }
/// #     fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> { Ok(()) }
/// # }
/// # struct Still;
/// # #[async_trait]
/// # impl Clock for Still {
/// #     fn now(&self) -> Time { Time::ORIGIN }
/// #     async fn sleep_until(&self, _: Time) {}
/// # }
/// # let workload = Mean(Layout::flat("mean", 1)?);
/// # let clock = Arc::new(Still);
/// # futures::executor::block_on(async {
///
/// let objects = Arc::new(MemoryObjects::new()); // On AWS: `siren_backend_lambda::S3Objects`.
/// let driver = ObjectStore::new(objects.clone(), clock.clone(), "runs/first", workload.dim())?;
/// driver.initialise(&workload, 7).await?;
/// // Another handle with the same name is the same store, also in another process.
/// let worker = ObjectStore::new(objects, clock, "runs/first", workload.dim())?;
/// assert_eq!(worker.snapshot().await?, driver.snapshot().await?);
/// # Ok::<(), siren_core::Error>(())
/// # })?;
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct ObjectStore {
    /// For pushes and pulls, which their callers retry.
    client: Client,
    /// For everything else.
    retrying_client: Client,
    keys: Keys,
    clock: Arc<dyn Clock>,
    dim: usize,
    options: ObjectOptions,
    /// `true` if its requests are those of one invocation, or of the driver.
    exclusive: bool,
    /// The state as last read by this handle.
    view: Mutex<Option<View>>,
    /// The handle's knowledge of the open epoch.
    session: Mutex<Option<Arc<Session>>>,
    /// The parts, if this handle aggregates inline.
    parts: tokio::sync::Mutex<Vec<Option<Part>>>,
}

impl ObjectStore {
    /// A handle of the store with `dim` parameters under the name `run`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when `dim` is 0, or when
    /// `run` is not a path of letters, digits, dots, dashes, underscores and slashes.
    pub fn new(
        objects: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        run: &str,
        dim: usize,
    ) -> Result<Self> {
        if dim == 0 {
            return Err(Error::rejected("the model has no parameters: give at least 1"));
        }
        let client = Client::new(objects);
        Ok(Self {
            retrying_client: client.retrying(&clock),
            client,
            keys: Keys::new(run)?,
            clock,
            dim,
            options: ObjectOptions::default(),
            exclusive: false,
            view: Mutex::default(),
            session: Mutex::default(),
            parts: tokio::sync::Mutex::default(),
        })
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(self, options: ObjectOptions) -> Self {
        Self { options, ..self }
    }

    /// Declares that only one invocation at a time, or only the driver, uses this handle. Its
    /// [requests](ParameterStore::requests) are then theirs.
    #[must_use]
    pub fn exclusive(self) -> Self {
        Self { exclusive: true, ..self }
    }

    /// Writes initial parameters, drawn from `seed`, into a store without parameters. A store with
    /// parameters stays unchanged.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Workload::init`] and of [`restore`](ParameterStore::restore).
    pub async fn initialise(&self, workload: &dyn Workload, seed: u64) -> Result<()> {
        if self.read(&self.retrying_client).await?.is_some_and(|view| view.state.lineage.is_some())
        {
            return Ok(());
        }
        let values = workload.init(Seed::new(seed).split(Stream::Init, &[]))?;
        self.restore(&Snapshot::initial(values)).await
    }

    /// The division of the parameters into parts: the state's, or the one that a new state will
    /// have.
    fn cuts(&self) -> Cuts {
        match &*self.view.lock() {
            Some(view) => view.state.cuts(),
            None => self.options.cuts(self.dim),
        }
    }
}

#[async_trait]
impl ParameterStore for ObjectStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn request_costs(&self) -> RequestCosts {
        self.options.request_costs(self.cuts())
    }

    fn requests(&self) -> Option<Requests> {
        self.exclusive.then(|| self.client.total_requests())
    }

    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        self.options.aggregation(plan, self.cuts())
    }

    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        self.run_aggregator(invocation, context).await
    }

    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        self.open_epoch(plan).await
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        self.pull_parts(epoch, replica, progress).await
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        self.push_update(update).await
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        self.seal_epoch(epoch).await
    }

    async fn status(&self) -> Result<Status> {
        self.read_status().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.take_snapshot().await
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.put_snapshot(snapshot).await
    }
}
