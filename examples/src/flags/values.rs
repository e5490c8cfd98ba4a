//! The values that a run uses, and the only place with the defaults that the programs share.

use std::fmt;
use std::num::NonZeroUsize;

use clap::ValueEnum as _;
use siren_core::{Allocation, Compression, Limits, Noise, Optimizer, Platform, SyncMode, Usd};
use siren_hsp::{Config, LearningRate, LrDecay, StopRules};

use super::{Flags, LABEL, OptimizerName};
use crate::print_note;
use crate::schedulers::{self, Kind};

/// The memory of a worker in MB: the smallest size of 128 + k x 64 MB, which are the sizes that
/// Siren uses on AWS Lambda, with a whole vCPU (1,769 MB).
const MEMORY_MB: u32 = 1_792;

/// The values of all flags that have a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Passes over the training data.
    pub epochs: u64,
    /// Examples in a mini-batch.
    pub batch_size: u64,
    /// Learning rate of the first epoch.
    pub learning_rate: f32,
    /// The optimizer.
    pub optimizer: OptimizerName,
    /// The momentum, for the optimizers that have one.
    pub momentum: f32,
    /// The Euclidean norm that longer gradients are scaled down to.
    pub clip_norm: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Batches that a push covers.
    pub local_steps: u64,
    /// The synchronisation mode.
    pub sync_mode: SyncMode,
    /// The measurement of gradient noise, and its use.
    pub noise: Noise,
    /// The seed.
    pub seed: u64,
    /// Workers, or the most of them where a planner or an agent chooses.
    pub workers: u32,
    /// Memory of a worker in MB.
    pub memory_mb: u32,
    /// The scheduler.
    pub scheduler: Kind,
    /// Threads that the workers share.
    pub threads: usize,
}

impl Values {
    /// Each value with the name of its flag, as the help prints it.
    pub fn named(&self) -> [(&'static str, String); 15] {
        [
            ("epochs", self.epochs.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("learning_rate", number(self.learning_rate)),
            ("optimizer", self.optimizer.to_string()),
            ("momentum", number(self.momentum)),
            ("clip_norm", number(self.clip_norm)),
            ("weight_decay", number(self.weight_decay)),
            ("local_steps", self.local_steps.to_string()),
            (
                "sync_mode",
                match self.sync_mode {
                    SyncMode::Hybrid => "hybrid".into(),
                    SyncMode::Bulk => "bulk".into(),
                    SyncMode::Stale { bound } => format!("stale={bound}"),
                },
            ),
            (
                "noise",
                match self.noise {
                    Noise::Off => "off".into(),
                    Noise::Measure => "measure".into(),
                    Noise::Rule { tuned_for: 1 } => "rule".into(),
                    Noise::Rule { tuned_for } => format!("rule={tuned_for}"),
                },
            ),
            ("seed", self.seed.to_string()),
            ("workers", self.workers.to_string()),
            ("memory_mb", self.memory_mb.to_string()),
            ("scheduler", self.scheduler.to_string()),
            ("threads", self.threads.to_string()),
        ]
    }
}

impl fmt::Display for OptimizerName {
    /// The value of the flag.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no value is skipped");
        formatter.write_str(value.get_name())
    }
}

/// A number without the last digits of its binary fraction.
fn number(value: f32) -> String {
    ((f64::from(value) * 1e6).round() / 1e6).to_string()
}

impl Flags {
    /// The values that the run uses: those of the flags, or else the defaults.
    pub fn values(&self) -> Values {
        // One setting for any number of workers: the noise rule shortens the steps of many.
        let optimizer = self.optimizer.unwrap_or(OptimizerName::Adam);
        let sync_mode = self.sync_mode.unwrap_or_default();
        Values {
            epochs: self.epochs.unwrap_or(3),
            batch_size: self.batch_size.unwrap_or(8),
            learning_rate: self.learning_rate.unwrap_or(match optimizer {
                OptimizerName::Adam | OptimizerName::AdamW => 0.001,
                OptimizerName::Momentum | OptimizerName::Nesterov | OptimizerName::Adagrad => 0.01,
            }),
            optimizer,
            momentum: self.momentum.unwrap_or(0.9),
            clip_norm: self.clip_norm.unwrap_or(1.0),
            weight_decay: self.weight_decay.unwrap_or(0.0),
            local_steps: self.local_steps.unwrap_or(1),
            sync_mode,
            noise: self.noise.unwrap_or_else(|| Noise::usual(sync_mode)),
            seed: self.seed.unwrap_or(1),
            workers: self.workers(),
            memory_mb: self.memory_mb.unwrap_or(MEMORY_MB),
            scheduler: self.scheduler(),
            threads: self.threads(),
        }
    }

