//! The settings of a trainer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siren_core::{Compression, EpochPlan, Error, Noise, Optimizer, Result, SyncMode, Usd};

use crate::{LearningRate, Retry};

/// The settings of a run. Every field has a default, so that `..Config::default()` completes a
/// literal.
///
/// ```
/// use std::time::Duration;
/// use siren_core::{Optimizer, Usd};
/// use siren_hsp::{Config, LearningRate, LrDecay, StopRules};
///
/// let decay = LrDecay::Cosine { epochs: 20, last: 0.1 };
/// let config = Config {
///     batch_size: 64,
///     optimizer: Optimizer::ADAM,
///     learning_rate: LearningRate { decay, ..1e-3.into() },
///     stop: StopRules {
///         epochs: 20,
///         target_loss: Some(0.1),
///         time_limit: Some(Duration::from_secs(600)),
///         budget: Some(Usd::new(0.50)),
///     },
///     out: Some("runs/first".into()),
///     ..Config::default()
/// };
/// // An epoch of 1,000 examples, divided among 4 workers.
/// assert_eq!(config.plan(0, 0, 1_000, 4).batches(), 16);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The name of the run.
    pub run: String,
    /// The seed of all randomness.
    pub seed: u64,
    /// The number of examples in a batch.
    pub batch_size: u64,
    /// The number of batches per push. A worker takes this many plain SGD steps on its own copy of
    /// the parameters between two pushes.
    pub local_steps: u64,
    /// The optimizer that applies updates.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub learning_rate: LearningRate,
    /// Weight decay: this factor times the parameters is added to the gradient, or to the step
    /// under [`Optimizer::AdamW`].
    pub weight_decay: f32,
    /// The largest Euclidean norm of a gradient; longer ones are scaled down to it. `None` for no
    /// limit.
    pub clip_norm: Option<f32>,
    /// The synchronisation of workers between the barriers.
    pub sync_mode: SyncMode,
    /// The compression of updates.
    #[serde(default)]
    pub compression: Compression,
    /// The measurement of gradient noise, and its use. With `None`, bulk mode measures, and the
    /// other modes use the [rule](Noise::RULE), by which one learning rate suits any number of
    /// workers.
    #[serde(default)]
    pub noise: Option<Noise>,
    /// The conditions that end the run.
    pub stop: StopRules,
    /// The rules for repeating failed invocations.
    pub retry: Retry,
    /// The [`fingerprint`](crate::fingerprint) of the training data, if it is known. Otherwise the
    /// driver reads a few examples and computes it. A run is resumed only with the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_fingerprint: Option<u64>,
    /// Labels that the program stores in the checkpoint and the record.
    pub labels: BTreeMap<String, String>,
    /// The folder for `checkpoint`, `history.jsonl` and `run.json`; if `None`, no files are
    /// written.
    #[serde(skip)]
    pub out: Option<PathBuf>,
    /// The number of threads for the evaluation at the barrier; all cores if `None`.
    #[serde(skip)]
    pub evaluate_threads: Option<usize>,
}

/// The conditions that end a run; the first one that holds ends it.
///
/// ```
/// use siren_core::Usd;
/// use siren_hsp::StopRules;
///
/// // At most 50 epochs, and at most one dollar.
/// let stop = StopRules { epochs: 50, budget: Some(Usd::new(1.0)), ..StopRules::default() };
/// assert_eq!(stop.target_loss, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopRules {
    /// The run ends after this many epochs, including those before a resume.
    pub epochs: u64,
    /// The run ends when the held-out loss is at most this (the training loss, if there is no
    /// held-out data).
    pub target_loss: Option<f64>,
    /// The run ends when this much time has passed since the first launch, evaluation included. The
    /// running epoch is cut short.
    #[serde(with = "siren_core::seconds::optional")]
    pub time_limit: Option<Duration>,
    /// The run ends before it would spend more than this.
    pub budget: Option<Usd>,
}

impl Default for StopRules {
    /// Ten epochs, and no other limit.
    fn default() -> Self {
        Self { epochs: 10, target_loss: None, time_limit: None, budget: None }
    }
}

