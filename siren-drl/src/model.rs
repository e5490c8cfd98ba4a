//! The behaviour of a job in closed form: [`JobModel`] and its parts.

mod check;
mod epoch;
mod predicted;
mod profiles;

use std::path::Path;

pub use epoch::{At, Chance, Epoch};
pub(crate) use predicted::PUSHES;
pub use profiles::PROFILES;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, ErrorKind, Platform, Result};

/// The dynamics of a job's epochs, for any workload and platform. Environments simulate with it,
/// and planners plan with it. [`JobModel`] is the implementation in this crate.
///
/// Progress is counted in ideal epochs: epochs of one worker that waits for no other.
pub trait Dynamics: Send + Sync {
    /// Limits and prices.
    fn platform(&self) -> &Platform;

    /// The loss after `progress` ideal epochs. It never rises.
    fn loss(&self, progress: f64) -> f64;

    /// The ideal epochs after which the loss is at most `loss`; infinite if it is always higher.
    fn progress_at(&self, loss: f64) -> f64;

    /// The epoch at position `at`, with an allocation that the platform offers and these random
    /// outcomes.
    fn epoch(&self, at: At, allocation: Allocation, chance: &Chance) -> Epoch;
}

/// One job on one platform, as closed formulae over progress, number of functions and memory size.
///
/// With `n` functions of `m` MB after `S` ideal epochs, and `x = 1 + S b0 / b1`, the factor by
/// which the excess loss has fallen:
///
/// ```text
/// loss   l   = 1 / (b0 S + b1) + b2                                          (Optimus, EuroSys 2018)
/// vCPUs  v   = min(m / 1769, vmax)
/// speed  s   = v if v <= 1, else 1 / ((1 - p) + p / v)                       (Amdahl)
/// MB/s   bw  = 1 / (1 / min(per_vcpu v', function) + n / all)                v' = m / 1769
/// spill  q   = max(1, need / m)
/// fetch  P^F = start + latency + q (data / n + model) / bw
///              + the time of the batches that computing does not hide
/// compute P^C = q W x^-fall (1 + first in epoch 0) / (n s)
/// update P^U = (rounds + shared_rounds / n) x^growth (latency + size / bw)
/// epoch  P   = wait + each n (+ change where the memory differs) + f exp(sigma z),   f = P^F + P^C + P^U
///          z = the largest of n standard normal numbers
/// billed     = f exp(sigma^2 / 2) (1 + sd N(0, 1)),                          sd = sqrt((exp(sigma^2) - 1) / n)
/// calls      = ceil(billed / timeout); each one after the first starts again
/// cost       = scale (n (billed m / 1024 gb_second + calls call + updates update) + epoch + second P)
/// progress   = exp(psi N(0, 1)) / (1 + n / (workers x^-fall))                staleness, noise
/// ```
///
/// If [`Shards`] gives a number of batches, `n` is at most that number, and functions have whole
/// batches; the slowest function has the most of them. [`Compute::places`], [`Update::all_s`] and
/// [`Noise`] add further terms.
///
/// A model is plain data. A TOML file may give any of its fields; parts that it leaves out cost
/// nothing and take no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobModel {
    /// A readable name.
    pub name: String,
    /// The loss that the job has to reach.
    pub target_loss: f64,
    /// Limits and prices of the platform.
    pub platform: Platform,
    /// The loss curve.
    pub loss: Loss,
    /// Costs beyond GB-seconds.
    pub fees: Fees,
    /// The division of an epoch.
    pub shards: Shards,
    /// The start of functions.
    pub start: Start,
    /// Fetching data and parameters, P^F.
    pub fetch: Fetch,
    /// Computing gradients, P^C.
    pub compute: Compute,
    /// Pulling parameters and pushing updates, P^U.
    pub update: Update,
    /// The progress lost with more functions.
    pub staleness: Staleness,
    /// Random variation.
    pub noise: Noise,
}

/// The loss after S ideal epochs: `1 / (b0 S + b1) + b2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// The speed of the fall.
    pub b0: f64,
    /// One over the excess loss at the start.
    pub b1: f64,
    /// The limit of the loss.
    pub b2: f64,
}

/// Costs beyond GB-seconds, in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fees {
    /// The factor of all costs: 1 at list prices.
    pub scale: f64,
    /// The cost of each call, with the requests that it makes once.
    pub call_usd: f64,
    /// The cost of the requests of each pull and push.
    pub update_usd: f64,
    /// The cost of each epoch, whatever the number of functions: the requests for its data.
    pub epoch_usd: f64,
    /// The cost of each second from launch to barrier, such as that of aggregators.
    pub second_usd: f64,
}

/// The division of an epoch among functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shards {
    /// The number of batches of an epoch. A function has whole batches, and functions beyond this
    /// number do not run. 0 if any number of functions has even shares.
    pub batches: f64,
    /// Batches that one push covers; 0 counts as 1.
    pub local_steps: f64,
}

