//! The store over shared objects, such as S3's.
//!
//! Objects cannot add, so that updates are applied by *aggregators*, another role of the worker:
//!
//! - A push is one object, named by its update and created only if it does not exist.
//! - The *state*, one small object that is replaced by compare-and-swap only, says which epoch is open
//!   and which updates count. The first aggregator, which lists what was pushed, moves it on; the seal
//!   closes it. So there is one place where anything is decided, and a cut is one write.
//! - The parameters are cut into *parts*, an object each, which follow the state: an aggregator reads
//!   its part of the updates that the state names, applies them in a fixed order, and replaces the part
//!   by compare-and-swap. Any number may do this: who comes second is refused, and reads again.
//! - A pull reads the parts that changed.
//!
//! Keys hold the number of the *lineage*, which a restore begins, or the *generation*, which each
//! opening of an epoch begins. What late writers of an earlier one still write is read by nobody.

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

/// A parameter store over shared [`Objects`]: for workers that have no memory in common.
///
/// This is a handle; any number of them, in any number of processes, are one store when they are
/// made over the same objects with the same name of the run. A handle is cheap to make, and asks for
/// nothing until it is used.
pub struct ObjectStore {
    /// For pushes and pulls, which whoever makes them tries again.
    client: Client,
    /// For everything else.
    retrying_client: Client,
    keys: Keys,
    clock: Arc<dyn Clock>,
    dim: usize,
    options: ObjectOptions,
    /// Whether its requests are those of one invocation, or of the driver.
    exclusive: bool,
    /// The state as it was last seen here.
    view: Mutex<Option<View>>,
    /// What is known of the open epoch.
    session: Mutex<Option<Arc<Session>>>,
    /// The parts, where this handle aggregates by itself.
    parts: tokio::sync::Mutex<Vec<Option<Part>>>,
}

impl ObjectStore {
    /// A handle of the store that holds `dim` parameters under the name `run`.
    ///
    /// # Errors
    ///
    /// Rejected when there are no parameters, or the name is not a path of letters, digits, dots,
    /// dashes, underscores and slashes.
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

    /// The same handle with other options.
    #[must_use]
    pub fn with_options(self, options: ObjectOptions) -> Self {
        Self { options, ..self }
    }

    /// The same handle, which one invocation at a time, or the driver alone, will use: so that what it
    /// [asks for](ParameterStore::requests) is theirs.
    #[must_use]
    pub fn exclusive(self) -> Self {
        Self { exclusive: true, ..self }
    }

    /// Puts initial parameters, drawn from `seed`, into a store that holds none yet; one that does is
    /// left as it is.
    ///
    /// # Errors
    ///
    /// Whatever [`Workload::init`] answers; as [`restore`](ParameterStore::restore).
    pub async fn initialise(&self, workload: &dyn Workload, seed: u64) -> Result<()> {
        if self.read(&self.retrying_client).await?.is_some_and(|view| view.state.lineage.is_some())
        {
            return Ok(());
        }
        let values = workload.init(Seed::new(seed).split(Stream::Init, &[]))?;
        self.restore(&Snapshot::initial(values)).await
    }

    /// How the parameters are cut: as the state says, or as it will once there is one.
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
