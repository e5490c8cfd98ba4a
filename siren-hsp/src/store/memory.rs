//! The store in memory: parameters cut into blocks, each behind its own short lock.
//!
//! Locks are taken in one order: the epoch's (shared by pushes and pulls, alone for open, seal,
//! snapshot and restore), then a shard's, then one block's at a time. Pushes of different shards meet
//! only in a block, and start at different ones. A push never waits for anything but these locks and
//! has no point at which it could be cancelled halfway.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use siren_core::{
    EpochPlan, Error, ErrorKind, ParameterStore, Pulled, Receipt, Replica, Result, Sealed, Seed,
    Snapshot, Staleness, Status, Stream, Update, Watermark, Workload,
};
use tokio::sync::Notify;

use super::update;
use crate::kernel::Step;

/// Entries in a block: 64 KB, so that a block, its slots and the gradient stay in a core's cache.
const BLOCK: usize = 16_384;

/// Parameters in this process's memory, updated in place. For workers that live in the same
/// process: threads, or simulated functions.
pub struct MemoryStore {
    dim: usize,
    /// Entries in a block; the last one may be short.
    block: usize,
    blocks: Vec<Mutex<Block>>,
    run: RwLock<Run>,
    /// Updates that every block holds.
    version: AtomicU64,
    /// Wakes pulls that wait for progress.
    progress: Notify,
}

struct Block {
    /// Grows with every change; what a replica compares.
    stamp: u64,
    /// Updates applied, those before a restore included.
    updates: u64,
    values: Box<[f32]>,
    slots: Vec<Box<[f32]>>,
}

/// Where the run is.
struct Run {
    sealed_epochs: u64,
    last: Option<Sealed>,
    open: Option<Open>,
}

struct Open {
    plan: EpochPlan,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Clone, Copy, Default)]
struct Shard {
    watermark: Watermark,
    staleness: u64,
    staleness_max: u64,
}

impl MemoryStore {
    /// A store that holds these parameters, before the first epoch.
    ///
    /// # Errors
    ///
    /// Rejected when there are none, diverged when one is not finite.
    pub fn new(values: Vec<f32>) -> Result<Self> {
        Self::in_blocks(values, BLOCK)
    }

    /// A store whose blocks have `block` entries.
    fn in_blocks(values: Vec<f32>, block: usize) -> Result<Self> {
        let snapshot = Snapshot::initial(values);
        snapshot.check()?;
        let dim = snapshot.values.len();
        let empty = |index: usize| {
            Mutex::new(Block {
                stamp: 0,
                updates: 0,
                values: vec![0.0; block.min(dim - index * block)].into(),
                slots: Vec::new(),
            })
        };
        let store = Self {
            dim,
            block,
            blocks: (0..dim.div_ceil(block)).map(empty).collect(),
            run: RwLock::new(Run { sealed_epochs: 0, last: None, open: None }),
            version: AtomicU64::new(0),
            progress: Notify::new(),
        };
        store.put(&snapshot);
        Ok(store)
    }

    /// A store that holds a workload's initial parameters, drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Whatever [`Workload::init`] answers; as [`new`](Self::new).
    pub fn initialised(workload: &dyn Workload, seed: u64) -> Result<Self> {
        Self::new(workload.init(Seed::new(seed).split(Stream::Init, &[]))?)
    }

    /// Where block `index` lies in the flat vector.
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        index * self.block..((index + 1) * self.block).min(self.dim)
    }

    fn put(&self, snapshot: &Snapshot) {
        for (index, block) in self.blocks.iter().enumerate() {
            let range = self.range(index);
            let block = &mut *block.lock();
            block.stamp += 1;
            block.updates = snapshot.version;
            block.values.copy_from_slice(&snapshot.values[range.clone()]);
            block.slots = snapshot.slots.iter().map(|slot| slot[range.clone()].into()).collect();
        }
        self.version.store(snapshot.version, Ordering::Release);
    }

    /// The open epoch, if it is `epoch`.
    fn current<'a>(&self, run: &'a Run, epoch: u64) -> Result<&'a Open> {
        if epoch < run.sealed_epochs {
            return Err(fenced(epoch));
        }
        match &run.open {
            Some(open) if open.plan.epoch == epoch => Ok(open),
            _ => Err(Error::new(ErrorKind::Conflict, format!("epoch {epoch} is not open"))),
        }
    }

    fn wait_is_over(&self, epoch: u64, progress: u64) -> Result<bool> {
        let run = self.run.read();
        let open = self.current(&run, epoch)?;
        Ok(progress == 0
            || (0..).zip(&open.shards).all(|(index, shard)| {
                let batches = shard.lock().watermark.batches;
                batches >= open.plan.shard_len(index) || open.plan.updates(batches) >= progress
            }))
    }

    fn copy_changed(&self, replica: &mut Replica) -> Pulled {
        let version = self.version.load(Ordering::Acquire);
        replica.values.resize(self.dim, 0.0);
        replica.versions.resize(self.blocks.len(), 0);
        let mut copied = 0;
        for (index, (block, have)) in self.blocks.iter().zip(&mut replica.versions).enumerate() {
            let block = block.lock();
            if block.stamp > *have {
                replica.values[self.range(index)].copy_from_slice(&block.values);
                *have = block.stamp;
                copied += block.values.len();
            }
        }
        Pulled { version, copied }
    }

    /// Walks all blocks once, from a place that differs from shard to shard.
    fn apply(&self, step: &Step, shard: u32, gradient: &[f32]) {
        let blocks = self.blocks.len();
        let first = (shard as usize).wrapping_mul(7) % blocks;
        for index in (first..blocks).chain(0..first) {
            let block = &mut *self.blocks[index].lock();
            block.stamp += 1;
            block.updates += 1;
            step.apply(
                block.updates,
                &mut block.values,
                &mut block.slots,
                &gradient[self.range(index)],
            );
        }
    }
}

