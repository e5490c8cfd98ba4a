//! How a job behaves, in closed form.

mod epoch;
mod profiles;

use std::path::Path;

pub use epoch::{At, Chance, Epoch};
pub use profiles::PROFILES;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, ErrorKind, Platform, Result};

/// How the epochs of a job go, whatever was trained and wherever: what environments step by, and what
/// planners plan with. [`JobModel`] is the one that comes with this crate.
///
/// Progress is counted in ideal epochs: those of one worker that waits for nobody.
pub trait Dynamics: Send + Sync {
    /// Limits and prices.
    fn platform(&self) -> &Platform;

    /// The loss after so many ideal epochs. It never rises.
    fn loss(&self, progress: f64) -> f64;

    /// The ideal epochs after which the loss is at most `loss`; infinite if it never is.
    fn progress_at(&self, loss: f64) -> f64;

    /// The epoch at `at` with an allocation that the platform has, under these chances.
    fn epoch(&self, at: At, allocation: Allocation, chance: &Chance) -> Epoch;
}

/// One job on one platform, as closed formulae over progress, number of functions and memory size.
///
/// With `n` functions of `m` MB after `S` ideal epochs, and `x = 1 + S b0 / b1`, the factor by which the
/// excess loss has fallen:
///
/// ```text
/// loss   l   = 1 / (b0 S + b1) + b2                                          (Optimus, EuroSys 2018)
/// vCPUs  v   = min(m / 1769, vmax)
/// speed  s   = v if v <= 1, else 1 / ((1 - p) + p / v)                       (Amdahl)
/// MB/s   bw  = 1 / (1 / min(per_vcpu v', function) + n / all)                v' = m / 1769
/// spill  q   = max(1, need / m)
/// fetch  P^F = start + latency + q (data / n + model) / bw
/// compute P^C = q W x^-fall (1 + first in epoch 0) / (n s)
/// update P^U = (rounds + shared_rounds / n) x^growth (latency + size / bw)
/// epoch  P   = wait (+ change where the memory differs) + f exp(sigma z),    f = P^F + P^C + P^U
///          z = the largest of n standard normal numbers
/// billed     = f exp(sigma^2 / 2) (1 + sd N(0, 1)),                          sd = sqrt((exp(sigma^2) - 1) / n)
/// calls      = ceil(billed / timeout); each one after the first starts again
/// cost       = scale n (billed m / 1024 gb_second + calls call + updates update)
/// progress   = exp(psi N(0, 1)) / (1 + n / (workers x^-fall))                staleness, noise
/// ```
///
/// Plain data: a TOML file may give any of its fields, and what it leaves out costs nothing and takes no
/// time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobModel {
    /// A name for people.
    pub name: String,
    /// The loss that the job is meant to reach.
    pub target_loss: f64,
    /// Limits and prices of the platform.
    pub platform: Platform,
    /// How the loss falls.
    pub loss: Loss,
    /// What is paid beyond GB-seconds.
    pub fees: Fees,
    /// How functions start.
    pub start: Start,
    /// How data and parameters are fetched, P^F.
    pub fetch: Fetch,
    /// How gradients are computed, P^C.
    pub compute: Compute,
    /// How parameters are pulled and updates pushed, P^U.
    pub update: Update,
    /// What more functions cost in progress.
    pub staleness: Staleness,
    /// What nobody controls.
    pub noise: Noise,
}

/// The loss after S ideal epochs: `1 / (b0 S + b1) + b2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// How fast it falls.
    pub b0: f64,
    /// One over the excess loss at the start.
    pub b1: f64,
    /// What it falls to.
    pub b2: f64,
}

/// What is paid beyond GB-seconds, in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fees {
    /// What all money is multiplied by: 1 at list prices.
    pub scale: f64,
    /// Each call, with the requests that it makes once.
    pub call_usd: f64,
    /// The requests of each pull and push.
    pub update_usd: f64,
}

/// How functions start, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// Before a function works: billed.
    pub seconds: f64,
    /// Before a function runs: not billed.
    pub wait_s: f64,
    /// On top in the first epoch: not billed.
    pub first_s: f64,
    /// On top where the memory differs from the last epoch's: not billed.
    pub change_s: f64,
}

/// How data and parameters are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Seconds before the first byte.
    pub latency_s: f64,
    /// The data of an epoch, in MB: each function has its share.
    pub data_mb: f64,
    /// What each function fetches, in MB.
    pub model_mb: f64,
    /// MB a second for each vCPU; 0 means no limit.
    pub per_vcpu_mb_s: f64,
    /// MB a second of a function at the most; 0 means no limit.
    pub function_mb_s: f64,
    /// MB a second of all functions; 0 means no limit.
    pub all_mb_s: f64,
}

/// How gradients are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// The gradients of the first epoch, in seconds of one vCPU.
    pub vcpu_seconds: f64,
    /// How they fall with the loss: the exponent of x.
    pub fall: f64,
    /// How many times as much comes on top in the first epoch.
    pub first: f64,
    /// The share that several vCPUs divide among them.
    pub parallel_share: f64,
    /// The memory that a function needs, in MB; with less, all takes longer.
    pub memory_mb: f64,
}

