//! The plain way to keep parameters in shared objects, to compare the other one with: a single object
//! that every push replaces.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::wire::{self, Decoder};
use siren_core::{
    Aggregation, Clock, Context, EpochPlan, EpochSummary, Error, ErrorKind, Gradient, Invocation,
    ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts, Requests, Result, Snapshot,
    Status, SyncMode, Update, Watermark, WorkerReport,
};

use super::client::Client;
use super::keys::{Cuts, Keys};
use super::part_object::PartObject;
use super::pull::Backoff;
use super::state::{Open, State, fenced, floor, not_open};
use crate::objects::{Fetched, Objects, Tag, Written};
use crate::store::update::{self, Piece, within};

/// A parameter store in one object, which every push reads, changes and writes by compare-and-swap,
/// again and again until nobody else came first.
///
/// It needs no aggregators, and is fine for one worker. But the object changes at most so often as a
/// read and a write take one after the other, whatever the number of workers: about 15 times a second on
/// S3. [`ObjectStore`](super::ObjectStore) is the store for more.
pub struct CasStore {
    client: Client,
    key: String,
    clock: Arc<dyn Clock>,
    dim: usize,
    wait_delay: Duration,
    exclusive: bool,
}

/// All of the store.
struct Whole {
    state: State,
    part: PartObject,
    /// Updates of a round of bulk mode that is not complete, as [`wire`] writes them.
    kept: Vec<Vec<u8>>,
}

impl CasStore {
    /// A handle of the store that holds `dim` parameters under the name `run`.
    ///
    /// # Errors
    ///
    /// As [`ObjectStore::new`](super::ObjectStore::new).
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

    /// The same handle, which one invocation at a time, or the driver alone, will use: so that what it
    /// [asks for](ParameterStore::requests) is theirs.
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

    /// Changes the object; `change` says what comes of it, and whether anything is to be written.
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

impl Whole {
    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let state = self.state.encode()?;
        let part = self.part.encode();
        for piece in [&state, &part].into_iter().chain(&self.kept) {
            bytes.extend((piece.len() as u64).to_le_bytes());
            bytes.extend(piece);
        }
        Ok(bytes)
    }

