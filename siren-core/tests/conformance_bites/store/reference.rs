//! A minimal store: one lock around everything.

mod noise;
mod state;

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Aggregation, Context, EpochPlan, EpochSummary, ErrorKind, Invocation, NoiseAverages, Optimizer,
    ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts, Requests, Result, Snapshot,
    Staleness, Status, Update, Watermark, WorkerReport,
};

use super::optimizer::{apply, clipped};
use super::{Fault, yield_now};
use noise::Measured;
use state::{Open, State, averages, error};

/// The number of entries of a block.
const BLOCK: usize = 32;

pub(crate) struct Reference {
    dim: usize,
    fault: Option<Fault>,
    state: Mutex<State>,
}

impl Reference {
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            dim,
            fault: None,
            state: Mutex::new(State {
                snapshot: Snapshot::initial(vec![0.0; dim]),
                open: None,
                last: None,
                stamp: 1,
                waiting: Vec::new(),
                orphans: Vec::new(),
                window: Vec::new(),
            }),
        }
    }

    pub(crate) fn with_fault(dim: usize, fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::new(dim) }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// `true` if every unfinished shard has pushed this number of updates.
    fn progressed(&self, open: &Open, progress: u64) -> bool {
        let mut shards = (0..).zip(&open.watermarks);
        self.has(Fault::PullIgnoresProgress)
            || shards.all(|(shard, watermark)| {
                let updates = match self.has(Fault::ProgressCountsBatches) {
                    true => watermark.batches,
                    false => open.plan.updates(watermark.batches),
                };
                let finished = watermark.batches == open.plan.shard_len(shard);
                updates >= progress || finished && !self.has(Fault::FinishedShardsHoldUp)
            })
    }

    /// `true` if an update must be applied, `false` if it is a duplicate.
    fn check(&self, open: &Open, update: &Update<'_>) -> Result<PushOutcome> {
        let (id, plan) = (update.id, &open.plan);
        let fits = id.shard < plan.shards
            && (update.gradient.dim() == self.dim || self.has(Fault::AnyLengthFits))
            && (id.position.is_multiple_of(plan.local_steps) || self.has(Fault::AnyPositionFits))
            && (update.batches == plan.update_len(id.shard, id.position)
                || self.has(Fault::AnyNumberOfBatchesFits))
            && update.batches > 0
            && ((1..=update.batches * plan.batch_size).contains(&update.examples)
                || self.has(Fault::AnyNumberOfExamplesFits));
        if !fits {
            return error(ErrorKind::Rejected);
        }
        let finite = update.loss.is_finite() && update.squared_norm.is_finite();
        if !finite && !self.has(Fault::NothingIsChecked) {
            return error(ErrorKind::Diverged);
        }
        let watermark = open.watermarks[id.shard as usize].batches;
        if id.position > watermark && !self.has(Fault::GapsAreAccepted) {
            return error(ErrorKind::Conflict);
        }
        if id.position < watermark && !self.has(Fault::DuplicatesCountTwice) {
            return Ok(PushOutcome::Duplicate);
        }
        let early = plan.sync_mode.merges_rounds() && plan.updates(watermark) > open.rounds();
        if early && !self.has(Fault::BulkTakesLaterRounds) {
            return error(ErrorKind::Conflict);
        }
        Ok(PushOutcome::Accepted)
    }
}

