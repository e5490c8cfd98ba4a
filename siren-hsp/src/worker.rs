//! The worker's loop.

mod limits;
mod step;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::{
    Context, EpochPlan, Error, ErrorKind, Invocation, PullOutcome, PushOutcome, Replica, Requests,
    Result, Role, Seed, Time, Update, UpdateId, Work, Worker, WorkerReport, Workload, compute,
};
use step::{BatchStep, Buffers};

use crate::Retry;

/// A worker returns the rest of its shard when fewer than this many of its longest cycles fit into
/// the time left.
const MARGIN: f64 = 1.25;

/// Processes one shard of an epoch: pulls changed parameters, computes gradients while the next
/// batch is fetched, and pushes their sum, until the shard is done or the time is nearly up.
///
/// ```
/// # use std::sync::Arc;
/// use siren_core::{Worker, Workload};
/// use siren_hsp::{Retry, ShardWorker};
///
/// # fn example(workload: Arc<dyn Workload>) -> Arc<dyn Worker> {
/// // The worker of a backend, as in `LocalBackend::new(worker, store, data)`.
/// let retry = Retry { attempts: 5, ..Retry::default() };
/// let worker = Arc::new(ShardWorker::new(workload).with_retry(retry));
/// # worker
/// # }
/// ```
pub struct ShardWorker {
    workload: Arc<dyn Workload>,
    retry: Retry,
    order: Mutex<Option<Order>>,
}

/// The order of an epoch's batches, kept for the next shard of the same epoch.
struct Order {
    key: (Seed, u64, u64),
    batches: Arc<[u64]>,
}

impl ShardWorker {
    /// A worker for a workload.
    pub fn new(workload: Arc<dyn Workload>) -> Self {
        Self { workload, retry: Retry::default(), order: Mutex::new(None) }
    }

    /// Sets the delays for retries after transient errors.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// A shard's batches in the order of their positions.
    fn batches(&self, plan: &EpochPlan, shard: u32) -> Vec<u64> {
        let key = (plan.seed, plan.epoch, plan.batches());
        let order = {
            let kept = &mut *self.order.lock();
            match kept {
                Some(order) if order.key == key => Arc::clone(&order.batches),
                _ => {
                    let batches: Arc<[u64]> = plan.order().into();
                    *kept = Some(Order { key, batches: Arc::clone(&batches) });
                    batches
                }
            }
        };
        let positions = plan.shard(shard);
        order[positions.start as usize..positions.end as usize].to_vec()
    }
}

#[async_trait]
impl Worker for ShardWorker {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        if invocation.role == Role::Aggregator {
            return context.store().aggregate(invocation, context).await;
        }
        let plan = &invocation.plan;
        let layout = self.workload.layout().hash();
        if plan.layout != layout {
            return Err(Error::rejected(format!(
                "the epoch is of a model with layout {:016x}, the worker has {layout:016x}: use the \
                 same workload in both",
                plan.layout
            )));
        }
        if invocation.shard >= plan.shards {
            return Err(Error::rejected(format!(
                "shard {} of {}: shards are numbered from 0",
                invocation.shard, plan.shards
            )));
        }
        plan.compression.check_dim(self.workload.dim())?;
        Run {
            worker: self,
            invocation,
            context,
            batches: self.batches(plan, invocation.shard),
            prefetched: None,
            waited: Duration::ZERO,
            store_requests: context.store().request_costs().start,
            store_requests_before: context.store().requests(),
            report: WorkerReport {
                position: invocation.position,
                cycle: invocation.cycle.unwrap_or_default(),
                ..WorkerReport::default()
            },
        }
        .shard()
        .await
    }
}

/// A running invocation.
struct Run<'a> {
    worker: &'a ShardWorker,
    invocation: &'a Invocation,
    context: &'a dyn Context,
    /// The shard's batches in the order of their positions.
    batches: Vec<u64>,
    prefetched: Option<Vec<u8>>,
    /// The billed time that the last pull waited for others.
    waited: Duration,
    /// An upper bound of the store's requests.
    store_requests: Requests,
    /// The store's request count before the invocation, if it counts requests.
    store_requests_before: Option<Requests>,
    /// Until the end its requests are only those for data.
    report: WorkerReport,
}

