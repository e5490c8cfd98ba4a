//! The flags of a training run.

mod program;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use siren_core::{Error, Noise, Result, SyncMode};
use siren_hsp::Checkpoint;

use crate::schedulers::{self, Kind, Turns};

pub use program::Program;
pub use values::Values;

/// The rule by which the store applies updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum OptimizerName {
    /// SGD with momentum; plain SGD if --momentum is 0
    Momentum,
    /// SGD with Nesterov's momentum; plain SGD if --momentum is 0
    Nesterov,
    /// AdaGrad with the usual constants
    Adagrad,
    /// Adam with the usual constants
    Adam,
    /// Adam with decoupled --weight-decay
    #[value(name = "adamw")]
    AdamW,
}

const TRAINING: &str = "Training";
const SCHEDULE: &str = "Schedule and budget";
const DATA: &str = "Data and output";
const SIMULATION: &str = "Simulation";

/// Flags that every training example takes. A flag that is not given has its value from the run
/// that is resumed, or else its default. [`Program`] adds the defaults to the help.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// Passes over the training data
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub epochs: Option<u64>,
    /// Examples in a mini-batch
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub batch_size: Option<u64>,
    /// Learning rate at the start; it falls along half a cosine to a tenth
    #[arg(long, alias = "lr", value_name = "RATE", help_heading = TRAINING)]
    #[arg(allow_negative_numbers = true)]
    pub learning_rate: Option<f32>,
    /// Optimizer that applies the updates
    #[arg(long, value_name = "OPTIMIZER", help_heading = TRAINING)]
    pub optimizer: Option<OptimizerName>,
    /// Momentum of the optimizers momentum and nesterov; the others ignore it
    #[arg(long, value_name = "M", help_heading = TRAINING, allow_negative_numbers = true)]
    pub momentum: Option<f32>,
    /// Longer gradients are scaled down to this Euclidean norm
    #[arg(long, value_name = "NORM", help_heading = TRAINING, allow_negative_numbers = true)]
    pub clip_norm: Option<f32>,
    /// Weight decay: this times the parameters is added to each gradient; with adamw, to each step
    #[arg(long, value_name = "DECAY", help_heading = TRAINING, allow_negative_numbers = true)]
    pub weight_decay: Option<f32>,
    /// Batches that a worker computes before each push
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub local_steps: Option<u64>,
    /// Synchronisation of the workers within an epoch: hybrid, bulk or stale=N
    ///
    /// hybrid:   workers do not wait
    /// bulk:     they wait for all others in every round (BSP)
    /// stale=N:  they wait for workers that are more than N rounds behind (SSP)
    #[arg(long, value_name = "MODE", help_heading = TRAINING, value_parser = sync_mode)]
    #[arg(verbatim_doc_comment)]
    pub sync_mode: Option<SyncMode>,
    /// Measurement of gradient noise: off, measure, rule or rule=N
    ///
    /// off:      nothing is measured
    /// measure:  the noise scale is measured and shown
    /// rule:     it also shortens the steps of many workers, so that one learning rate suits any
    ///           number of them; rule=N is for a learning rate that was chosen with N workers
    #[arg(long, value_name = "USE", help_heading = TRAINING, value_parser = noise)]
    #[arg(verbatim_doc_comment)]
    pub noise: Option<Noise>,
    /// Push only this share of a gradient's entries, the largest; later pushes carry the rest
    #[arg(long, value_name = "SHARE", help_heading = TRAINING, allow_negative_numbers = true)]
    pub top_k: Option<f64>,
    /// Stop when the test loss is at most this
    #[arg(long, value_name = "LOSS", help_heading = TRAINING, allow_negative_numbers = true)]
    pub target_loss: Option<f64>,
    /// Seed of all randomness
    #[arg(long, value_name = "SEED", help_heading = TRAINING)]
    pub seed: Option<u64>,

    /// Workers that train at the same time, or the most that a planner or an agent chooses
    #[arg(long, value_name = "N", help_heading = SCHEDULE)]
    pub workers: Option<u32>,
    /// Memory of each worker in MB, which sets its price and its share of vCPUs
    #[arg(long, value_name = "MB", help_heading = SCHEDULE)]
    pub memory_mb: Option<u32>,
    /// Scheduler that chooses workers and memory: fixed, schedule, planner or agent:FILE
    ///
    /// fixed:       the same in every epoch
    /// schedule:    as --schedule says
    /// planner:     as fast as possible to --target-loss, or through all epochs, within --budget
    /// agent:FILE:  by the trained policy in this file; needs --budget
    ///
    /// A planner or an agent chooses up to --workers workers. On functions it also chooses the
    /// memory, unless --memory-mb is given.
    #[arg(long, value_name = "KIND", help_heading = SCHEDULE, value_parser = schedulers::kind)]
    #[arg(verbatim_doc_comment)]
    pub scheduler: Option<Kind>,
    /// Workers of the first epoch, of those between, and of the last; implies --scheduler schedule
    #[arg(long, value_name = "FIRST,BETWEEN,LAST", help_heading = SCHEDULE)]
    #[arg(value_parser = schedulers::turns)]
    pub schedule: Option<Turns>,
    /// Threads that the workers share
    #[arg(long, value_name = "N", help_heading = SCHEDULE)]
    pub threads: Option<usize>,
    /// The most US dollars to spend
    #[arg(long, value_name = "USD", help_heading = SCHEDULE, allow_negative_numbers = true)]
    pub budget: Option<f64>,
    /// Stop after this time, such as 90s or 5m
    #[arg(long, value_name = "TIME", help_heading = SCHEDULE)]
    #[arg(value_parser = humantime::parse_duration)]
    pub time_limit: Option<Duration>,
    /// Print what the run would cost and take on AWS Lambda, and do not train
    #[arg(long, help_heading = SCHEDULE)]
    #[serde(skip)]
    pub preview: bool,

    /// File or folder with the data
    #[arg(long, value_name = "PATH", help_heading = DATA)]
    pub data: Option<PathBuf>,
    /// Train on the first N examples only
    #[arg(long, value_name = "N", help_heading = DATA)]
    pub train_size: Option<u64>,
    /// Folder for run.json, history.jsonl, checkpoint, model.safetensors and report.html
    #[arg(long, value_name = "DIR", help_heading = DATA)]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder; flags that are given replace those of the run
    #[arg(long, value_name = "DIR", help_heading = DATA, conflicts_with = "out")]
    #[serde(skip)]
    pub resume: Option<PathBuf>,
    /// Print only the summary
    #[arg(long, help_heading = DATA)]
    #[serde(skip)]
    pub quiet: bool,

    /// Run on simulated AWS Lambda and S3, in virtual time, instead of this machine
    #[arg(long, help_heading = SIMULATION)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulate: bool,
    /// Simulate the platform and the speed in this TOML file; implies --simulate
    #[arg(long, value_name = "FILE", help_heading = SIMULATION)]
    pub simulation: Option<PathBuf>,
}

