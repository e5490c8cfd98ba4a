//! The record of a run as plain data: the schema of `run.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use siren_core::{Better, Error, ErrorKind, Evaluation, NoiseScale, Platform, Result, StopReason};

use crate::Config;

/// The version of the schema that this library writes.
pub const SCHEMA: u32 = 2;

/// A whole run: the content of `run.json`. All times are in seconds, all money in US dollars.
///
/// ```
/// # use siren_core::{Evaluation, Platform, StopReason};
/// # use siren_hsp::{Config, OutcomeRecord, RunInfo, SCHEMA};
/// use siren_hsp::RunRecord;
///
/// # let evaluation = Evaluation::new(0.25);
/// # let record = RunRecord {
/// #     schema: SCHEMA,
/// #     run: "first".into(),
/// #     info: RunInfo {
/// #         parameters: 10,
/// #         examples: 1_000,
/// #         held_out: 0,
/// #         layout: "0".into(),
/// #         data_fingerprint: "0".into(),
/// #         metrics: Default::default(),
/// #         platform: Platform::aws_lambda(),
/// #     },
/// #     config: Config::default(),
/// #     initial: evaluation.clone(),
/// #     outcome: OutcomeRecord {
/// #         reason: StopReason::Epochs,
/// #         detail: None,
/// #         evaluation,
/// #         elapsed_s: 60.0,
/// #         cost_usd: 0.02,
/// #     },
/// #     epochs: Vec::new(),
/// # };
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("run.json"), serde_json::to_vec(&record)?)?;
/// # let folder = folder.path();
/// let record = RunRecord::load(folder.join("run.json"))?;
/// println!("{}: {} after {} s", record.run, record.outcome.reason, record.outcome.elapsed_s);
/// for epoch in &record.epochs {
///     println!("{} workers: loss {}", epoch.workers, epoch.evaluation.loss);
/// }
/// assert_eq!(record.outcome.cost_usd, 0.02);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this schema, [`SCHEMA`].
    pub schema: u32,
    /// The name of the run.
    pub run: String,
    /// The sizes of the model and the data, the metrics, and the platform.
    pub info: RunInfo,
    /// The settings of the run.
    pub config: Config,
    /// The evaluation of the model before the first epoch.
    pub initial: Evaluation,
    /// The end of the run.
    pub outcome: OutcomeRecord,
    /// One record for each sealed epoch, in order.
    pub epochs: Vec<EpochRecord>,
}

impl RunRecord {
    /// Reads a `run.json`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be read, and the errors of
    /// [`from_json`](Self::from_json).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Other, format!("cannot read {}", path.display()))
                .with_source(error)
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the content of a `run.json`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when it has another schema than [`SCHEMA`], and
    /// [`ErrorKind::Corrupt`] when it is not the record of a run.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        Self::parse("the record of the run", text)
    }

    fn parse(name: &str, text: &[u8]) -> Result<Self> {
        /// The schema alone, which every version of the record contains.
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let corrupt = |error| {
            Error::new(ErrorKind::Corrupt, format!("{name} is not the record of a run"))
                .with_source(error)
        };
        let head: Head = serde_json::from_slice(text).map_err(corrupt)?;
        check_schema(name, head.schema)?;
        serde_json::from_slice(text).map_err(corrupt)
    }
}

/// Returns an error for a file with another schema.
pub(super) fn check_schema(name: &str, schema: u32) -> Result<()> {
    if schema == SCHEMA {
        return Ok(());
    }
    Err(Error::rejected(format!(
        "{name} has schema {schema}, and this version of Siren reads schema {SCHEMA}: use the version of \
         Siren that wrote it, or run the training again"
    )))
}

/// The sizes of a run's model and data, its metrics, and its platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The number of parameters.
    pub parameters: u64,
    /// The number of training examples.
    pub examples: u64,
    /// The number of held-out examples.
    pub held_out: u64,
    /// The hash of the model's layout, in hexadecimal.
    pub layout: String,
    /// The fingerprint of the training data, in hexadecimal. Empty in a record that was written
    /// before there were fingerprints.
    #[serde(default)]
    pub data_fingerprint: String,
    /// The metrics that the run measured, and the direction in which each improves.
    pub metrics: BTreeMap<String, Better>,
    /// Limits and prices. If `estimated` is true, costs are what the same work would cost on this
    /// platform.
    pub platform: Platform,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// The reason for the end.
    pub reason: StopReason,
    /// Details of the reason, if there are any.
    pub detail: Option<String>,
    /// The last evaluation.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The time from the first launch to the end, evaluation included; for a resumed run the sum
    /// over its parts.
    pub elapsed_s: f64,
    /// The money spent.
    pub cost_usd: f64,
}

