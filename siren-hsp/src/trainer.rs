//! The trainer's loop.

mod driver;
mod epoch;
mod event;
mod finish;
mod forecast;
mod measure;
mod memory;
mod prepare_ahead;

use std::sync::Arc;
use std::time::Duration;

pub use event::{Event, Observer, StopHandle};
use siren_core::{
    Allocation, Backend, DataSource, DriverUsage, Error, ErrorKind, Evaluation, Job, Outcome,
    ParameterStore, Platform, Result, Scheduler, Seed, Snapshot, StopReason, Stream, Time, Usd,
    Workload,
};

use crate::checkpoint::{Checkpoint, Header};
use crate::forecast::Forecast;
use crate::history::{self, History};
use crate::{Config, EpochRecord, HistoryEvent, Ledger, RunRecord, read_history};
pub use epoch::MAX_PROGRESS_POLLS;
use epoch::{EpochRun, SealedEpoch};
use forecast::LaunchPlan;

/// The parts of a run.
pub struct TrainerParts {
    /// The workload to train.
    pub workload: Arc<dyn Workload>,
    /// The training data; the backend's workers must read the same.
    pub train: Arc<dyn DataSource>,
    /// The data for the evaluation at every barrier; without it, the mean training loss is used.
    pub held_out: Option<Arc<dyn DataSource>>,
    /// The parameter store; the backend's workers must use the same. It contains the initial
    /// parameters.
    pub store: Arc<dyn ParameterStore>,
    /// The backend, which runs the workers.
    pub backend: Arc<dyn Backend>,
    /// The scheduler, which allocates workers and memory.
    pub scheduler: Box<dyn Scheduler>,
}

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
    layout: u64,
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
    /// The duration of earlier parts of a resumed run.
    elapsed_before: Duration,
    started: Time,
}

/// The result of a run.
#[derive(Debug)]
pub struct TrainingResult {
    /// The end of the run.
    pub outcome: Outcome,
    /// The whole run: the content of `run.json`.
    pub record: RunRecord,
    /// The parameters at the last barrier.
    pub values: Vec<f32>,
    /// `true` if this run, or the run that it resumes, launched an epoch. Otherwise `run.json` and
    /// the checkpoint were not written, and the files of an earlier run are unchanged. A new output
    /// folder then has only an empty `history.jsonl`.
    pub started: bool,
}

impl Trainer {
    /// Creates a new run. It replaces the files of an earlier run in the output folder.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when a setting is not valid, naming it and the remedy, and
    /// [`ErrorKind::Other`] when the output folder cannot be written.
    pub fn new(parts: TrainerParts, config: Config) -> Result<Self> {
        Self::build(parts, config, None)
    }

    /// Continues a run from a checkpoint, with its parameters, its position and its costs. Take
    /// `config` from [`Checkpoint::config`]; the stop rules and the output folder may differ.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new), and [`ErrorKind::Rejected`] when the checkpoint
    /// belongs to another model or optimizer.
    ///
    /// # Example
    ///
    /// ```
    /// # use siren_core::Result;
    /// # use siren_hsp::{TrainerParts, TrainingResult};
    /// use siren_hsp::{Checkpoint, Trainer};
    ///
    /// # async fn example(parts: TrainerParts) -> Result<TrainingResult> {
    /// let checkpoint = Checkpoint::load("runs/first")?;
    /// let mut config = checkpoint.config().clone();
    /// config.stop.epochs += 10;
    /// config.out = Some("runs/first".into()); // A checkpoint does not contain its folder.
    /// let trained = Trainer::resume(parts, config, checkpoint)?.run().await?;
    /// # Ok(trained)
    /// # }
    /// ```
    pub fn resume(parts: TrainerParts, config: Config, checkpoint: Checkpoint) -> Result<Self> {
        let layout = parts.workload.layout().hash();
        let Checkpoint { header, snapshot } = checkpoint;
        if header.layout != layout || snapshot.values.len() != parts.workload.dim() {
            return Err(Error::rejected(format!(
                "the checkpoint is of another model ({} parameters, layout {:016x}) than the \
                 workload ({} parameters, layout {layout:016x}): resume with the model it was made \
                 with",
                snapshot.values.len(),
                header.layout,
                parts.workload.dim(),
            )));
        }
        if !snapshot.optimizer_state.is_empty()
            && snapshot.optimizer_state.len() != config.optimizer.state_vectors()
        {
            return Err(Error::rejected(format!(
                "the checkpoint was made with the optimizer {:?}, which keeps {} vectors, but the \
                 run has {:?}: resume with the same optimizer",
                header.config.optimizer,
                snapshot.optimizer_state.len(),
                config.optimizer,
            )));
        }
        Self::build(parts, config, Some((header, snapshot)))
    }

    fn build(
        parts: TrainerParts,
        config: Config,
        resumed: Option<(Header, Snapshot)>,
    ) -> Result<Self> {
        let (examples, dim) = (parts.train.len(), parts.workload.dim());
        config.check(examples)?;
        if parts.store.dim() != dim {
            return Err(Error::rejected(format!(
                "the store holds {} parameters, the workload has {dim}: create the store for this \
                 workload",
                parts.store.dim()
            )));
        }
        if parts.held_out.as_ref().is_some_and(|data| data.is_empty()) {
            return Err(Error::rejected(
                "the held-out data is empty: give at least one example, or none at all",
            ));
        }
        let out = config.out.as_deref();
        let mut paid = Usd::ZERO;
        if let Some(folder) = out {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::new(
                    ErrorKind::Other,
                    format!("cannot make the folder {}: choose a writable one", folder.display()),
                )
                .with_source(error)
            })?;
            let log = folder.join("history.jsonl");
            if resumed.is_some() && log.exists() {
                paid = history::spent(&read_history(&log)?);
            }
        }
        let history = History::open(out, resumed.is_some())?;
        let platform = parts.backend.platform().clone();
        let job = Job {
            parameters: dim as u64,
            batches: config.plan(0, 0, examples, 1).batches(),
            target_loss: config.stop.target_loss,
            budget: config.stop.budget,
            epochs: config.stop.epochs,
            platform: platform.clone(),
        };
        let started = parts.backend.clock().now();
        let settled = parts.backend.driver_usage();
        let mut trainer = Self {
            layout: parts.workload.layout().hash(),
            ledger: Ledger::new(config.stop.budget, paid),
            parts,
            config,
            job,
            platform,
            history,
            observer: None,
            stop: StopHandle::default(),
            forecast: Forecast::default(),
            initial: None,
            epochs: Vec::new(),
            least_memory_mb: 0,
            settled,
            resumed: None,
            elapsed_before: Duration::ZERO,
            started,
        };
        if let Some((header, snapshot)) = resumed {
            // The history also contains costs that a crash left unsettled.
            trainer.ledger = Ledger::new(trainer.config.stop.budget, paid.max(header.cost));
            trainer.forecast = header.forecast;
            trainer.initial = Some(header.initial);
            trainer.epochs = header.epochs;
            trainer.elapsed_before =
                Duration::try_from_secs_f64(header.elapsed_s).unwrap_or_default();
            trainer.resumed = Some(snapshot);
        }
        Ok(trainer)
    }

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
        asked.check(&self.platform)?;
        let memory_mb = asked.memory_mb.max(self.least_memory_mb);
        let asked = Allocation { memory_mb, ..asked };
        Ok(self.plan_launch(asked, epoch).map_err(|why| (StopReason::Budget, Some(why))))
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