    fn decode(mut bytes: &[u8], dim: usize) -> Result<Self> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let piece = bytes.split_first_chunk::<8>().and_then(|(length, rest)| {
                rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
            });
            let Some((piece, rest)) = piece else { break };
            pieces.push(piece);
            bytes = rest;
        }
        match (&pieces[..], bytes) {
            ([state, part, kept @ ..], []) => Ok(Self {
                state: State::decode(state, dim)?,
                part: PartObject::decode(part, dim)?,
                kept: kept.iter().map(|piece| piece.to_vec()).collect(),
            }),
            _ => Err(Error::new(ErrorKind::Corrupt, "the run's object ends early")),
        }
    }

    /// What was pushed of each shard, applied or kept.
    fn pushed(&self) -> Result<Vec<Watermark>> {
        let mut marks = self.part.meta.marks.clone();
        for kept in &self.kept {
            let mut decoder = Decoder::new();
            let update = decoder.decode(kept)?;
            if let Some(mark) = marks.get_mut(update.id.shard as usize) {
                mark.batches += update.batches;
                mark.examples += update.examples;
                mark.loss += update.loss;
            }
        }
        Ok(marks)
    }

    fn push(&mut self, update: &Update<'_>, dim: usize) -> Result<(PushOutcome, bool)> {
        let id = update.id;
        let plan = self.state.current(id.epoch)?.plan.clone();
        update::check(&plan, dim, update)?;
        let pushed = self.pushed()?;
        let counted = pushed[id.shard as usize].batches;
        if id.position < counted {
            return Ok((PushOutcome::Duplicate, false));
        }
        let floor = |marks: &[Watermark]| floor(&plan, marks.iter().map(|mark| mark.batches));
        let bulk = plan.sync_mode == SyncMode::Bulk;
        let round = plan.updates(id.position);
        if id.position > counted || (bulk && round > floor(&pushed)) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "an update of shard {} at batch {} while {counted} are counted, in round \
                     {round} while {} goes on",
                    id.shard,
                    id.position,
                    floor(&pushed)
                ),
            ));
        }
        if bulk {
            let mut bytes = Vec::new();
            wire::encode(update, &mut bytes);
            self.kept.push(bytes);
            if floor(&self.pushed()?) > round {
                self.end_round(&plan)?;
            }
        } else {
            let piece = piece(update);
            self.part.apply(&plan, 0, update, piece, &mut Vec::new())?;
            self.part.meta.sequence += 1;
        }
        Ok((PushOutcome::Accepted, true))
    }

    /// Applies the mean of the updates that were kept.
    fn end_round(&mut self, plan: &EpochPlan) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return Ok(());
        }
        let mut decoders = vec![Decoder::new(); kept.len()];
        let decoded = decoders.iter_mut().zip(&kept).map(|(decoder, kept)| decoder.decode(kept));
        let mut updates = decoded.collect::<Result<Vec<_>>>()?;
        updates.sort_unstable_by_key(|update| update.id.shard);
        let updates: Vec<_> = updates.iter().map(|update| (*update, piece(update))).collect();
        self.part.apply_round(plan, 0, &updates, &mut Vec::new())?;
        self.part.meta.sequence += 1;
        Ok(())
    }

    fn open(&mut self, plan: &EpochPlan) -> Result<((), bool)> {
        let state = &mut self.state;
        if plan.epoch < state.sealed_epochs {
            return Err(fenced(plan.epoch));
        }
        if state.open.as_ref().is_some_and(|open| open.plan == *plan) {
            return Ok(((), false));
        }
        if state.open.is_some() || plan.epoch != state.sealed_epochs {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "epoch {} cannot be opened: another plan is open, or the next epoch is {}",
                    plan.epoch, state.sealed_epochs
                ),
            ));
        }
        state.taken += 1;
        state.open = Some(Open {
            generation: state.taken,
            plan: plan.clone(),
            aggregators: 0,
            marks: vec![0; plan.shards as usize],
            closed: false,
        });
        self.part.begin_epoch(state.taken, plan);
        Ok(((), true))
    }

    fn seal(&mut self, epoch: u64) -> Result<(EpochSummary, bool)> {
        if let Some(last) = self.state.last.as_ref().filter(|last| last.epoch == epoch) {
            return Ok((last.clone(), false));
        }
        let plan = match &self.state.open {
            Some(open) if open.plan.epoch == epoch => open.plan.clone(),
            _ => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("epoch {epoch} is neither open nor the last one sealed"),
                ));
            }
        };
        self.end_round(&plan)?;
        let meta = &self.part.meta;
        let updates = meta.marks.iter().map(|mark| plan.updates(mark.batches)).sum();
        let sealed = EpochSummary {
            epoch,
            version: meta.version,
            watermarks: meta.marks.clone(),
            staleness: meta.staleness(updates),
        };
        self.state.open = None;
        self.state.sealed_epochs = epoch + 1;
        self.state.version = sealed.version;
        self.state.last = Some(sealed.clone());
        Ok((sealed, true))
    }
}

fn piece<'a>(update: &Update<'a>) -> Piece<'a> {
    match update.gradient {
        Gradient::Dense(values) => Piece::Dense(values),
        Gradient::Sparse(sparse) => Piece::Sparse(within(sparse.entries(), &(0..sparse.dim()))),
    }
}

#[async_trait]
impl ParameterStore for CasStore {
    fn dim(&self) -> usize {
        self.dim
    }

    /// As many reads and writes as a push needs that is the only one; one that others overtake needs
    /// more.
    fn request_costs(&self) -> RequestCosts {
        let read = Requests { reads: 1, writes: 0 };
        RequestCosts {
            push: Requests { reads: 1, writes: 1 },
            pull: read,
            wait: read * 8,
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
            let part = PartObject::new(state.taken, snapshot.version, values, optimizer_state);
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