/// Reads a synchronisation mode: hybrid, bulk or stale=N.
///
/// # Errors
///
/// The values that it may have.
pub fn sync_mode(text: &str) -> Result<SyncMode, String> {
    match text.split_once('=') {
        None if text == "hybrid" => Ok(SyncMode::Hybrid),
        None if text == "bulk" => Ok(SyncMode::Bulk),
        Some(("stale", bound)) => match bound.parse() {
            Ok(bound) => Ok(SyncMode::Stale { bound }),
            Err(_) => Err(format!("{bound:?} is not a number of rounds: give 0 or more")),
        },
        _ => Err("give hybrid, bulk or stale=N".into()),
    }
}

/// Reads the use of gradient noise: off, measure, rule or rule=N.
///
/// # Errors
///
/// The values that it may have.
pub fn noise(text: &str) -> Result<Noise, String> {
    match text.split_once('=') {
        None if text == "off" => Ok(Noise::Off),
        None if text == "measure" => Ok(Noise::Measure),
        None if text == "rule" => Ok(Noise::RULE),
        Some(("rule", workers)) => match workers.parse() {
            Ok(tuned_for) => Ok(Noise::Rule { tuned_for }),
            Err(_) => Err(format!("{workers:?} is not a number of workers: give 1 or more")),
        },
        _ => Err("give off, measure, rule or rule=N".into()),
    }
}

/// The label of a run's config that holds its flags.
const LABEL: &str = "flags";

impl Flags {
    /// Fills in the flags of the run that is resumed, which are in its checkpoint.
    ///
    /// # Errors
    ///
    /// When the checkpoint cannot be read, or was not made by a program with these flags.
    fn resumed(self) -> Result<Self> {
        let Some(folder) = self.resume.clone() else {
            return Ok(self);
        };
        let checkpoint = Checkpoint::load(&folder)?;
        let saved = checkpoint.config().labels.get(LABEL);
        let saved: Self =
            saved.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
                Error::rejected(format!(
                    "the checkpoint in {} was made by another program: resume it with that program",
                    folder.display()
                ))
            })?;
        Ok(Self { out: Some(folder), ..self.or(saved) })
    }

    /// Takes the values that are not given from `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            workers: self.workers.or(others.workers),
            memory_mb: self.memory_mb.or(others.memory_mb),
            // A scheduler that is given replaces a schedule that is not, and the other way round.
            schedule: match self.scheduler {
                None | Some(Kind::Schedule) => self.schedule.or(others.schedule),
                Some(_) => self.schedule,
            },
            scheduler: match self.schedule {
                None => self.scheduler.or(others.scheduler),
                Some(_) => self.scheduler.or(Some(Kind::Schedule)),
            },
            epochs: self.epochs.or(others.epochs),
            batch_size: self.batch_size.or(others.batch_size),
            learning_rate: self.learning_rate.or(others.learning_rate),
            optimizer: self.optimizer.or(others.optimizer),
            momentum: self.momentum.or(others.momentum),
            clip_norm: self.clip_norm.or(others.clip_norm),
            weight_decay: self.weight_decay.or(others.weight_decay),
            local_steps: self.local_steps.or(others.local_steps),
            sync_mode: self.sync_mode.or(others.sync_mode),
            noise: self.noise.or(others.noise),
            top_k: self.top_k.or(others.top_k),
            target_loss: self.target_loss.or(others.target_loss),
            budget: self.budget.or(others.budget),
            time_limit: self.time_limit.or(others.time_limit),
            seed: self.seed.or(others.seed),
            threads: self.threads.or(others.threads),
            data: self.data.or(others.data),
            train_size: self.train_size.or(others.train_size),
            out: self.out.or(others.out),
            simulate: self.simulate || others.simulate,
            simulation: self.simulation.or(others.simulation),
            resume: self.resume,
            preview: self.preview,
            quiet: self.quiet,
        }
    }

    /// `true` if the run is simulated.
    pub fn simulated(&self) -> bool {
        self.simulate || self.simulation.is_some()
    }

    /// The folder that receives the files of the run.
    pub fn folder(&self, run: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("target/siren").join(run))
    }
}
