//! The flags of a training run.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siren_core::{Allocation, Compression, Error, Optimizer, Result, SyncMode, Usd};
use siren_hsp::{Checkpoint, Config, LearningRate, LrDecay, StopRules};

use crate::schedulers::{self, Kind, Turns};

/// How updates are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum OptimizerName {
    /// SGD with momentum, or without if that is 0
    Momentum,
    /// Adam with the usual constants
    Adam,
}

/// Flags that every training example takes. A flag that is not given has its value from the run that
/// is resumed, or else its default.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// Workers that train at the same time [default: one for each thread]
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Memory of each worker in MB, which sets its price [default: 1769, one vCPU]
    #[arg(long, value_name = "MB")]
    pub memory_mb: Option<u32>,
    /// Who chooses workers and memory of each epoch: fixed (always the same), schedule (by --schedule),
    /// planner (as fast as possible within --budget to --target-loss: without a target for all epochs,
    /// without a budget whatever it costs), or agent:FILE (a trained policy, which needs both). The last two
    /// choose up to --workers [default: 100 simulated functions, or one worker for each thread] and, on
    /// simulated functions, any memory unless --memory-mb is given [default: fixed]
    #[arg(long, value_name = "WHO", value_parser = schedulers::kind)]
    pub scheduler: Option<Kind>,
    /// Workers in the first epoch, in those between, and in the last one, such as 12,4,2; implies
    /// --scheduler schedule
    #[arg(long, value_name = "FIRST,BETWEEN,LAST", value_parser = schedulers::turns)]
    pub schedule: Option<Turns>,
    /// Passes over the training data [default: 3]
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Examples in a mini-batch [default: 64, or 8 for more than ten workers]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u64>,
    /// The learning rate, which falls along half a cosine to a tenth in the last epoch [default: 0.05,
    /// or 0.0002 with Adam]
    #[arg(long, alias = "lr", value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<f32>,
    /// How updates are applied [default: momentum, or adam for more than ten workers]
    #[arg(long, value_name = "OPTIMIZER")]
    pub optimizer: Option<OptimizerName>,
    /// Momentum of the updates; 0 is plain SGD [default: 0.9 for one worker, 0.1 less for each more that
    /// does not wait for the others]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub momentum: Option<f32>,
    /// Gradients longer than this are scaled down to it [default: 1]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub clip_norm: Option<f32>,
    /// Weight decay: this times the parameters is added to each update's gradient [default: 0]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub weight_decay: Option<f32>,
    /// Batches that a worker computes on its own before it pushes [default: 1]
    #[arg(long, value_name = "N")]
    pub local_steps: Option<u64>,
    /// What workers wait for in an epoch: nothing (hybrid), one another in every round (bulk), or who is
    /// more than N rounds behind (stale=N) [default: hybrid]
    #[arg(long, value_name = "MODE", value_parser = sync_mode)]
    pub sync_mode: Option<SyncMode>,
    /// Push only this share of a gradient's entries, the largest ones; the others are kept for later
    /// [default: all]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub top_k: Option<f64>,
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
    /// Where the data is [default: the bundled files]
    #[arg(long, value_name = "PATH")]
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
    /// Run on simulated AWS Lambda and S3, in virtual time, instead of this machine
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulate: bool,
    /// Simulate another platform or speed: a TOML file
    #[arg(long, value_name = "FILE")]
    pub simulation: Option<PathBuf>,
    /// Print what the run would cost and take on AWS Lambda, and do not train
    #[arg(long)]
    #[serde(skip)]
    pub preview: bool,
    /// Print the summary only
    #[arg(long)]
    #[serde(skip)]
    pub quiet: bool,
}

/// Reads a synchronisation mode: hybrid, bulk or stale=N.
///
/// # Errors
///
/// What it may be instead.
pub fn sync_mode(text: &str) -> Result<SyncMode, String> {
    match text.split_once('=') {
        None if text == "hybrid" => Ok(SyncMode::Hybrid),
        None if text == "bulk" => Ok(SyncMode::Bulk),
        Some(("stale", bound)) => match bound.parse() {
            Ok(bound) => Ok(SyncMode::Stale { bound }),
            Err(_) => Err(format!("{bound:?} is no number of rounds: give 0 or more")),
        },
        _ => Err("give hybrid, bulk or stale=N".into()),
    }
}

/// Reads the command line of an example with defaults of its own, and lets `--help` show them. Exits
/// with a message when a flag is wrong, as [`Parser::parse`] does.
pub fn parse<C: Parser>(defaults: &Flags) -> C {
    let text = serde_json::to_string(defaults).unwrap_or_default();
    let values: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let mut command = C::command();
    for (name, value) in values.into_iter().filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
        command = command.mut_arg(name, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.split(" [default:").next().unwrap_or_default();
            arg.help(format!("{help} [default: {value}]"))
        });
    }
    let matches = command.get_matches();
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The label of a run's config that holds its flags.
const LABEL: &str = "flags";

