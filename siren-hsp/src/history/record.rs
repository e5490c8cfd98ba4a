//! What a run leaves behind, as plain data: the schema of `run.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use siren_core::{Better, Error, ErrorKind, Evaluation, Platform, Result, StopReason};

use crate::Config;

/// The version of the schema that this library writes.
pub const SCHEMA: u32 = 2;

/// A whole run: the content of `run.json`. All times are in seconds, all money in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this schema, [`SCHEMA`].
    pub schema: u32,
    /// The name of the run.
    pub run: String,
    /// What the workload, the data and the machine were.
    pub info: RunInfo,
    /// What the trainer was told.
    pub config: Config,
    /// How the model was before the first epoch.
    pub initial: Evaluation,
    /// How the run ended.
    pub outcome: OutcomeRecord,
    /// One record for each sealed epoch, in order.
    pub epochs: Vec<EpochRecord>,
}

impl RunRecord {
    /// Reads a `run.json`.
    ///
    /// # Errors
    ///
    /// Other when the file cannot be read; otherwise as [`from_json`](Self::from_json).
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
    /// Rejected when it has another schema than [`SCHEMA`]; corrupt when it is not the record of a run.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        Self::parse("the record of the run", text)
    }

    fn parse(name: &str, text: &[u8]) -> Result<Self> {
        /// The schema alone, which every version of the record has.
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

/// Refuses a file of another schema.
pub(super) fn check_schema(name: &str, schema: u32) -> Result<()> {
    if schema == SCHEMA {
        return Ok(());
    }
    Err(Error::rejected(format!(
        "{name} has schema {schema}, and this version of Siren reads schema {SCHEMA}: use the version of \
         Siren that wrote it, or run the training again"
    )))
}

/// What was trained, on what, and where.
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
    /// The metrics that the run measured, and the direction in which each improves.
    pub metrics: BTreeMap<String, Better>,
    /// Limits and prices; `estimated` says that costs are only what the same work would cost there.
    pub platform: Platform,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// Why it ended.
    pub reason: StopReason,
    /// More about the reason, where there is more to say.
    pub detail: Option<String>,
    /// The last evaluation.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// From the first launch to the end, evaluation included; a resumed run's parts added up.
    pub elapsed_s: f64,
    /// Money spent.
    pub cost_usd: f64,
}

/// One sealed epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// Workers that ran.
    pub workers: u32,
    /// Workers that the scheduler asked for; more than `workers` when there were fewer batches or
    /// less money.
    pub workers_asked: u32,
    /// Memory of each, in MB.
    pub memory_mb: u32,
    /// The learning rate.
    pub learning_rate: f32,
    /// The evaluation after the epoch.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The mean training loss during the epoch.
    pub train_loss: f64,
    /// From launch to seal, without the evaluation: P_t.
    pub elapsed_s: f64,
    /// The evaluation after the epoch.
    pub evaluate_s: f64,
    /// Waiting for data, mean over the workers: P^F.
    pub fetch_s: f64,
    /// Computing, mean over the workers: P^C.
    pub compute_s: f64,
    /// Waiting for a place to compute, mean over the workers: none where every worker has a machine of
    /// its own.
    pub queue_s: f64,
    /// Pulling and pushing, mean over the workers: P^U.
    pub update_s: f64,
    /// Waiting in pulls for the rounds of other workers, mean over the workers: none under hybrid
    /// synchrony.
    #[serde(default)]
    pub round_wait_s: f64,
    /// Being done before the last worker was, mean over the workers.
    pub wait_s: f64,
    /// CPU time over execution time, mean over the workers.
    pub cpu_utilisation: f64,
    /// Peak memory over memory asked for, mean over the workers.
    pub memory_utilisation: f64,
    /// Whether the peak memory is a share of one process that all workers live in.
    pub memory_shared: bool,
    /// Updates that counted.
    pub updates: u64,
    /// Batches that counted.
    pub batches: u64,
    /// Whether every batch counted; otherwise money or time ran out.
    pub complete: bool,
    /// Invocations beyond one for each worker.
    pub retries: u32,
    /// Mean staleness of the updates, in updates.
    pub staleness_mean: f64,
    /// Largest staleness of an update, in updates.
    pub staleness_max: u64,
    /// Aggregators that ran at a time: none where the store applies updates itself.
    #[serde(default)]
    pub aggregators: u32,
    /// Invocations beyond one for each aggregator.
    #[serde(default)]
    pub aggregator_retries: u32,
    /// Money that the aggregators cost; it is part of `cost_usd`.
    #[serde(default)]
    pub aggregator_cost_usd: f64,
    /// What the driver's own part cost: its requests, and the bytes that left the region. In `cost_usd`.
    #[serde(default)]
    pub driver_cost_usd: f64,
    /// Bytes that left the region.
    #[serde(default)]
    pub egress_bytes: u64,
    /// Invocations whose billed time was computed, since the platform did not report it.
    #[serde(default)]
    pub computed_bills: u64,
    /// Money that the epoch cost.
    pub cost_usd: f64,
    /// Money left afterwards, if there is a budget.
    pub budget_left_usd: Option<f64>,
}

/// One line of `history.jsonl`, which is written while the run goes on.
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
    /// Money was set aside before a launch.
    Reserved {
        /// The epoch.
        epoch: u64,
        /// How much.
        usd: f64,
    },
    /// What was set aside for an epoch was settled: `usd` was spent, the rest is free again.
    Settled {
        /// The epoch.
        epoch: u64,
        /// How much was spent.
        usd: f64,
    },
    /// An invocation failed and its shard is tried again.
    Retried {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// How often it was tried before.
        attempt: u32,
        /// Why.
        error: String,
    },
    /// An aggregator ended before its epoch did, and is launched again.
    AggregatorRetried {
        /// The epoch.
        epoch: u64,
        /// The aggregator.
        aggregator: u32,
        /// How often it was launched before.
        attempt: u32,
        /// Why.
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
