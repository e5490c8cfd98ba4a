//! The flags of a training run.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, ErrorKind, Result, UpdateRule, Usd};
use siren_hsp::{Config, Decay, Rate, Stop, file};

/// Flags that every training example takes. A flag that is not given has its value from the run that
/// is resumed, or else its default.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// Workers that train at the same time [default: 4]
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Memory of each worker in MB, which sets its price [default: 1769, one vCPU]
    #[arg(long, value_name = "MB")]
    pub memory_mb: Option<u32>,
    /// Passes over the training data [default: 3]
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Images in a mini-batch [default: 64]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u64>,
    /// The learning rate, which falls along half a cosine to a tenth in the last epoch
    /// [default: 0.04]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f32>,
    /// Momentum of the updates; 0 is plain SGD [default: 0.8]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub momentum: Option<f32>,
    /// Batches that a worker computes on its own before it pushes [default: 1]
    #[arg(long, value_name = "N")]
    pub local_steps: Option<u64>,
    /// Stop when the test loss is at most this
    #[arg(long, value_name = "LOSS", allow_negative_numbers = true)]
    pub target_loss: Option<f64>,
    /// Spend at most so many US dollars
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub budget: Option<f64>,
    /// Stop after this time, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time_limit: Option<Duration>,
    /// Where all randomness comes from [default: 1]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Threads that the workers share [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The folder with the data [default: the bundled files]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Train on the first N examples only, for a quick trial
    #[arg(long, value_name = "N")]
    pub train_size: Option<u64>,
    /// The folder for run.json, history.jsonl, checkpoint, model.safetensors and report.html
    /// [default: below target/siren]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Carry on with the run in this folder; flags that are given replace its own
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    #[serde(skip)]
    pub resume: Option<PathBuf>,
    /// Print the summary only
    #[arg(long)]
    #[serde(skip)]
    pub quiet: bool,
}

const SAVED: &str = "flags.json";

impl Flags {
    /// Fills in the flags of the run that is resumed, if one is.
    ///
    /// # Errors
    ///
    /// When that run left no flags, or they cannot be read.
    pub fn complete(self) -> Result<Self> {
        let Some(folder) = self.resume.clone() else {
            return Ok(self);
        };
        let path = folder.join(SAVED);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let message = format!(
                "cannot read {}: --resume takes the folder of a run that was interrupted",
                path.display()
            );
            Error::new(ErrorKind::Other, message).with_source(error)
        };
        let text = std::fs::read(&path).map_err(|error| failed(error.into()))?;
        let saved: Self = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        Ok(Self {
            workers: self.workers.or(saved.workers),
            memory_mb: self.memory_mb.or(saved.memory_mb),
            epochs: self.epochs.or(saved.epochs),
            batch_size: self.batch_size.or(saved.batch_size),
            lr: self.lr.or(saved.lr),
            momentum: self.momentum.or(saved.momentum),
            local_steps: self.local_steps.or(saved.local_steps),
            target_loss: self.target_loss.or(saved.target_loss),
            budget: self.budget.or(saved.budget),
            time_limit: self.time_limit.or(saved.time_limit),
            seed: self.seed.or(saved.seed),
            threads: self.threads.or(saved.threads),
            data: self.data.or(saved.data),
            train_size: self.train_size.or(saved.train_size),
            out: Some(folder),
            resume: self.resume,
            quiet: self.quiet,
        })
    }

    /// Writes the flags beside the run, for a later [`complete`](Self::complete).
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        file::replace(&folder.join(SAVED), |to| Ok(serde_json::to_writer_pretty(to, self)?))
    }

    /// What each epoch runs with.
    pub fn allocation(&self) -> Allocation {
        Allocation {
            workers: self.workers.unwrap_or(4),
            memory_mb: self.memory_mb.unwrap_or(1_769),
        }
    }

    /// Threads that the workers share.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(cores)
    }

    /// What the trainer is told.
    pub fn config(&self, run: &str) -> Config {
        let epochs = self.epochs.unwrap_or(3);
        let momentum = self.momentum.unwrap_or(0.8);
        Config {
            run: run.into(),
            seed: self.seed.unwrap_or(1),
            batch_size: self.batch_size.unwrap_or(64),
            local_steps: self.local_steps.unwrap_or(1),
            rule: if momentum == 0.0 { UpdateRule::Sgd } else { UpdateRule::Momentum { momentum } },
            rate: Rate {
                base: self.lr.unwrap_or(0.04),
                decay: Decay::Cosine { epochs, last: 0.1 },
                warmup: 0,
            },
            stop: Stop {
                epochs,
                target_loss: self.target_loss,
                wall_time: self.time_limit,
                budget: self.budget.map(Usd::new),
            },
            out: Some(self.folder(run)),
            evaluate_threads: Some(self.threads()),
            ..Config::default()
        }
    }

    /// The folder that receives the files of the run.
    pub fn folder(&self, run: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("target/siren").join(run))
    }
}
