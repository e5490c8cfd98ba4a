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
/// fetch  P^F = start + latency + q (data / n + model) / bw, and what computing does not hide of the batches'
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
/// Where [`Shards`] says how many batches there are, `n` is at most that, and functions have whole batches:
/// the slowest one has the most of them. [`Compute::places`], [`Update::all_s`] and [`Noise`] say what else
/// there may be.
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
    /// How an epoch is divided.
    pub shards: Shards,
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
    /// Each epoch, however many functions run: the requests for its data.
    pub epoch_usd: f64,
    /// Each second from launch to barrier: what runs beside the functions, such as aggregators.
    pub second_usd: f64,
}

/// How an epoch is divided among functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shards {
    /// Batches of an epoch: a function has whole ones, and more functions than batches do not run. 0
    /// where any number of functions has even shares.
    pub batches: f64,
    /// Batches that one push covers; 0 counts as 1.
    pub local_steps: f64,
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
    /// Billed in the first epoch although no function works yet: the INIT of new environments.
    pub first_billed_s: f64,
    /// On top where the memory differs from the last epoch's, also where it was used before: not billed.
    pub change_s: f64,
    /// On top for each function, since calls leave one after the other: not billed.
    pub each_s: f64,
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
    /// The mean time in which one batch is fetched, in seconds, where a function fetches it while it
    /// computes the one before: only what is left of it then is waited for. Needs [`Shards::batches`].
    pub batch_s: f64,
    /// The standard deviation of that time, in seconds.
    pub batch_deviation_s: f64,
    /// The least time in which all of an epoch's batches can be fetched together, in seconds: shared
    /// storage answers only so many requests a second.
    pub all_s: f64,
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
    /// How many functions compute at the same time, where they share a machine's cores; 0 where all do.
    /// The others wait, which is not billed.
    pub places: f64,
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
    /// The least time that all of an epoch's updates take together, in seconds, on top of the data's.
    pub all_s: f64,
    /// How much longer the slowest of many functions takes because some request is rarely slow, in
    /// seconds: there are about as many requests whatever the number of functions. Where functions make
    /// more pushes than even shares would need, longer by the square root of how many times as many.
    pub late_s: f64,
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

/// What nobody controls: standard deviations of logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Of the time that one function takes.
    pub time: f64,
    /// On top of that, of its pulls and pushes.
    pub update: f64,
    /// The share of the wait for the slowest function that is billed: 1 where functions wait for one
    /// another in every round, and no standard deviation at all.
    pub billed: f64,
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
}
