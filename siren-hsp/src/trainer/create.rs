//! New trainers, and those that continue a run.

use std::time::Duration;

use siren_core::{Error, ErrorKind, Job, Result, Snapshot, Usd};

use super::{StopHandle, Trainer, TrainerParts};
use crate::checkpoint::{Checkpoint, Header};
use crate::forecast::Forecast;
use crate::history::{self, History};
use crate::{Config, Ledger, read_history};

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
    /// belongs to another model or optimizer. [`run`](Self::run) returns it when the run began with
    /// other training data.
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
        // The state of one optimizer means nothing to another, even if it has as many vectors: the
        // root of a negative velocity, taken as a sum of squares, is not a number.
        let (made, wanted) = (header.config.optimizer, config.optimizer);
        if !snapshot.optimizer_state.is_empty()
            && (made.name() != wanted.name()
                || snapshot.optimizer_state.len() != wanted.state_vectors())
        {
            return Err(Error::rejected(format!(
                "the checkpoint was made with the optimizer {made:?} and holds its {} vectors of \
                 state, but the run has {wanted:?}: resume with the same optimizer",
                snapshot.optimizer_state.len(),
            )));
        }
        let mut snapshot = snapshot;
        // The noise of other updates says nothing about that of these.
        let (made, wanted) = (&header.config, &config);
        if made.optimizer != wanted.optimizer
            || made.batch_size != wanted.batch_size
            || made.clip_norm != wanted.clip_norm
        {
            snapshot.noise.clear();
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
            layout: parts.workload.layout().hash(),
            // Otherwise computed when the run starts.
            data: config.data_fingerprint.unwrap_or_default(),
            optimizer: config.optimizer,
            batch_size: config.batch_size,
            local_steps: config.local_steps,
            batches: config.plan(0, 0, examples, 1).batches(),
            target_loss: config.stop.target_loss,
            budget: config.stop.budget,
            deadline: config.stop.time_limit,
            epochs: config.stop.epochs,
            platform: platform.clone(),
        };
        let started = parts.backend.clock().now();
        let settled = parts.backend.driver_usage();
        let mut trainer = Self {
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
            data_before: None,
            elapsed_before: Duration::ZERO,
            started,
        };
        if let Some((header, snapshot)) = resumed {
            // The history also contains costs that a crash left unsettled.
            trainer.ledger = Ledger::new(trainer.config.stop.budget, paid.max(header.cost));
            trainer.forecast = header.forecast;
            trainer.data_before = header.data;
            trainer.initial = Some(header.initial);
            trainer.epochs = header.epochs;
            trainer.elapsed_before =
                Duration::try_from_secs_f64(header.elapsed_s).unwrap_or_default();
            trainer.resumed = Some(snapshot);
        }
        Ok(trainer)
    }
}
