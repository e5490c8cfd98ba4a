//! The trainer's loop.

mod create;
mod data;
mod driver;
mod epoch;
mod event;
mod finish;
mod forecast;
mod measure;
mod memory;
mod parts;
mod prepare_ahead;

use std::time::Duration;

pub use event::{Event, Observer, StopHandle};
pub use parts::{TrainerParts, TrainingResult};
use siren_core::{
    Allocation, DriverUsage, Error, Evaluation, Job, Platform, Result, Scheduler, Seed, Snapshot,
    StopReason, Stream, Time, Usd,
};

use crate::forecast::Forecast;
use crate::history::History;
use crate::{Config, EpochRecord, HistoryEvent, Ledger};
pub use epoch::MAX_PROGRESS_POLLS;
use epoch::{EpochRun, SealedEpoch};
use forecast::LaunchPlan;

/// Trains by Hybrid Synchronous Parallel SGD. In every epoch the trainer allocates workers,
/// reserves money, opens the epoch, launches and collects the workers, seals, settles, evaluates,
/// informs the observer, and writes a checkpoint.
///
/// Workload, data, store and backend belong together: the backend's workers use the same three.
/// `siren_backend_local::LocalBackend` has an example with all of them.
///
/// ```
/// # use std::sync::Arc;
/// # use siren_core::{Backend, DataSource, ParameterStore, Result, Workload};
/// use siren_hsp::{Config, FixedScheduler, Trainer, TrainerParts};
///
/// # async fn example(
/// #     workload: Arc<dyn Workload>,
/// #     train: Arc<dyn DataSource>,
/// #     store: Arc<dyn ParameterStore>,
/// #     backend: Arc<dyn Backend>,
/// # ) -> Result<()> {
/// let parts = TrainerParts {
///     workload,
///     train,
///     held_out: None,
///     store,
///     backend,
///     scheduler: Box::new(FixedScheduler::new(8, 1_792)),
/// };
/// let config = Config { out: Some("runs/first".into()), ..Config::default() };
/// let trained = Trainer::new(parts, config)?.run().await?;
/// println!("{}: loss {}", trained.outcome.reason, trained.outcome.evaluation.loss);
/// # Ok(())
/// # }
/// ```
pub struct Trainer {
    parts: TrainerParts,
    config: Config,
    job: Job,
    platform: Platform,
    ledger: Ledger,
    history: History,
    observer: Option<Box<dyn Observer>>,
    stop: StopHandle,
    forecast: Forecast,
    initial: Option<Evaluation>,
    epochs: Vec<EpochRecord>,
    /// The smallest memory that has not failed: functions with less memory ran out of it.
    least_memory_mb: u32,
    /// The backend's usage counts when the driver's part was last settled.
    settled: DriverUsage,
    /// The state to start from, when the run is resumed.
    resumed: Option<Snapshot>,
    /// The fingerprint of the data that a resumed run was trained on before, if it is known.
    data_before: Option<u64>,
    /// The duration of earlier parts of a resumed run.
    elapsed_before: Duration,
    started: Time,
}