/// How parameters are pulled and updates pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Update {
    /// Pulls and pushes of each function in the first epoch.
    pub rounds: f64,
    /// Pulls and pushes that the functions share among them.
    pub shared_rounds: f64,
    /// How both grow as the loss falls: the exponent of x.
    pub growth: f64,
    /// Seconds of a pull and a push before any byte.
    pub latency_s: f64,
    /// What a pull and a push move, in MB.
    pub size_mb: f64,
}

/// What more functions cost in progress: an epoch of n brings `1 / (1 + n / workers)` ideal ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Staleness {
    /// The number of functions that brings half of the progress; infinite where all count in full.
    pub workers: f64,
    /// How that number falls with the loss: the exponent of x.
    pub fall: f64,
}

/// Standard deviations of logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Of the time that one function takes.
    pub time: f64,
    /// Of an epoch's progress.
    pub progress: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { b0: 0.2, b1: 1.0, b2: 0.1 }
    }
}

impl Default for Fees {
    fn default() -> Self {
        Self { scale: 1.0, call_usd: 0.0, update_usd: 0.0 }
    }
}

impl Default for Staleness {
    fn default() -> Self {
        Self { workers: f64::INFINITY, fall: 0.0 }
    }
}

impl Default for JobModel {
    fn default() -> Self {
        Self {
            name: "job".into(),
            target_loss: 0.15,
            platform: Platform::aws_lambda(),
            loss: Loss::default(),
            fees: Fees::default(),
            start: Start::default(),
            fetch: Fetch::default(),
            compute: Compute::default(),
            update: Update::default(),
            staleness: Staleness::default(),
            noise: Noise::default(),
        }
    }
}

impl JobModel {
    /// Reads the text of a TOML file.
    ///
    /// # Errors
    ///
    /// Rejected, naming the field: unknown, of the wrong type, or what no job can have.
    pub fn from_toml(text: &str) -> Result<Self> {
        let model: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |at| at.start);
            let number = text[..start].matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default().trim();
            let what = error.message();
            Error::rejected(format!("line {}, `{line}`, is not a job's: {what}", number + 1))
        })?;
        model.check()?;
        Ok(model)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// Other when it cannot be read, rejected as in [`from_toml`](Self::from_toml).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Other, format!("cannot read {}", path.display()))
                .with_source(error)
        })?;
        Self::from_toml(&text).map_err(|error| {
            Error::rejected(format!("{} is no model of a job", path.display())).with_source(error)
        })
    }

    /// The text of a TOML file.
    ///
    /// # Errors
    ///
    /// Other when it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Other, "cannot write the model of a job").with_source(error)
        })
    }

    /// Refuses what no job can have.
    ///
    /// # Errors
    ///
    /// Rejected, naming the field.
    pub fn check(&self) -> Result<()> {
        self.platform.check()?;
        let Self { loss, fees, start, fetch, compute, update, staleness, noise, .. } = self;
        for (name, value) in [
            ("target_loss", self.target_loss),
            ("loss.b2", loss.b2),
            ("update.growth", update.growth),
            ("compute.fall", compute.fall),
            ("staleness.fall", staleness.fall),
        ] {
            if !value.is_finite() {
                return Err(Error::rejected(format!("{name} is {value}: give a finite number")));
            }
        }
        for (name, value) in [
            ("fees.call_usd", fees.call_usd),
            ("fees.update_usd", fees.update_usd),
            ("start.seconds", start.seconds),
            ("start.wait_s", start.wait_s),
            ("start.first_s", start.first_s),
            ("start.change_s", start.change_s),
            ("fetch.latency_s", fetch.latency_s),
            ("fetch.data_mb", fetch.data_mb),
            ("fetch.model_mb", fetch.model_mb),
            ("fetch.per_vcpu_mb_s", fetch.per_vcpu_mb_s),
            ("fetch.function_mb_s", fetch.function_mb_s),
            ("fetch.all_mb_s", fetch.all_mb_s),
            ("compute.vcpu_seconds", compute.vcpu_seconds),
            ("compute.first", compute.first),
            ("compute.memory_mb", compute.memory_mb),
            ("update.rounds", update.rounds),
            ("update.shared_rounds", update.shared_rounds),
            ("update.latency_s", update.latency_s),
            ("update.size_mb", update.size_mb),
            ("noise.time", noise.time),
            ("noise.progress", noise.progress),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::rejected(format!(
                    "{name} is {value}: give a finite number, 0 or more"
                )));
            }
        }
        for (name, value) in
            [("loss.b0", loss.b0), ("loss.b1", loss.b1), ("fees.scale", fees.scale)]
        {
            if !value.is_finite() || value <= 0.0 {
                return Err(Error::rejected(format!(
                    "{name} is {value}: give a finite number above 0"
                )));
            }
        }
        if staleness.workers.is_nan() || staleness.workers <= 0.0 {
            return Err(Error::rejected(format!(
                "staleness.workers is {}: give a number above 0, or inf where all functions count in full",
                staleness.workers
            )));
        }
        if !(0.0..=1.0).contains(&compute.parallel_share) {
            return Err(Error::rejected(format!(
                "compute.parallel_share is {}: give a number from 0 to 1",
                compute.parallel_share
            )));
        }
        Ok(())
    }
}
