//! The store in memory. The parameters are split into blocks, each with its own lock, which is held
//! only briefly.
//!
//! Locks are taken in this order: the epoch's lock (shared by pushes and pulls; exclusive for open,
//! seal, snapshot and restore), then a shard's, then the rounds', then one block's at a time.
//! Pushes of different shards contend only for blocks and for the rounds' lock. A push waits for
//! nothing but these locks, and it has no await point at which it could be cancelled halfway.

mod apply;
mod block;
mod noise;
mod rounds;
mod run;
#[cfg(test)]
mod tests;
mod walk;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use block::Block;
use noise::Noise;
use parking_lot::{Mutex, RwLock};
use rounds::{Kept, Rounds};
use run::{Open, Run, Shard, fenced};
use siren_core::{
    Aggregation, Context, EpochPlan, EpochSummary, Error, ErrorKind, Invocation, ParameterStore,
    PullOutcome, PushOutcome, Replica, RequestCosts, Requests, Result, Seed, Snapshot, Status,
    Stream, Update, WorkerReport, Workload,
};
use tokio::sync::Notify;
use walk::Walks;

use super::update::{self, Weight};

/// The smallest block of a model with several blocks. Such a block, its optimizer state and its
/// gradient together fit into a core's cache.
const MIN_BLOCK: usize = 16_384;

/// The largest block. If another core used a block last, it costs a few cache misses, whatever its
/// size. This matters when parameters are read from main memory, so large models get large blocks.
const MAX_BLOCK: usize = 65_536;

// Positions within a block are stored in 16 bits.
const _: () = assert!(MAX_BLOCK <= 1 << 16);

/// A parameter store in this process's memory, updated in place. For workers in the same process:
/// threads, or simulated functions.
///
/// After warm-up, a push or pull allocates only the boxed future that every `async` trait method
/// needs.
///
/// ```
/// # use siren_core::{Result, Workload};
/// use siren_hsp::MemoryStore;
///
/// # fn example(workload: &dyn Workload) -> Result<()> {
/// // Initial parameters, drawn from a seed. The backend and the trainer share this store.
/// let store = MemoryStore::initialised(workload, 7)?;
/// # Ok(())
/// # }
/// // Parameters of an earlier run, such as `TrainingResult::values`.
/// let pretrained = MemoryStore::new(vec![0.25, -1.0])?;
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct MemoryStore {
    dim: usize,
    /// The number of entries in a block; the last block may be shorter.
    block: usize,
    blocks: Vec<Mutex<Block>>,
    walks: Walks,
    run: RwLock<Run>,
    /// The number of updates applied to every block.
    version: AtomicU64,
    /// Wakes pulls that wait for progress.
    progress: Notify,
    noise: Noise,
    /// Buffers of earlier rounds' updates, for reuse.
    spare: Mutex<Vec<Kept>>,
}

impl MemoryStore {
    /// A store with these parameters, before the first epoch.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when `values` is empty, and [`ErrorKind::Diverged`] when a
    /// value is not finite.
    pub fn new(values: Vec<f32>) -> Result<Self> {
        let block = (values.len() / 128).next_power_of_two().clamp(MIN_BLOCK, MAX_BLOCK);
        Self::in_blocks(values, block)
    }

    /// A store whose blocks have `block` entries, at most [`MAX_BLOCK`].
    fn in_blocks(values: Vec<f32>, block: usize) -> Result<Self> {
        let snapshot = Snapshot::initial(values);
        snapshot.check()?;
        let dim = snapshot.values.len();
        let empty = |index: usize| Mutex::new(Block::new(block.min(dim - index * block)));
        let store = Self {
            dim,
            block,
            blocks: (0..dim.div_ceil(block)).map(empty).collect(),
            walks: Walks::new(dim.div_ceil(block)),
            run: RwLock::new(Run { sealed_epochs: 0, last: None, open: None }),
            version: AtomicU64::new(0),
            progress: Notify::new(),
            noise: Noise::new(dim),
            spare: Mutex::default(),
        };
        store.put(&snapshot);
        Ok(store)
    }