    /// The workers and the memory of an epoch.
    pub fn allocation(&self) -> Allocation {
        let Values { workers, memory_mb, .. } = self.values();
        Allocation::new(workers, memory_mb)
    }

    /// These flags with a memory size that the platform has. A size between two that it has is
    /// rounded up, and a note on standard error says so.
    #[must_use]
    pub fn fit_memory(self, platform: &Platform) -> Self {
        let memory_mb = self.allocation().memory_mb;
        let Limits { memory_min_mb, memory_max_mb, memory_step_mb, .. } = platform.limits;
        let fitting = platform.memory_at_least(memory_mb);
        if !(memory_min_mb..=memory_max_mb).contains(&memory_mb) || fitting <= memory_mb {
            return self;
        }
        print_note!(
            "note: workers have {fitting} MB instead of {memory_mb} MB: {} has {memory_min_mb} to \
             {memory_max_mb} MB in steps of {memory_step_mb} MB",
            platform.name
        );
        Self { memory_mb: Some(fitting), ..self }
    }

    /// The scheduler.
    pub fn scheduler(&self) -> Kind {
        let implied = if self.schedule.is_some() { Kind::Schedule } else { Kind::Fixed };
        self.scheduler.clone().unwrap_or(implied)
    }

    fn workers(&self) -> u32 {
        self.workers.unwrap_or_else(|| match self.scheduler() {
            Kind::Planner | Kind::Agent(_) if self.simulated() => schedulers::MOST,
            _ => u32::try_from(self.threads()).unwrap_or(u32::MAX),
        })
    }

    /// The most workers that an epoch may run with.
    pub fn most_workers(&self) -> u32 {
        match (self.scheduler(), self.schedule) {
            (Kind::Schedule, Some(turns)) => turns.most(),
            _ => self.workers(),
        }
    }

    /// Threads that the workers share.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(cores)
    }

    /// The trainer's config.
    pub fn config(&self, run: &str) -> Config {
        let values = self.values();
        let epochs = values.epochs;
        Config {
            run: run.into(),
            seed: values.seed,
            batch_size: values.batch_size,
            local_steps: values.local_steps,
            sync_mode: values.sync_mode,
            noise: Some(values.noise),
            compression: self.top_k.map_or(Compression::None, |share| Compression::TopK { share }),
            clip_norm: Some(values.clip_norm),
            weight_decay: values.weight_decay,
            optimizer: match (values.optimizer, values.momentum) {
                (OptimizerName::Adagrad, _) => Optimizer::ADAGRAD,
                (OptimizerName::Adam, _) => Optimizer::ADAM,
                (OptimizerName::AdamW, _) => Optimizer::ADAMW,
                (OptimizerName::Momentum | OptimizerName::Nesterov, 0.0) => Optimizer::Sgd,
                (OptimizerName::Momentum, momentum) => Optimizer::Momentum { momentum },
                (OptimizerName::Nesterov, momentum) => Optimizer::Nesterov { momentum },
            },
            learning_rate: LearningRate {
                decay: LrDecay::Cosine { epochs, last: 0.1 },
                ..values.learning_rate.into()
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
            evaluate_threads: Some(values.threads),
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_optimizer_of_a_flag_has_the_name_of_its_value() {
        for &name in OptimizerName::value_variants() {
            let flags = Flags { optimizer: Some(name), momentum: Some(0.5), ..Flags::default() };
            let optimizer = flags.config("test").optimizer;
            assert_eq!(optimizer.name(), name.to_string());
            assert_eq!(OptimizerName::from_str(optimizer.name(), false), Ok(name));
            let without = Flags { momentum: Some(0.0), ..flags }.config("test").optimizer;
            match name {
                OptimizerName::Momentum | OptimizerName::Nesterov => {
                    assert_eq!(without, Optimizer::Sgd);
                }
                OptimizerName::Adagrad | OptimizerName::Adam | OptimizerName::AdamW => {
                    assert_eq!(without, optimizer, "the flag --momentum has no effect");
                }
            }
        }
    }
}