impl Default for Config {
    /// Plain SGD with a learning rate of 0.1, batches of 32, ten epochs and no files.
    fn default() -> Self {
        Self {
            run: "run".into(),
            seed: 0,
            batch_size: 32,
            local_steps: 1,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.1.into(),
            weight_decay: 0.0,
            clip_norm: None,
            sync_mode: SyncMode::Hybrid,
            compression: Compression::None,
            noise: None,
            stop: StopRules::default(),
            retry: Retry::default(),
            data_fingerprint: None,
            labels: BTreeMap::new(),
            out: None,
            evaluate_threads: None,
        }
    }
}

impl Config {
    /// Checks that these settings can train on `examples` examples.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the setting and the
    /// remedy.
    pub fn check(&self, examples: u64) -> Result<()> {
        self.learning_rate.check()?;
        self.plan(0, 0, examples, 1).check()?;
        if self.stop.epochs == 0 {
            return Err(Error::rejected("the number of epochs is 0: give at least 1"));
        }
        if self.stop.target_loss.is_some_and(f64::is_nan) {
            return Err(Error::rejected("the target loss is NaN: give a number, or none"));
        }
        if let Some(budget) = self.stop.budget {
            budget.checked("the budget")?;
        }
        if self.retry.attempts == 0 {
            return Err(Error::rejected("the number of attempts is 0: give at least 1"));
        }
        if self.evaluate_threads == Some(0) {
            return Err(Error::rejected("the number of evaluation threads is 0: give at least 1"));
        }
        Ok(())
    }

    /// The plan of an epoch of a run with these settings. `layout` is the hash of the model's
    /// layout. The `examples` training examples are divided into `shards`.
    pub fn plan(&self, epoch: u64, layout: u64, examples: u64, shards: u32) -> EpochPlan {
        EpochPlan {
            run: self.run.clone(),
            epoch,
            seed: siren_core::Seed::new(self.seed),
            layout,
            examples,
            batch_size: self.batch_size,
            shards,
            local_steps: self.local_steps,
            optimizer: self.optimizer,
            learning_rate: self.learning_rate.at(epoch),
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            sync_mode: self.sync_mode,
            compression: self.compression,
            noise: self.noise_setting(),
        }
    }

    /// The measurement of noise that these settings lead to: [`noise`](Self::noise) if it is given,
    /// otherwise the [usual](Noise::usual) one.
    pub fn noise_setting(&self) -> Noise {
        self.noise.unwrap_or_else(|| Noise::usual(self.sync_mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_survives_json() {
        let config = Config {
            optimizer: Optimizer::ADAM,
            stop: StopRules {
                time_limit: Some(Duration::from_millis(1_500)),
                budget: Some(Usd::new(0.25)),
                ..StopRules::default()
            },
            ..Config::default()
        };
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn the_name_of_an_optimizer_is_that_in_json() {
        for optimizer in Optimizer::samples() {
            let json = serde_json::to_value(optimizer).unwrap();
            assert_eq!(json["name"], optimizer.name());
            assert_eq!(serde_json::from_value::<Optimizer>(json).unwrap(), optimizer);
        }
        let mut names: Vec<_> = Optimizer::samples().map(|optimizer| optimizer.name()).collect();
        names.dedup();
        assert_eq!(names, ["sgd", "momentum", "nesterov", "adagrad", "adam", "adamw"]);
    }

    #[test]
    fn each_bad_setting_is_named() {
        let good = Config::default;
        let stop = |stop| Config { stop, ..good() };
        let budget = |usd| StopRules { budget: Some(Usd::new(usd)), ..StopRules::default() };
        let cases: [(&str, Config); 7] = [
            ("epochs", stop(StopRules { epochs: 0, ..StopRules::default() })),
            ("budget", stop(budget(f64::NAN))),
            ("budget", stop(budget(-1.0))),
            ("learning rate", Config { learning_rate: (-0.1).into(), ..good() }),
            ("batch size", Config { batch_size: 1_001, ..good() }),
            ("momentum", Config { optimizer: Optimizer::Momentum { momentum: 1.0 }, ..good() }),
            ("evaluation threads", Config { evaluate_threads: Some(0), ..good() }),
        ];
        for (name, bad) in cases {
            let error = bad.check(1_000).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        good().check(1_000).unwrap();
    }
}