impl Flags {
    /// Fills in the flags of the run that is resumed, which are in its checkpoint.
    ///
    /// # Errors
    ///
    /// When the checkpoint cannot be read, or was not made by a program with these flags.
    pub fn complete(self) -> Result<Self> {
        let Some(folder) = self.resume.clone() else {
            return Ok(self);
        };
        let checkpoint = Checkpoint::load(&folder)?;
        let saved = checkpoint.config().labels.get(LABEL);
        let saved: Self =
            saved.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
                Error::rejected(format!(
                    "the checkpoint in {} was made by another program: resume it by that",
                    folder.display()
                ))
            })?;
        Ok(Self { out: Some(folder), ..self.or(saved) })
    }

    /// Takes what is not given from `others`: an example's own defaults, say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            workers: self.workers.or(others.workers),
            memory_mb: self.memory_mb.or(others.memory_mb),
            // What is given rules out what is not: a schedule is nobody else's.
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

    /// What each epoch runs with.
    pub fn allocation(&self) -> Allocation {
        Allocation {
            workers: self
                .workers
                .unwrap_or_else(|| u32::try_from(self.threads()).unwrap_or(u32::MAX)),
            memory_mb: self.memory_mb.unwrap_or(1_769),
        }
    }

    /// Who chooses allocations.
    pub fn scheduler(&self) -> Kind {
        let implied = if self.schedule.is_some() { Kind::Schedule } else { Kind::Fixed };
        self.scheduler.clone().unwrap_or(implied)
    }

    /// Whether the run is simulated.
    pub fn simulated(&self) -> bool {
        self.simulate || self.simulation.is_some()
    }

    /// The most workers that an epoch may run with.
    pub fn most_workers(&self) -> u32 {
        match (self.scheduler(), self.schedule) {
            (Kind::Schedule, Some(turns)) => turns.most(),
            (Kind::Planner | Kind::Agent(_), _) if self.simulated() => {
                self.workers.unwrap_or(schedulers::MOST)
            }
            _ => self.allocation().workers,
        }
    }

    /// Threads that the workers share.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(cores)
    }

    fn sync_mode(&self) -> SyncMode {
        self.sync_mode.unwrap_or_default()
    }

    /// Workers whose updates meet in the parameters without having seen one another: all but under bulk
    /// synchrony, where a round is one update.
    fn asynchronous(&self) -> u32 {
        match self.sync_mode() {
            SyncMode::Bulk => 1,
            _ => self.most_workers().max(1),
        }
    }

    /// Whether so many workers train that updates are very stale: then plain rates crawl or diverge.
    pub fn crowded(&self) -> bool {
        self.asynchronous() > 10
    }

    fn optimizer(&self) -> Optimizer {
        let optimizer = if self.crowded() { OptimizerName::Adam } else { OptimizerName::Momentum };
        match (self.optimizer.unwrap_or(optimizer), self.momentum()) {
            (OptimizerName::Adam, _) => Optimizer::ADAM,
            (OptimizerName::Momentum, 0.0) => Optimizer::Sgd,
            (OptimizerName::Momentum, momentum) => Optimizer::Momentum { momentum },
        }
    }

    /// The momentum: less for more workers, since stale updates are momentum of their own (Mitliagkas
    /// and others, "Asynchrony begets momentum", 2016).
    fn momentum(&self) -> f32 {
        let workers = self.asynchronous() as f32;
        self.momentum.unwrap_or_else(|| (1.0 - 0.1 * workers).max(0.0))
    }

    fn rate(&self) -> f32 {
        self.learning_rate.unwrap_or(if self.optimizer() == Optimizer::ADAM {
            0.000_2
        } else {
            0.05
        })
    }

    /// What the trainer is told.
    pub fn config(&self, run: &str) -> Config {
        let epochs = self.epochs.unwrap_or(3);
        Config {
            run: run.into(),
            seed: self.seed.unwrap_or(1),
            batch_size: self.batch_size.unwrap_or(if self.crowded() { 8 } else { 64 }),
            local_steps: self.local_steps.unwrap_or(1),
            sync_mode: self.sync_mode(),
            compression: self.top_k.map_or(Compression::None, |share| Compression::TopK { share }),
            clip_norm: Some(self.clip_norm.unwrap_or(1.0)),
            weight_decay: self.weight_decay.unwrap_or(0.0),
            optimizer: self.optimizer(),
            learning_rate: LearningRate {
                base: self.rate(),
                decay: LrDecay::Cosine { epochs, last: 0.1 },
                warmup: 0,
            },
            stop: StopRules {
                epochs,
                target_loss: self.target_loss,
                time_limit: self.time_limit,
                budget: self.budget.map(Usd::new),
            },
            labels: serde_json::to_string(self)
                .map(|text| (LABEL.into(), text))
                .into_iter()
                .collect(),
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