    /// A store with a workload's initial parameters, drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Workload::init`] and of [`new`](Self::new).
    pub fn initialised(workload: &dyn Workload, seed: u64) -> Result<Self> {
        Self::new(workload.init(Seed::new(seed).split(Stream::Init, &[]))?)
    }

    /// The range of block `index` in the flat vector.
    fn range(&self, index: usize) -> Range<usize> {
        index * self.block..((index + 1) * self.block).min(self.dim)
    }

    fn put(&self, snapshot: &Snapshot) {
        for (index, block) in self.blocks.iter().enumerate() {
            let range = self.range(index);
            let optimizer_state =
                snapshot.optimizer_state.iter().map(|slot| slot[range.clone()].into()).collect();
            block.lock().put(&snapshot.values[range], optimizer_state);
        }
        self.version.store(snapshot.version, Ordering::Release);
        self.noise.restore(&snapshot.noise);
    }

    fn copy_changed(&self, replica: &mut Replica) -> PullOutcome {
        let version = self.version.load(Ordering::Acquire);
        replica.values.resize(self.dim, 0.0);
        replica.versions.resize(self.blocks.len(), 0);
        let mut copied = 0;
        for index in self.walks.walk() {
            let range = self.range(index);
            let len = range.len();
            let (values, have) = (&mut replica.values[range], &mut replica.versions[index]);
            if self.blocks[index].lock().copy(values, have) {
                copied += len;
            }
        }
        PullOutcome { version, copied, waited: Duration::ZERO }
    }
}

