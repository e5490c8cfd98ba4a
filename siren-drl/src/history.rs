//! Records of real runs.

use std::collections::BTreeMap;
use std::path::Path;

use siren_core::{Error, ErrorKind, Evaluation, Observation, Platform, Result, Usd};
use siren_hsp::{Checkpoint, Config, EpochRecord, HistoryEvent, RunRecord, read_history};

use crate::state::State;

/// The records of one or more runs of the same workload on the same platform, to which a
/// [`JobModel`](crate::JobModel) is fitted.
#[derive(Clone, Debug, Default)]
pub struct RunHistory {
    pub(crate) runs: Vec<Run>,
}

/// The data of one run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) parameters: Option<u64>,
    pub(crate) platform: Option<Platform>,
    pub(crate) config: Option<Config>,
    /// The loss before the first epoch.
    pub(crate) initial: Option<f64>,
    pub(crate) epochs: Vec<EpochRecord>,
}

impl From<RunRecord> for RunHistory {
    fn from(record: RunRecord) -> Self {
        let mut history = Self::default();
        history.push(record);
        history
    }
}

impl From<Vec<EpochRecord>> for RunHistory {
    /// A run of which only the epochs are known.
    fn from(epochs: Vec<EpochRecord>) -> Self {
        let run = Run { parameters: None, platform: None, config: None, initial: None, epochs };
        Self { runs: vec![run] }
    }
}

impl RunHistory {
    /// Reads the run in `folder`, from `run.json`. If the run is not finished or was killed, it is
    /// read from `history.jsonl` and, if there is one, the `checkpoint`; the platform is then not
    /// known.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when there is no such file or one cannot be read, and
    /// [`ErrorKind::Corrupt`] when a file's content is invalid.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let (whole, lines) = (folder.join("run.json"), folder.join("history.jsonl"));
        if !lines.exists() && !whole.exists() {
            return Err(Error::new(
                ErrorKind::Other,
                format!(
                    "{} holds neither run.json nor history.jsonl: give the folder of a run",
                    folder.display()
                ),
            ));
        }
        let lines = if lines.exists() { read_history(lines)? } else { Vec::new() };
        let under_way =
            !lines.is_empty() && !matches!(lines.last(), Some(HistoryEvent::Finished(_)));
        // Beside the history of an unfinished run, `run.json` belongs to an earlier run.
        if whole.exists() && !under_way {
            return RunRecord::load(&whole).map(Self::from);
        }
        // A run that was killed between an epoch's line and its checkpoint ran that epoch again.
        let mut epochs = BTreeMap::new();
        for line in lines {
            if let HistoryEvent::Epoch(epoch) = line {
                epochs.insert(epoch.epoch, *epoch);
            }
        }
        let checkpoint = Checkpoint::load(folder).ok();
        let run = Run {
            parameters: checkpoint.as_ref().map(|checkpoint| checkpoint.values().len() as u64),
            platform: None,
            config: checkpoint.as_ref().map(|checkpoint| checkpoint.config().clone()),
            initial: checkpoint.as_ref().map(|checkpoint| checkpoint.initial().loss),
            epochs: epochs.into_values().collect(),
        };
        Ok(Self { runs: vec![run] })
    }

    /// Adds a run of the same workload.
    pub fn push(&mut self, record: RunRecord) {
        self.runs.push(Run {
            parameters: Some(record.info.parameters),
            platform: Some(record.info.platform),
            config: Some(record.config),
            initial: Some(record.initial.loss),
            epochs: record.epochs,
        });
    }

    /// Adds the runs of another history of the same workload.
    pub fn append(&mut self, other: Self) {
        self.runs.extend(other.runs);
    }

    /// The number of epochs of all runs.
    pub fn epochs(&self) -> usize {
        self.runs.iter().map(|run| run.epochs.len()).sum()
    }

    /// The first `thirds` thirds of each run's epochs.
    pub(crate) fn thirds(&self, thirds: usize) -> Self {
        let part = |run: &Run| {
            let mut run = run.clone();
            run.epochs.truncate((run.epochs.len() * thirds).div_ceil(3));
            run
        };
        Self { runs: self.runs.iter().map(part).collect() }
    }

    /// Checks that a model can be fitted to the history.
    pub(crate) fn check(&self) -> Result<()> {
        if self.epochs() == 0 {
            return Err(Error::rejected(
                "the history has no epoch: give a run that sealed at least one",
            ));
        }
        for epoch in self.runs.iter().flat_map(|run| &run.epochs) {
            let times = epoch.fetch_s + epoch.compute_s + epoch.update_s + epoch.wait_s;
            for (name, value, least) in [
                ("loss", epoch.evaluation.loss, f64::NEG_INFINITY),
                ("elapsed_s", epoch.elapsed_s, f64::MIN_POSITIVE),
                ("cost_usd", epoch.cost_usd, 0.0),
                ("time of fetch, compute, update and wait", times, 0.0),
            ] {
                if !value.is_finite() || value < least {
                    return Err(Error::rejected(format!(
                        "the {name} of epoch {} is {value}: give a history that ends before it",
                        epoch.epoch
                    )));
                }
            }
            if epoch.workers == 0 || epoch.memory_mb == 0 {
                return Err(Error::rejected(format!(
                    "epoch {} ran {} workers of {} MB: give a history whose epochs ran",
                    epoch.epoch, epoch.workers, epoch.memory_mb
                )));
            }
        }
        let mut sizes = self.runs.iter().filter_map(|run| run.parameters);
        if let Some(first) = sizes.next()
            && let Some(other) = sizes.find(|&other| other != first)
        {
            return Err(Error::rejected(format!(
                "the runs trained models of {first} and {other} parameters: fit each workload separately"
            )));
        }
        Ok(())
    }
}

/// The record of the epoch before an observation, with this cost. `None` if there was no epoch.
pub(crate) fn observed(after: &Observation, cost_usd: f64) -> Option<EpochRecord> {
    let State { epoch, loss, elapsed_s, fetch_s, compute_s, update_s, memory, cpu, .. } =
        State::observed(after);
    let allocation = after.allocation?;
    Some(EpochRecord {
        epoch: epoch.saturating_sub(1),
        workers: allocation.workers,
        workers_asked: allocation.workers,
        memory_mb: allocation.memory_mb,
        local_steps: allocation.local_steps,
        learning_rate: 0.0,
        evaluation: Evaluation::new(loss),
        train_loss: loss,
        elapsed_s,
        evaluate_s: 0.0,
        fetch_s,
        compute_s,
        queue_s: 0.0,
        update_s,
        round_wait_s: 0.0,
        wait_s: after.phases.map_or(0.0, |phases| phases.wait.as_secs_f64()),
        cpu_utilisation: cpu,
        memory_utilisation: memory,
        memory_shared: false,
        updates: 0,
        batches: 0,
        complete: true,
        retries: 0,
        staleness_mean: 0.0,
        staleness_max: 0,
        step_factor: after.step_factor.unwrap_or(1.0),
        progress: after.progress.unwrap_or(0.0),
        noise_scale: after.noise,
        aggregators: 0,
        aggregator_retries: 0,
        aggregator_cost_usd: 0.0,
        driver_cost_usd: 0.0,
        egress_bytes: 0,
        computed_bills: 0,
        cost_usd: cost_usd.max(0.0),
        budget_left_usd: after.budget_left.map(Usd::dollars),
    })
}