/// The start of functions, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// The time before a function works: billed.
    pub seconds: f64,
    /// The time before a function runs: not billed.
    pub wait_s: f64,
    /// Additional time in the first epoch: not billed.
    pub first_s: f64,
    /// Time that is billed in the first epoch before any function works: the INIT of new
    /// environments.
    pub first_billed_s: f64,
    /// Additional time if the memory differs from the last epoch's, even if it was used before: not
    /// billed.
    pub change_s: f64,
    /// Additional time for each function, since calls leave one after the other: not billed.
    pub each_s: f64,
}

/// Fetching data and parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// The latency before the first byte, in seconds.
    pub latency_s: f64,
    /// The data of an epoch, in MB. Each function fetches its share.
    pub data_mb: f64,
    /// The data that each function fetches in full, in MB.
    pub model_mb: f64,
    /// The MB a second for each vCPU; 0 means no limit.
    pub per_vcpu_mb_s: f64,
    /// The most MB a second for one function; 0 means no limit.
    pub function_mb_s: f64,
    /// The most MB a second for all functions together; 0 means no limit.
    pub all_mb_s: f64,
    /// The mean time to fetch one batch, in seconds, if a function fetches a batch while it
    /// computes the one before. It waits only for the part that computing does not hide. Needs
    /// [`Shards::batches`].
    pub batch_s: f64,
    /// The standard deviation of that time, in seconds.
    pub batch_deviation_s: f64,
    /// The least time to fetch all of an epoch's batches, in seconds: shared storage answers a
    /// limited number of requests a second.
    pub all_s: f64,
}

/// Computing gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// The time to compute the gradients of the first epoch, in seconds of one vCPU.
    pub vcpu_seconds: f64,
    /// The decrease of that time as the loss falls: the exponent of x.
    pub fall: f64,
    /// The additional work of the first epoch, as a multiple of the usual work.
    pub first: f64,
    /// The share of the work that several vCPUs divide among them.
    pub parallel_share: f64,
    /// The memory that a function needs, in MB. With less, fetching and computing take longer.
    pub memory_mb: f64,
    /// The number of functions that compute at the same time if they share a machine's cores; 0 for
    /// all. The others wait, which is not billed.
    pub places: f64,
}

/// Pulling parameters and pushing updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Update {
    /// Pulls and pushes of each function in the first epoch.
    pub rounds: f64,
    /// Pulls and pushes that are divided among the functions.
    pub shared_rounds: f64,
    /// The growth of both as the loss falls: the exponent of x.
    pub growth: f64,
    /// The latency of a pull and a push, in seconds.
    pub latency_s: f64,
    /// The data of a pull and a push, in MB.
    pub size_mb: f64,
    /// The least time of all of an epoch's updates together, in seconds, in addition to that of the
    /// data.
    pub all_s: f64,
    /// The additional time of the slowest of many functions because some requests are slow, in
    /// seconds. The number of requests, and so this time, hardly depends on the number of
    /// functions. If functions make more pushes than even shares would need, it grows with the
    /// square root of that ratio.
    pub late_s: f64,
}

/// The progress lost with more functions: an epoch of n functions brings `1 / (1 + n / workers)`
/// ideal epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Staleness {
    /// The number of functions that brings half of the progress; infinite if all functions count in
    /// full.
    pub workers: f64,
    /// The decrease of that number as the loss falls: the exponent of x.
    pub fall: f64,
}

/// Random variation, as standard deviations of logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// The variation of one function's time.
    pub time: f64,
    /// The additional variation of its pulls and pushes.
    pub update: f64,
    /// The share of the wait for the slowest function that is billed: 1 if functions wait for one
    /// another in every round. This is not a standard deviation.
    pub billed: f64,
    /// The variation of an epoch's progress.
    pub progress: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { b0: 0.2, b1: 1.0, b2: 0.1 }
    }
}

impl Default for Fees {
    fn default() -> Self {
        Self { scale: 1.0, call_usd: 0.0, update_usd: 0.0, epoch_usd: 0.0, second_usd: 0.0 }
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
            shards: Shards::default(),
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
    /// Reads a model from the text of a TOML file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`], naming the field, when one is unknown, of the wrong type or
    /// out of range.
    pub fn from_toml(text: &str) -> Result<Self> {
        let model: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |at| at.start);
            let number = text[..start].matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default().trim();
            let what = error.message();
            Error::rejected(format!("line {}, `{line}`, is invalid: {what}", number + 1))
        })?;
        model.check()?;
        Ok(model)
    }

    /// Reads a model from a TOML file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be read, and [`ErrorKind::Rejected`] as
    /// [`from_toml`](Self::from_toml).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Other, format!("cannot read {}", path.display()))
                .with_source(error)
        })?;
        Self::from_toml(&text).map_err(|error| {
            Error::rejected(format!("{} is not a job model", path.display())).with_source(error)
        })
    }

    /// The text of a TOML file with this model.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the model cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Other, "cannot write the model of a job").with_source(error)
        })
    }
}