impl Trainer {
    /// Calls `observer` for each event.
    #[must_use]
    pub fn with_observer(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    /// A handle that requests the run to stop. The run settles its costs and keeps the last
    /// checkpoint.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Trains until a stop rule holds.
    ///
    /// # Errors
    ///
    /// Returns permanent errors of the parts: a worker that fails every time, a scheduler that
    /// requests an allocation that the platform does not have, a full disk. The last checkpoint
    /// stays. Divergence, a budget that is too small and a request to stop are outcomes, not
    /// errors.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the run at the last checkpoint; its money stays reserved.
    pub async fn run(mut self) -> Result<TrainingResult> {
        self.started = self.now();
        self.check_driver_budget()?;
        self.identify_data().await?;
        let mut snapshot = self.align_store().await?;
        let initial = match self.initial.take() {
            Some(initial) => initial,
            None => self.measure(&snapshot.values, None).await?,
        };
        self.initial = Some(initial.clone());
        if self.forecast.is_empty() {
            self.forecast = self.probe(&snapshot.values).await;
        }
        let mut loss = self.epochs.last().map_or(initial.loss, |last| last.evaluation.loss);
        let mut end = self.reason_to_stop(snapshot.sealed_epochs, loss);
        while end.is_none() {
            let launch_plan = match self.prepare(snapshot.sealed_epochs, loss)? {
                Ok(launch_plan) => launch_plan,
                Err(short) => {
                    end = Some(short);
                    break;
                }
            };
            if !self.history.has_begun() {
                self.begin(&snapshot, &initial)?;
            }
            end = self.run_epoch(launch_plan, &mut snapshot, &mut loss).await?;
        }
        self.finish(snapshot, end.unwrap_or((StopReason::Epochs, None)))
    }

    /// Plans the next epoch, or returns the reason why the money left does not pay for it.
    fn prepare(&mut self, epoch: u64, loss: f64) -> Result<Result<LaunchPlan, End>> {
        let observation = self.observe(epoch, loss);
        let asked = self.parts.scheduler.allocate(&self.job, &observation)?;
        self.check(epoch, asked)?;
        let memory_mb = asked.memory_mb.max(self.least_memory_mb);
        let asked = Allocation { memory_mb, ..asked };
        Ok(self.plan_launch(asked, epoch).map_err(|why| (StopReason::Budget, Some(why))))
    }

    /// Checks that this trainer can run an epoch with the allocation of the scheduler.
    fn check(&self, epoch: u64, asked: Allocation) -> Result<()> {
        asked.check(&self.platform)?;
        if let Some(examples) = asked.global_batch {
            return Err(Error::rejected(format!(
                "the scheduler asks for a global batch of {examples} examples, which this trainer \
                 does not support: return None"
            )));
        }
        self.plan(epoch, Allocation { workers: 1, ..asked }).check()
    }

    /// Starts the files of a run. This happens only when an epoch is certain to be launched, so
    /// that a run that cannot start keeps the files of an earlier one.
    fn begin(&mut self, snapshot: &Snapshot, initial: &Evaluation) -> Result<()> {
        // In this order: a crash in between leaves a checkpoint that can be resumed.
        self.save(snapshot)?;
        self.history.begin(&HistoryEvent::started(snapshot.sealed_epochs))?;
        let job = self.job.clone();
        self.notify(&Event::Started { job: &job, initial, epoch: snapshot.sealed_epochs });
        Ok(())
    }

    /// Runs one epoch, from barrier to barrier. Returns a reason if it was the last.
    async fn run_epoch(
        &mut self,
        launch_plan: LaunchPlan,
        snapshot: &mut Snapshot,
        loss: &mut f64,
    ) -> Result<Option<End>> {
        let epoch = snapshot.sealed_epochs;
        let asked = launch_plan.asked;
        let ended = match EpochRun::new(self, launch_plan).await {
            Ok(run) => run.run().await,
            Err(error) => Err(error),
        };
        let SealedEpoch { mut record, forecast, end } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // Errors of the restore are ignored: the first error matters.
                let _ = self.restore(snapshot).await;
                return Err(error);
            }
        };
        if let Some((StopReason::Interrupted | StopReason::Diverged, _)) = end {
            // The unfinished epoch does not count: the store returns to the last checkpoint.
            self.restore(snapshot).await?;
            return Ok(end);
        }
        let sealed = self.snapshot().await?;
        if let Err(error) = sealed.check() {
            self.restore(snapshot).await?;
            return Ok(Some((StopReason::Diverged, Some(error.chain()))));
        }
        self.notify(&Event::Evaluating { epoch });
        let before = self.now();
        let training = Some(record.train_loss);
        let measured = self.measure(&sealed.values, training).await?;
        let measured_loss = measured.loss;
        if !measured_loss.is_finite() && record.batches > 0 {
            let why = format!("the loss after epoch {epoch} is {measured_loss}");
            self.restore(snapshot).await?;
            return Ok(Some((StopReason::Diverged, Some(why))));
        }
        record.evaluate_s = (self.now() - before).as_secs_f64();
        record.workers_asked = asked;
        record.evaluation = measured;
        record.budget_left_usd = self.ledger.left().map(Usd::dollars);
        *snapshot = sealed;
        self.forecast = forecast;
        if record.batches > 0 {
            *loss = measured_loss;
            self.history.write(&HistoryEvent::Epoch(Box::new(record.clone())))?;
            self.epochs.push(record.clone());
            self.save(snapshot)?;
            self.notify(&Event::EpochFinished(&record));
        }
        Ok(match self.reason_to_stop(epoch + 1, *loss) {
            reached @ Some((StopReason::TargetLoss | StopReason::Diverged, _)) => reached,
            // The epoch ended because others waited for a shard that could not be paid for.
            Some((StopReason::Epochs, _)) if end.is_none() && !record.complete => {
                let why = "the money left does not pay for the rest of the last epoch".into();
                Some((StopReason::Budget, Some(why)))
            }
            // An epoch that was cut short gives the reason, also if it was the last one.
            other => end.or(other),
        })
    }

    /// Brings the store to the state of the run, and returns that state.
    async fn align_store(&mut self) -> Result<Snapshot> {
        if let Some(snapshot) = self.resumed.take() {
            let store = &self.parts.store;
            let status = self.retry(|| store.status()).await?;
            // If the store is ahead of the checkpoint, the store wins: no sealed epoch is repeated.
            if status.sealed_epochs <= snapshot.sealed_epochs {
                self.restore(&snapshot).await?;
            }
        }
        self.snapshot().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.retry(|| self.parts.store.snapshot()).await
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.retry(|| self.parts.store.restore(snapshot)).await
    }

    /// Calls the store, and retries transient errors.
    async fn retry<T, F: Future<Output = Result<T>>>(&self, call: impl FnMut() -> F) -> Result<T> {
        let seed = Seed::new(self.config.seed).split(Stream::Retry, &[]);
        self.config.retry.call(self.parts.backend.clock(), seed, call).await
    }

    /// The reason to stop before this epoch, if there is one.
    fn reason_to_stop(&self, epoch: u64, loss: f64) -> Option<End> {
        let stop = &self.config.stop;
        if !loss.is_finite() {
            let why = format!("the loss before epoch {epoch} is {loss}");
            return Some((StopReason::Diverged, Some(why)));
        }
        if stop.target_loss.is_some_and(|target| loss <= target) {
            return Some((StopReason::TargetLoss, None));
        }
        if epoch >= stop.epochs {
            return Some((StopReason::Epochs, None));
        }
        if stop.time_limit.is_some_and(|limit| self.elapsed() >= limit) {
            return Some((StopReason::TimeLimit, None));
        }
        self.stop.is_stopped().then_some((StopReason::Interrupted, None))
    }

    fn notify(&mut self, event: &Event<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.event(event);
        }
    }

    fn now(&self) -> Time {
        self.parts.backend.clock().now()
    }

    fn elapsed(&self) -> Duration {
        self.elapsed_before + (self.now() - self.started)
    }
}

/// The reason for the end of a run, and details.
type End = (StopReason, Option<String>);