/// One sealed epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// The number of workers that ran.
    pub workers: u32,
    /// The number of workers that the scheduler requested; more than `workers` when there were
    /// fewer batches or not enough money.
    pub workers_asked: u32,
    /// The memory of each worker, in MB.
    pub memory_mb: u32,
    /// The number of batches that an update covered, if the scheduler chose it. Otherwise that of
    /// the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_steps: Option<u64>,
    /// The learning rate.
    pub learning_rate: f32,
    /// The evaluation after the epoch.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The mean training loss during the epoch.
    pub train_loss: f64,
    /// The time from launch to seal, without the evaluation: P_t.
    pub elapsed_s: f64,
    /// The time of the evaluation after the epoch.
    pub evaluate_s: f64,
    /// The time spent waiting for data, mean over the workers: P^F.
    pub fetch_s: f64,
    /// The time spent computing, mean over the workers: P^C.
    pub compute_s: f64,
    /// The time spent waiting for a free vCPU, mean over the workers: zero where every worker has
    /// its own machine.
    pub queue_s: f64,
    /// The time spent pulling and pushing, mean over the workers: P^U.
    pub update_s: f64,
    /// The time spent in pulls waiting for the rounds of other workers, or for aggregators, mean over
    /// the workers: zero under hybrid mode without aggregators.
    #[serde(default)]
    pub round_wait_s: f64,
    /// The time between a worker's end and the last worker's end, mean over the workers.
    pub wait_s: f64,
    /// CPU time divided by execution time, mean over the workers.
    pub cpu_utilisation: f64,
    /// Peak memory divided by allocated memory, mean over the workers.
    pub memory_utilisation: f64,
    /// `true` if the peak memory is a share of one process that contains all workers.
    pub memory_shared: bool,
    /// The number of updates that counted.
    pub updates: u64,
    /// The number of batches that counted.
    pub batches: u64,
    /// `true` if every batch counted; otherwise money or time ran out.
    pub complete: bool,
    /// The number of invocations beyond one for each worker.
    pub retries: u32,
    /// The mean staleness of the updates, in updates.
    pub staleness_mean: f64,
    /// The largest staleness of an update, in updates.
    pub staleness_max: u64,
    /// The mean factor of the updates' steps: 1 without the noise rule.
    #[serde(default = "one")]
    pub step_factor: f64,
    /// The progress of the epoch, in passes over the data: the sum of each update's examples times
    /// its efficiency, divided by the examples of a pass.
    #[serde(default = "one")]
    pub progress: f64,
    /// The noise scale of the gradients, if it was measured.
    #[serde(default)]
    pub noise_scale: Option<NoiseScale>,
    /// The number of aggregators running at a time: zero where the store applies updates itself.
    #[serde(default)]
    pub aggregators: u32,
    /// The number of invocations beyond one for each aggregator.
    #[serde(default)]
    pub aggregator_retries: u32,
    /// The cost of the aggregators, contained in `cost_usd`.
    #[serde(default)]
    pub aggregator_cost_usd: f64,
    /// The cost of the driver's requests and of the bytes that left the region for it, contained in
    /// `cost_usd`.
    #[serde(default)]
    pub driver_cost_usd: f64,
    /// The number of bytes that left the region.
    #[serde(default)]
    pub egress_bytes: u64,
    /// The number of invocations whose billed time was computed because the platform did not report
    /// it.
    #[serde(default)]
    pub computed_bills: u64,
    /// The cost of the epoch.
    pub cost_usd: f64,
    /// The money left after the epoch, if there is a budget.
    pub budget_left_usd: Option<f64>,
}

/// The step factor and the progress in records from before they were measured.
fn one() -> f64 {
    1.0
}

/// One line of `history.jsonl`, which is written during the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryEvent {
    /// A run started or was resumed at this epoch.
    Started {
        /// The version of the schema of all events up to the next start, [`SCHEMA`].
        schema: u32,
        /// The next epoch.
        epoch: u64,
    },
    /// Money was reserved before a launch.
    Reserved {
        /// The epoch.
        epoch: u64,
        /// The amount.
        usd: f64,
    },
    /// An epoch's reservation was settled: `usd` was spent, the rest is released.
    Settled {
        /// The epoch.
        epoch: u64,
        /// The amount spent.
        usd: f64,
    },
    /// An invocation failed and its shard is retried.
    Retried {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// The number of earlier attempts.
        attempt: u32,
        /// The error message.
        error: String,
    },
    /// An aggregator ended before its epoch and is launched again.
    AggregatorRetried {
        /// The epoch.
        epoch: u64,
        /// The aggregator.
        aggregator: u32,
        /// The number of earlier launches.
        attempt: u32,
        /// The error message.
        error: String,
    },
    /// An epoch was sealed and evaluated.
    Epoch(Box<EpochRecord>),
    /// The run ended.
    Finished(OutcomeRecord),
}

impl HistoryEvent {
    /// The first event of a run, or of a part of it that was resumed.
    pub(crate) fn started(epoch: u64) -> Self {
        Self::Started { schema: SCHEMA, epoch }
    }
}