impl Run<'_> {
    async fn shard(mut self) -> Result<WorkerReport> {
        let mut buffers = Buffers::default();
        let mut longest = Duration::ZERO;
        let mut first = None;
        while (self.report.position as usize) < self.batches.len() {
            if !self.can_continue() {
                break;
            }
            let before = self.context.time_left();
            let length =
                self.invocation.plan.update_len(self.invocation.shard, self.report.position);
            buffers = match self.round(buffers, length).await {
                Ok(Some(buffers)) => buffers,
                // The pull would wait so long that no time would be left.
                Ok(None) => break,
                // The epoch ended early: the work done so far counts, and the report is still
                // returned.
                Err(error) if error.kind() == ErrorKind::Fenced => break,
                Err(error) => return Err(error),
            };
            self.report.position += length;
            // Billed time, like the time left: both exclude waits for a free vCPU.
            let billed = before.saturating_sub(self.context.time_left());
            let cycle = billed.saturating_sub(self.waited);
            // The first cycle warms caches and connections: it counts only if there is no other.
            match first {
                None => first = Some(cycle),
                Some(_) => longest = longest.max(cycle),
            }
            self.report.cycle = if longest.is_zero() { cycle } else { longest };
        }
        self.report.finished = self.report.position as usize >= self.batches.len();
        self.report.usage = self.context.usage();
        self.report.requests = self.requests();
        Ok(self.report)
    }

    fn now(&self) -> Time {
        self.context.clock().now()
    }

    /// Pulls, computes the gradients of `length` batches, and pushes. Returns `None` if the pull
    /// would have to wait until the time is up.
    async fn round(&mut self, mut buffers: Buffers, length: u64) -> Result<Option<Buffers>> {
        let plan = &self.invocation.plan;
        let progress = plan.sync_mode.progress(plan.updates(self.report.position));
        let (started, left) = (self.now(), self.context.time_left());
        let pulled = self.pull(&mut buffers.replica, progress).await?;
        let elapsed = self.now() - started;
        let waited = pulled.map_or(elapsed, |pulled| pulled.waited);
        self.report.wait += waited;
        self.store_requests += self.wait_requests(waited, progress);
        let Some(pulled) = pulled else {
            self.report.waiting = true;
            return Ok(None);
        };
        self.report.update += elapsed.saturating_sub(pulled.waited);
        // Billed time may advance faster than the clock.
        let billed = left.saturating_sub(self.context.time_left());
        let share = pulled.waited.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        self.waited = billed.mul_f64(share.min(1.0));
        self.gradients(buffers, length, pulled).await.map(Some)
    }

    /// Computes the gradients of `length` batches at the pulled parameters, and pushes them.
    async fn gradients(
        &mut self,
        mut buffers: Buffers,
        length: u64,
        pulled: PullOutcome,
    ) -> Result<Buffers> {
        let plan = &self.invocation.plan;
        let position = self.report.position;
        let (mut loss, mut norm, mut examples) = (0.0, 0.0, 0);
        for index in 0..length {
            let batch = self.batches[(position + index) as usize];
            buffers.bytes = self.take_batch(batch).await?;
            let range = plan.batch(batch);
            let step = BatchStep {
                examples: (range.end - range.start) as usize,
                seed: plan.gradient_seed(batch),
                index,
                steps: length,
                rate: plan.learning_rate,
                clip_norm: plan.clip_norm,
                compression: plan.compression,
                flush: plan.leaves_nothing_out(plan.updates(position)),
            };
            let next = self.batches.get((position + index + 1) as usize).copied();
            let (mean, squared);
            (buffers, (mean, squared)) = self.step(buffers, step, next).await?;
            loss += mean * step.examples as f64;
            norm = squared;
            examples += step.examples as u64;
        }

        let started = self.now();
        let update = Update {
            id: UpdateId { epoch: plan.epoch, shard: self.invocation.shard, position },
            batches: length,
            examples,
            loss,
            version: pulled.version,
            squared_norm: norm,
            gradient: buffers.gradient()?,
        };
        self.push(&update).await?;
        self.report.update += self.now() - started;
        Ok(buffers)
    }

    /// The bytes of a batch, prefetched or fetched now.
    async fn take_batch(&mut self, batch: u64) -> Result<Vec<u8>> {
        if let Some(bytes) = self.prefetched.take() {
            return Ok(bytes);
        }
        let started = self.now();
        let (bytes, requests) = self.fetch(batch).await;
        self.report.fetch += self.now() - started;
        self.report.requests += requests;
        bytes
    }

    /// Fetches the bytes of a batch, and returns the number of requests with them.
    async fn fetch(&self, batch: u64) -> (Result<Vec<u8>>, Requests) {
        let range = self.invocation.plan.batch(batch);
        let (clock, seed) = (self.context.clock(), self.seed());
        let data = self.context.data();
        let mut requests = Requests::NONE;
        let fetch = || {
            requests += data.request_costs();
            let (allowed, range) = (self.check_request_cap(requests), range.clone());
            async move {
                allowed?;
                data.fetch(range).await
            }
        };
        let bytes = self.worker.retry.call(clock, seed, fetch).await;
        (bytes, requests)
    }

    /// Brings the replica up to date, and retries transient errors. Returns `None` when it
    /// would have to wait so long that no time would be left for the cycle.
    async fn pull(&mut self, replica: &mut Replica, progress: u64) -> Result<Option<PullOutcome>> {
        let store = self.context.store();
        let (clock, seed, retry) = (self.context.clock(), self.seed(), self.worker.retry);
        let mut tried = 1;
        loop {
            let costs = store.request_costs();
            self.store_requests += costs.pull;
            self.check_request_cap(Requests::NONE)?;
            let pull = store.pull(self.invocation.plan.epoch, replica, progress);
            let may_wait = progress > 0 || costs.wait_own != Requests::NONE;
            let pulled = match may_wait {
                false => pull.await,
                true => match self.in_time(pull).await {
                    Some(pulled) => pulled,
                    None => return Ok(None),
                },
            };
            match pulled {
                Err(error) if retry.should_retry(&error, tried) => {
                    retry.wait(clock, &mut tried, seed).await;
                }
                pulled => return pulled.map(Some),
            }
        }
    }

    /// The output of `wait`; `None` when too little time would be left for another cycle.
    async fn in_time<T>(&self, mut wait: impl Future<Output = T> + Unpin) -> Option<T> {
        let clock = self.context.clock();
        let reserve = (self.invocation.timeout / 16).max(Duration::from_millis(16));
        let moment = (reserve / 16).min(Duration::from_secs(1));
        loop {
            // The backend decides how fast the time left runs: slower than the clock, or up to 14
            // times as fast in a small function. So it is checked again, the earlier the less time
            // is left.
            let spare = self.context.time_left().saturating_sub(reserve);
            let next_check = clock.now() + (spare / 16).max(moment);
            tokio::select! {
                biased;
                done = &mut wait => return Some(done),
                () = clock.sleep_until(next_check) => {
                    if !self.has_time() || self.context.time_left() < reserve {
                        return None;
                    }
                }
            }
        }
    }

    /// Computes one batch while the next one is fetched.
    async fn step(
        &mut self,
        mut buffers: Buffers,
        step: BatchStep,
        next: Option<u64>,
    ) -> Result<(Buffers, (f64, f64))> {
        let workload = Arc::clone(&self.worker.workload);
        let work = Work::Gradient { examples: step.examples as u64 };
        let task = move || {
            let result = step.run(&*workload, &mut buffers);
            (buffers, result)
        };
        let started = self.now();
        let computed = async {
            let computed = compute(self.context, work, task).await;
            (computed, self.now())
        };
        let fetched = async {
            match next {
                Some(batch) => {
                    let (bytes, requests) = self.fetch(batch).await;
                    (bytes.map(Some), requests)
                }
                None => (Ok(None), Requests::NONE),
            }
        };
        let ((computed, computed_at), (fetched, requests)) = futures::join!(computed, fetched);
        self.report.fetch += self.now() - computed_at;
        let ((buffers, result), ran) = computed?;
        self.report.compute += ran;
        self.report.queue += (computed_at - started).saturating_sub(ran);
        self.report.requests += requests;
        self.prefetched = fetched?;
        Ok((buffers, result?))
    }

    /// Pushes until the store answers. Repeating a push after a lost answer is harmless.
    async fn push(&mut self, update: &Update<'_>) -> Result<()> {
        let store = self.context.store();
        let (clock, seed) = (self.context.clock(), self.seed());
        let mut requests = Requests::NONE;
        let push = || {
            requests += store.request_costs().push;
            let allowed = self.check_request_cap(requests);
            async move {
                allowed?;
                store.push(update).await
            }
        };
        let push_outcome = self.worker.retry.call(clock, seed, push).await;
        self.store_requests += requests;
        if push_outcome? == PushOutcome::Accepted {
            self.report.updates += 1;
        }
        Ok(())
    }

    /// The seed of this attempt's jitter.
    fn seed(&self) -> Seed {
        let Invocation { plan, shard, attempt, .. } = self.invocation;
        let path = [plan.epoch, u64::from(*shard), u64::from(*attempt)];
        plan.seed.split(siren_core::Stream::Retry, &path).child(self.report.position)
    }
}