#[async_trait]
impl ParameterStore for MemoryStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn request_costs(&self) -> RequestCosts {
        RequestCosts::NONE
    }

    fn aggregation(&self, _: &EpochPlan) -> Aggregation {
        Aggregation::NONE
    }

    async fn aggregate(&self, invocation: &Invocation, _: &dyn Context) -> Result<WorkerReport> {
        Err(Aggregation::unavailable(invocation))
    }

    fn requests(&self) -> Option<Requests> {
        None
    }

    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        plan.check()?;
        let mut run = self.run.write();
        if plan.epoch < run.sealed_epochs {
            return Err(fenced(plan.epoch));
        }
        if let Some(open) = &run.open {
            return if open.plan == *plan {
                Ok(())
            } else {
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("epoch {} is open with another plan", open.plan.epoch),
                ))
            };
        }
        if plan.epoch != run.sealed_epochs {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "epoch {} cannot be opened: the next one is {}",
                    plan.epoch, run.sealed_epochs
                ),
            ));
        }
        // Frees the buffers that no round of this epoch can need.
        let bulk = plan.sync_mode.merges_rounds();
        self.spare.lock().truncate(if bulk { plan.shards as usize } else { 0 });
        let version = self.version.load(Ordering::Acquire);
        for block in &self.blocks {
            block.lock().prepare(plan.optimizer.state_vectors(), version);
        }
        self.noise.begin_epoch(plan);
        run.open = Some(Open {
            plan: plan.clone(),
            shards: (0..plan.shards).map(|_| Mutex::default()).collect(),
            rounds: Rounds::new(plan),
        });
        Ok(())
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        loop {
            let changed = self.progress.notified();
            tokio::pin!(changed);
            // Registered before the check, so that no change is missed.
            changed.as_mut().enable();
            if self.run.read().current(epoch)?.rounds.floor() >= progress {
                return Ok(self.copy_changed(replica));
            }
            changed.await;
        }
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        let ended = {
            let run = self.run.read();
            let open = run.current(update.id.epoch)?;
            let plan = &open.plan;
            let scale = update::check(plan, self.dim, update)?;
            let shard = &mut *open.shards[update.id.shard as usize].lock();
            if update.id.position < shard.watermark.batches {
                return Ok(PushOutcome::Duplicate);
            }
            if update.id.position > shard.watermark.batches {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "an update of shard {} at batch {}, but only {} batches are counted",
                        update.id.shard, update.id.position, shard.watermark.batches
                    ),
                ));
            }
            let round = plan.updates(update.id.position);
            let before;
            let mut weight = Weight::FULL;
            let mut kept = None;
            if plan.sync_mode.merges_rounds() {
                let floor = open.rounds.floor();
                if round != floor {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!(
                            "shard {} pushes in round {round} while round {floor} is open: pull \
                             before each push",
                            update.id.shard
                        ),
                    ));
                }
                before = self.version.load(Ordering::Acquire);
                let mut keep = self.spare.lock().pop().unwrap_or_default();
                keep.fill(update, scale);
                kept = Some(keep);
            } else {
                weight = self.noise.weight(plan, self.version.load(Ordering::Acquire), update);
                self.apply(plan, &update::step(plan, scale, weight.step), update.gradient);
                before = self.version.fetch_add(1, Ordering::AcqRel);
            }
            shard.count(update, before, weight);
            open.rounds.arrive(plan, update.id.shard, round + 1, kept, |kept| {
                if !kept.is_empty() {
                    self.apply_round(plan, kept);
                }
            })
        };
        if ended {
            self.progress.notify_waiters();
        }
        Ok(PushOutcome::Accepted)
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        let sealed = {
            let mut run = self.run.write();
            if let Some(last) = &run.last
                && last.epoch == epoch
            {
                return Ok(last.clone());
            }
            let open = match run.open.take() {
                Some(open) if open.plan.epoch == epoch => open,
                other => {
                    run.open = other;
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("epoch {epoch} is neither open nor the last one sealed"),
                    ));
                }
            };
            // Updates that arrived in time count, even if the round lacks those of other shards.
            let mut kept = open.rounds.into_kept();
            if !kept.is_empty() {
                self.apply_round(&open.plan, &mut kept);
            }
            let shards: Vec<Shard> = open.shards.into_iter().map(Mutex::into_inner).collect();
            let version = self.version.load(Ordering::Acquire);
            let sealed = Open::summarise(&open.plan, &shards, version, self.noise.sums());
            run.sealed_epochs = epoch + 1;
            run.last = Some(sealed.clone());
            sealed
        };
        self.progress.notify_waiters();
        Ok(sealed)
    }

    async fn status(&self) -> Result<Status> {
        let run = self.run.read();
        Ok(Status {
            sealed_epochs: run.sealed_epochs,
            version: self.version.load(Ordering::Acquire),
            open: run
                .open
                .as_ref()
                .map(|open| open.shards.iter().map(|s| s.lock().watermark).collect()),
        })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        // The lock is held to the end, so that no epoch is opened meanwhile.
        let run = self.run.read();
        if let Some(open) = &run.open {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("epoch {} is open: seal it before a snapshot", open.plan.epoch),
            ));
        }
        let mut snapshot = Snapshot {
            sealed_epochs: run.sealed_epochs,
            version: self.version.load(Ordering::Acquire),
            values: Vec::with_capacity(self.dim),
            optimizer_state: Vec::new(),
            noise: self.noise.averages(),
        };
        for block in &self.blocks {
            let block = &mut *block.lock();
            let (values, optimizer_state) = block.state();
            snapshot.values.extend_from_slice(values);
            snapshot.optimizer_state.resize_with(optimizer_state.len(), Vec::new);
            for (slot, into) in optimizer_state.iter().zip(&mut snapshot.optimizer_state) {
                into.extend_from_slice(slot);
            }
        }
        Ok(snapshot)
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
        {
            let mut run = self.run.write();
            *run = Run { sealed_epochs: snapshot.sealed_epochs, last: None, open: None };
            self.put(snapshot);
        }
        self.progress.notify_waiters();
        Ok(())
    }
}
