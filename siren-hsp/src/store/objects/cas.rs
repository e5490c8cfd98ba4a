//! The simplest parameter store over shared objects, a baseline for comparison: a single object
//! that every push replaces.

mod whole;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Aggregation, Clock, Context, EpochPlan, EpochSummary, Error, ErrorKind, Invocation,
    NoiseAverages, ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts, Requests,
    Result, Snapshot, Status, Update, WorkerReport,
};

use super::client::Client;
use super::keys::{Cuts, Keys};
use super::part_object::PartObject;
use super::pull::Backoff;
use super::state::{State, floor, not_open};
use siren_core::objects::{Fetched, Objects, Tag, Written};
use whole::Whole;

use crate::store::noise::saved;

/// A parameter store in one object. Every push reads, changes and writes it by compare-and-swap,
/// and starts again if another write came first.
///
/// It needs no aggregators, and suits one worker. But the object changes at most once per read and
/// write, whatever the number of workers: about 15 times a second on S3.
/// [`ObjectStore`](super::ObjectStore) is the store for more workers.
pub struct CasStore {
    client: Client,
    key: String,
    clock: Arc<dyn Clock>,
    dim: usize,
    wait_delay: Duration,
    exclusive: bool,
}

impl CasStore {
    /// A handle of the store with `dim` parameters under the name `run`.
    ///
    /// # Errors
    ///
    /// As for [`ObjectStore::new`](super::ObjectStore::new).
    pub fn new(
        objects: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        run: &str,
        dim: usize,
    ) -> Result<Self> {
        if dim == 0 {
            return Err(Error::rejected("the model has no parameters: give at least 1"));
        }
        let key = Keys::new(run)?.whole();
        let wait_delay = Duration::from_millis(50);
        Ok(Self { client: Client::new(objects), key, clock, dim, wait_delay, exclusive: false })
    }

    /// Declares that only one invocation at a time, or only the driver, uses this handle. Its
    /// [requests](ParameterStore::requests) are then theirs.
    #[must_use]
    pub fn exclusive(self) -> Self {
        Self { exclusive: true, ..self }
    }

    async fn read(&self) -> Result<Option<(Whole, Tag)>> {
        match self.client.get(&self.key, None).await? {
            Fetched::Changed { bytes, tag } => Ok(Some((Whole::decode(&bytes, self.dim)?, tag))),
            _ => Ok(None),
        }
    }

    async fn read_initialised(&self) -> Result<(Whole, Tag)> {
        self.read().await?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the store holds no parameters yet: restore some")
        })
    }

    /// Changes the object. `change` returns the result, and `true` if the object must be written.
    async fn change<T: Send>(
        &self,
        change: impl Fn(&mut Whole) -> Result<(T, bool)> + Send + Sync,
    ) -> Result<T> {
        loop {
            let (mut whole, tag) = self.read_initialised().await?;
            let (done, is_changed) = change(&mut whole)?;
            if !is_changed {
                return Ok(done);
            }
            whole.state.serial += 1;
            let bytes = whole.encode()?;
            if let Written::Done(_) = self.client.put_if_unchanged(&self.key, &tag, &bytes).await? {
                return Ok(done);
            }
        }
    }
}

#[async_trait]
impl ParameterStore for CasStore {
    fn dim(&self) -> usize {
        self.dim
    }

    /// The requests of a push without contention. A push that loses a race makes more.
    fn request_costs(&self) -> RequestCosts {
        let read = Requests { reads: 1, writes: 0 };
        RequestCosts {
            push: Requests { reads: 1, writes: 1 },
            pull: read,
            wait: read * 8,
            wait_own: Requests::NONE,
            start: Requests::NONE,
        }
    }

    fn aggregation(&self, _: &EpochPlan) -> Aggregation {
        Aggregation::NONE
    }

    async fn aggregate(&self, invocation: &Invocation, _: &dyn Context) -> Result<WorkerReport> {
        Err(Aggregation::unavailable(invocation))
    }

    fn requests(&self) -> Option<Requests> {
        self.exclusive.then(|| self.client.total_requests())
    }

    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        plan.check()?;
        self.change(|whole| whole.open(plan)).await
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let mut backoff = Backoff::new(self.wait_delay);
        let mut since = None;
        loop {
            let (Whole { state, part, .. }, _) =
                self.read().await?.ok_or_else(|| not_open(epoch))?;
            let open = state.current(epoch)?;
            let marks = part.meta.marks.iter().map(|mark| mark.batches);
            if floor(&open.plan, marks) >= progress {
                let stamp = (state.lineage()? << 40) + part.meta.sequence;
                let is_new = replica.versions != [stamp] || replica.values.len() != self.dim;
                if is_new {
                    replica.values.clone_from(&part.values);
                    replica.versions = vec![stamp];
                }
                return Ok(PullOutcome {
                    version: part.meta.version,
                    copied: if is_new { self.dim } else { 0 },
                    waited: since.map_or(Duration::ZERO, |since| self.clock.now() - since),
                });
            }
            since.get_or_insert(self.clock.now());
            backoff.wait(&*self.clock).await;
        }
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        self.change(|whole| whole.push(update, self.dim)).await
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        self.change(|whole| whole.seal(epoch)).await
    }

    async fn status(&self) -> Result<Status> {
        let Some((whole, _)) = self.read().await? else {
            return Ok(Status { sealed_epochs: 0, version: 0, open: None });
        };
        let open = whole.state.open.is_some().then(|| whole.pushed()).transpose()?;
        Ok(Status {
            sealed_epochs: whole.state.sealed_epochs,
            version: whole.part.meta.version,
            open,
        })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let (Whole { state, part, .. }, _) = self.read_initialised().await?;
        if let Some(open) = &state.open {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("epoch {} is open: seal it before a snapshot", open.plan.epoch),
            ));
        }
        Ok(Snapshot {
            sealed_epochs: state.sealed_epochs,
            version: state.version,
            values: part.values,
            optimizer_state: part.optimizer_state,
            noise: saved(vec![part.meta.noise.estimator.averages]),
        })
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        snapshot.check()?;
        if snapshot.values.len() != self.dim {
            return Err(Error::rejected(format!(
                "the snapshot has {} parameters, the store {}: restore one of the same model",
                snapshot.values.len(),
                self.dim
            )));
        }
        loop {
            let found = self.read().await?;
            let (mut state, tag) = match found {
                Some((whole, tag)) => (whole.state.next(), Some(tag)),
                None => (State::new(Cuts { dim: self.dim, parts: 1 }), None),
            };
            state.taken += 1;
            state.lineage = Some(state.taken);
            state.sealed_epochs = snapshot.sealed_epochs;
            state.version = snapshot.version;
            (state.last, state.open) = (None, None);
            let (values, optimizer_state) =
                (snapshot.values.clone(), snapshot.optimizer_state.clone());
            let mut part = PartObject::new(state.taken, snapshot.version, values, optimizer_state);
            part.meta.noise.estimator.averages = NoiseAverages::divided(&snapshot.noise, 1)[0];
            let bytes = Whole { state, part, kept: Vec::new() }.encode()?;
            let written = match &tag {
                Some(tag) => self.client.put_if_unchanged(&self.key, tag, &bytes).await?,
                None => self.client.put_if_absent(&self.key, &bytes).await?,
            };
            if let Written::Done(_) = written {
                return Ok(());
            }
        }
    }
}