fn fenced(epoch: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("epoch {epoch} is sealed"))
}

#[async_trait]
impl ParameterStore for MemoryStore {
    fn dim(&self) -> usize {
        self.dim
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
        for (index, block) in self.blocks.iter().enumerate() {
            let length = self.range(index).len();
            block.lock().slots.resize_with(plan.rule.slots(), || vec![0.0; length].into());
        }
        run.open = Some(Open {
            plan: plan.clone(),
            shards: (0..plan.shards).map(|_| Mutex::default()).collect(),
        });
        Ok(())
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<Pulled> {
        loop {
            let changed = self.progress.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed.
            changed.as_mut().enable();
            if self.wait_is_over(epoch, progress)? {
                return Ok(self.copy_changed(replica));
            }
            changed.await;
        }
    }

    async fn push(&self, update: &Update<'_>) -> Result<Receipt> {
        {
            let run = self.run.read();
            let open = self.current(&run, update.id.epoch)?;
            let step = update::step(&open.plan, self.dim, update)?;
            let shard = &mut *open.shards[update.id.shard as usize].lock();
            if update.id.position < shard.watermark.batches {
                return Ok(Receipt::Duplicate);
            }
            if update.id.position > shard.watermark.batches {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "an update of shard {} at batch {} while only {} are counted",
                        update.id.shard, update.id.position, shard.watermark.batches
                    ),
                ));
            }
            self.apply(&step, update.id.shard, update.gradient);
            let before = self.version.fetch_add(1, Ordering::AcqRel);
            let staleness = before.saturating_sub(update.version);
            shard.staleness += staleness;
            shard.staleness_max = shard.staleness_max.max(staleness);
            shard.watermark.batches += update.batches;
            shard.watermark.examples += update.examples;
            shard.watermark.loss += update.loss;
        }
        self.progress.notify_waiters();
        Ok(Receipt::Accepted)
    }

    async fn seal(&self, epoch: u64) -> Result<Sealed> {
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
            let shards: Vec<Shard> = open.shards.into_iter().map(Mutex::into_inner).collect();
            let updates: u64 =
                shards.iter().map(|shard| open.plan.updates(shard.watermark.batches)).sum();
            let stale: u64 = shards.iter().map(|shard| shard.staleness).sum();
            let sealed = Sealed {
                epoch,
                version: self.version.load(Ordering::Acquire),
                watermarks: shards.iter().map(|shard| shard.watermark).collect(),
                staleness: Staleness {
                    mean: stale as f64 / updates.max(1) as f64,
                    max: shards.iter().map(|s| s.staleness_max).max().unwrap_or(0),
                },
            };
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
        // Held to the end, so that no epoch is opened meanwhile.
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
            slots: Vec::new(),
        };
        for block in &self.blocks {
            let block = block.lock();
            snapshot.values.extend_from_slice(&block.values);
            snapshot.slots.resize_with(block.slots.len(), Vec::new);
            for (slot, into) in block.slots.iter().zip(&mut snapshot.slots) {
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

#[cfg(test)]
mod tests {
    use siren_core::conformance::{store, store_tests};

    use super::MemoryStore;

    store_tests!(
        in_small_blocks,
        store::Subject::new(
            |dim| async move { MemoryStore::in_blocks(vec![0.0; dim], 7).unwrap() }
        )
    );
    store_tests!(
        in_memory,
        store::Subject::new(|dim| async move { MemoryStore::new(vec![0.0; dim]).unwrap() })
    );
}
