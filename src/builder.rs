//! The builders of trainers: one for each backend, all of one shape.

use std::fmt;
use std::sync::Arc;

use siren_core::{DataSource, Result, Scheduler, Workload};
use siren_hsp::{Checkpoint, Config, Observer, Trainer, TrainerParts};

/// Builds a [`Trainer`] for the backend `B`.
///
/// Three functions start one:
///
/// | function | feature | `build` returns |
/// | --- | --- | --- |
/// | `siren::local` | `local` | a [`Trainer`] |
/// | `siren::simulated` | `sim` | a `SimTrainer`, whose `run` blocks and advances virtual time |
/// | `siren::lambda::trainer` | `lambda` | a `LambdaTrainer`; `build` makes requests and is async |
///
/// `config`, `scheduler`, `observer` and `resume` are common to all. The other settings, such as
/// `threads` and `store`, depend on the backend.
///
/// ```
/// use std::sync::Arc;
/// use siren::{Config, data::MemorySource, prelude::*};
/// # struct Mean(Layout);
/// # impl Workload for Mean {
/// #     fn layout(&self) -> &Layout { &self.0 }
/// #     fn init(&self, _: Seed) -> Result<Vec<f32>> { Ok(vec![0.0]) }
/// #     fn gradient(&self, w: &[f32], b: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
/// #         let d: Vec<f32> = b.floats(1)?.iter().map(|x| w[0] - x).collect();
/// #         g[0] = d.iter().sum::<f32>() / d.len() as f32;
/// #         Ok(f64::from(d.iter().map(|d| d * d / 2.0).sum::<f32>()) / d.len() as f64)
/// #     }
/// #     fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> { Ok(()) }
/// # }
///
/// # fn main() -> Result<()> {
/// # let workload = Arc::new(Mean(Layout::flat("mean", 1)?));
/// let train = Arc::new(MemorySource::from_floats(&[1.0, 2.0, 3.0, 2.0], 1)?);
/// let config = Config { batch_size: 1, ..Config::default() };
/// let trainer = siren::local(workload, train, None)
///     .config(config)
///     .scheduler(FixedScheduler::new(2, 1_792))
///     .threads(1)
///     .build()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// let result = runtime.block_on(trainer.run())?;
/// assert!(result.outcome.epochs == 10);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct TrainerBuilder<B> {
    pub(crate) workload: Arc<dyn Workload>,
    pub(crate) train: Arc<dyn DataSource>,
    pub(crate) held_out: Option<Arc<dyn DataSource>>,
    config: Option<Config>,
    scheduler: Option<Box<dyn Scheduler>>,
    observer: Option<Box<dyn Observer>>,
    checkpoint: Option<Checkpoint>,
    /// The settings of the backend.
    pub(crate) backend: B,
}

impl<B> TrainerBuilder<B> {
    pub(crate) fn new(
        workload: Arc<dyn Workload>,
        train: Arc<dyn DataSource>,
        held_out: Option<Arc<dyn DataSource>>,
        backend: B,
    ) -> Self {
        Self {
            workload,
            train,
            held_out,
            config: None,
            scheduler: None,
            observer: None,
            checkpoint: None,
            backend,
        }
    }

    /// Sets the training settings. Default: [`Config::default`], or those of the checkpoint that is
    /// [resumed](Self::resume).
    pub fn config(self, config: Config) -> Self {
        Self { config: Some(config), ..self }
    }

    /// Sets the scheduler, which chooses the number of workers and their memory before each epoch.
    /// Default: a [`FixedScheduler`](crate::FixedScheduler) with the number of workers that the
    /// backend's builder documents, of 1,792 MB each.
    pub fn scheduler(self, scheduler: impl Scheduler + 'static) -> Self {
        Self { scheduler: Some(Box::new(scheduler)), ..self }
    }

    /// Sets an observer that receives the run's events. Default: none.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    /// Continues the run of a checkpoint, with its parameters, epochs and costs. Without
    /// [`config`](Self::config) the run keeps the checkpoint's settings. A config given here may
    /// change only the stop rules and the output folder.
    pub fn resume(self, checkpoint: Checkpoint) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }

    /// The settings of the run.
    pub(crate) fn effective_config(&self) -> Config {
        let resumed = || self.checkpoint.as_ref().map(|checkpoint| checkpoint.config().clone());
        self.config.clone().or_else(resumed).unwrap_or_default()
    }

    /// `true` if a checkpoint is resumed.
    #[cfg(feature = "lambda")]
    pub(crate) fn resumes(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Builds the trainer, after the backend exists. `train` is the data as the backend's workers
    /// read it.
    pub(crate) fn finish(self, parts: BackendParts) -> Result<Trainer> {
        let config = self.effective_config();
        let scheduler = self.scheduler.unwrap_or_else(|| {
            Box::new(crate::FixedScheduler::new(parts.workers, DEFAULT_MEMORY_MB))
        });
        let parts = TrainerParts {
            workload: self.workload,
            train: parts.train,
            held_out: self.held_out,
            store: parts.store,
            backend: parts.backend,
            scheduler,
        };
        let trainer = match self.checkpoint {
            Some(checkpoint) => Trainer::resume(parts, config, checkpoint)?,
            None => Trainer::new(parts, config)?,
        };
        Ok(match self.observer {
            Some(observer) => trainer.with_observer(observer),
            None => trainer,
        })
    }
}

/// Slightly more than one vCPU on AWS Lambda, and a size that the Lambda backend has.
const DEFAULT_MEMORY_MB: u32 = 1_792;

/// The parts that depend on the backend.
pub(crate) struct BackendParts {
    pub(crate) train: Arc<dyn DataSource>,
    pub(crate) store: Arc<dyn siren_core::ParameterStore>,
    pub(crate) backend: Arc<dyn siren_core::Backend>,
    /// Workers of the default scheduler.
    pub(crate) workers: u32,
}

impl<B: fmt::Debug> fmt::Debug for TrainerBuilder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainerBuilder")
            .field("config", &self.effective_config())
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