#[expect(clippy::disallowed_methods, reason = "gives other threads the time for a push")]
fn let_others_push() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[async_trait]
impl ParameterStore for Reference {
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
        if !self.has(Fault::OpenTakesAnyPlan) {
            plan.check()?;
        }
        let mut state = self.state.lock().unwrap();
        if plan.epoch < state.snapshot.sealed_epochs && !self.has(Fault::SealedEpochsOpenAgain) {
            return error(ErrorKind::Fenced);
        }
        if let Some(open) = &state.open
            && !self.has(Fault::OpenStartsAgain)
        {
            return match open.plan == *plan {
                true => Ok(()),
                false => error(ErrorKind::Conflict),
            };
        }
        if plan.epoch > state.snapshot.sealed_epochs {
            return error(ErrorKind::Conflict);
        }
        state.open = Some(Open {
            plan: plan.clone(),
            watermarks: vec![Watermark::default(); plan.shards as usize],
            staleness: Vec::new(),
            kept: std::mem::take(&mut state.orphans),
            noise: Measured::with_window(std::mem::take(&mut state.window)),
        });
        Ok(())
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let version = poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            let version = state.snapshot.version;
            match state.open(epoch) {
                Ok((open, _)) if self.progressed(open, progress) => Poll::Ready(Ok(version)),
                Ok(_) => {
                    state.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
                Err(_) if self.has(Fault::LatePullsAreServed) => Poll::Ready(Ok(version)),
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await?;
        replica.values.resize(self.dim, 0.0);
        replica.versions.resize(self.dim.div_ceil(BLOCK), 0);
        let mut copied = 0;
        let blocks = replica.values.chunks_mut(BLOCK).zip(&mut replica.versions);
        for (block, (values, have)) in blocks.enumerate() {
            let start = block * BLOCK;
            let state = self.state.lock().unwrap();
            let stamp = match self.has(Fault::ReplicasSurviveARestore) {
                true => state.snapshot.version + 1,
                false => state.stamp,
            };
            if *have == stamp && !self.has(Fault::PullCopiesEverything) {
                continue;
            }
            *have = stamp;
            copied += values.len();
            if self.has(Fault::PullKeepsAStaleBlock) && block == 1 && copied < self.dim {
                continue;
            }
            let (values, rest) = match self.has(Fault::PullTearsBlocks) {
                true => values.split_at_mut(values.len() / 2),
                false => (values, [].as_mut_slice()),
            };
            values.copy_from_slice(&state.snapshot.values[start..][..values.len()]);
            if !rest.is_empty() {
                drop(state);
                let_others_push();
                let state = self.state.lock().unwrap();
                let start = start + values.len();
                rest.copy_from_slice(&state.snapshot.values[start..][..rest.len()]);
            }
        }
        let version = match self.has(Fault::PullPromisesTooMuch) {
            true => self.state.lock().unwrap().snapshot.version + 1,
            false => version,
        };
        Ok(PullOutcome { version, copied, waited: Duration::ZERO })
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        {
            let mut state = self.state.lock().unwrap();
            let late = update.id.epoch < state.snapshot.sealed_epochs;
            if late && self.has(Fault::LatePushesApply) {
                state.snapshot.values[0] += 1.0;
                return Ok(PushOutcome::Accepted);
            }
            let (open, snapshot) = state.open(update.id.epoch)?;
            if self.check(open, update)? == PushOutcome::Duplicate {
                return Ok(PushOutcome::Duplicate);
            }
            open.staleness.push(match self.has(Fault::StalenessCountsItself) {
                true => snapshot.version + 1 - update.version,
                false => snapshot.version.saturating_sub(update.version),
            });
            let bulk = open.plan.sync_mode.merges_rounds();
            if bulk && !self.has(Fault::BulkAppliesAtOnce) {
                let none = NoiseAverages::default();
                open.noise.factor(&open.plan, none, 0, update, |_| false);
                let gradient = clipped(&open.plan, update, |fault| self.has(fault));
                open.kept.push((update.id.shard, update.examples, gradient));
            } else {
                let (plan, version) = (open.plan.clone(), snapshot.version);
                let before = *averages(snapshot);
                let has = |fault| self.has(fault);
                let factor = open.noise.factor(&plan, before, version, update, has);
                let rate = (f64::from(plan.learning_rate) * factor) as f32;
                let shortened = EpochPlan { learning_rate: rate, ..plan.clone() };
                apply(&shortened, snapshot, update, has);
                let mut gradient = clipped(&plan, update, has);
                if let Optimizer::Adagrad { initial, epsilon } = plan.optimizer {
                    let sums = snapshot.optimizer_state[0].iter();
                    gradient.iter_mut().zip(sums).for_each(|(g, sum)| {
                        *g /= (sum + initial).sqrt() + epsilon;
                    });
                }
                open.noise.add(averages(snapshot), &plan, gradient);
            }
            if !self.has(Fault::CountsAfterAWait) {
                state.count(update)?;
                state.end_round(false, |fault| self.has(fault));
                if !self.has(Fault::PushLeavesPullsWaiting) {
                    state.wake();
                }
                return Ok(PushOutcome::Accepted);
            }
        }
        yield_now().await;
        self.state.lock().unwrap().count(update)?;
        Ok(PushOutcome::Accepted)
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        let mut state = self.state.lock().unwrap();
        if let Some(last) = &state.last
            && last.epoch == epoch
            && !self.has(Fault::SealsOnlyOnce)
        {
            return Ok(last.clone());
        }
        if state.open(epoch).is_err() {
            return error(ErrorKind::Conflict);
        }
        if !self.has(Fault::SealDropsTheOpenRound) {
            state.end_round(true, |fault| self.has(fault));
        }
        let (open, snapshot) = state.open(epoch)?;
        if self.has(Fault::SealIsOffByOne) {
            open.watermarks[0].batches += 1;
        }
        snapshot.sealed_epochs += 1;
        let examples = open.watermarks.iter().map(|mark| mark.examples).sum();
        let (step_factor, progress, noise) = open.noise.summary(&open.plan, examples);
        let sealed = EpochSummary {
            epoch,
            version: snapshot.version,
            watermarks: std::mem::take(&mut open.watermarks),
            staleness: Staleness {
                mean: open.staleness.iter().sum::<u64>() as f64
                    / open.staleness.len().max(1) as f64,
                max: open.staleness.iter().copied().max().unwrap_or(0),
            },
            step_factor,
            progress,
            noise,
        };
        if self.has(Fault::WindowsSpanBarriers) {
            state.window = std::mem::take(&mut open.noise.window);
        }
        state.open = None;
        state.last = Some(sealed.clone());
        if !self.has(Fault::SealLeavesPullsWaiting) {
            state.wake();
        }
        Ok(sealed)
    }

    async fn status(&self) -> Result<Status> {
        let state = self.state.lock().unwrap();
        Ok(Status {
            sealed_epochs: state.snapshot.sealed_epochs,
            version: state.snapshot.version,
            open: state.open.as_ref().map(|open| open.watermarks.clone()),
        })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let state = self.state.lock().unwrap();
        if state.open.is_some() && !self.has(Fault::SnapshotsAnOpenEpoch) {
            return error(ErrorKind::Conflict);
        }
        Ok(state.snapshot.clone())
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        if snapshot.values.len() != self.dim {
            return error(ErrorKind::Rejected);
        }
        if !self.has(Fault::RestoreTakesAnything) {
            snapshot.check()?;
        }
        let mut state = self.state.lock().unwrap();
        state.snapshot.clone_from(snapshot);
        if self.has(Fault::RestoreForgetsSlots) {
            state.snapshot.optimizer_state.iter_mut().for_each(|s| s.fill(0.0));
        }
        if self.has(Fault::RestoreForgetsNoise) {
            state.snapshot.noise.clear();
        }
        if self.has(Fault::RestoreForgetsTheVersion) {
            state.snapshot.version = 0;
        }
        if !self.has(Fault::RestoreKeepsTheOpenEpoch) {
            let dropped = state.open.take();
            if self.has(Fault::RestoreKeepsTheRound) {
                state.orphans = dropped.map(|open| open.kept).unwrap_or_default();
            }
        }
        state.last = None;
        state.stamp += 1;
        state.wake();
        Ok(())
    }
}
