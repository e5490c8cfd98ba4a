//! The parts of a run, and its result.

use std::sync::Arc;

use siren_core::{Backend, DataSource, Outcome, ParameterStore, Scheduler, Workload};

use crate::RunRecord;

/// The parts of a run.
pub struct TrainerParts {
    /// The workload to train.
    pub workload: Arc<dyn Workload>,
    /// The training data; the backend's workers must read the same.
    pub train: Arc<dyn DataSource>,
    /// The data for the evaluation at every barrier; without it, the mean training loss is used.
    pub held_out: Option<Arc<dyn DataSource>>,
    /// The parameter store; the backend's workers must use the same. It contains the initial
    /// parameters.
    pub store: Arc<dyn ParameterStore>,
    /// The backend, which runs the workers.
    pub backend: Arc<dyn Backend>,
    /// The scheduler, which allocates workers and memory.
    pub scheduler: Box<dyn Scheduler>,
}

/// The result of a run.
#[derive(Debug)]
pub struct TrainingResult {
    /// The end of the run.
    pub outcome: Outcome,
    /// The whole run: the content of `run.json`.
    pub record: RunRecord,
    /// The parameters at the last barrier.
    pub values: Vec<f32>,
    /// `true` if this run, or the run that it resumes, launched an epoch. Otherwise `run.json` and
    /// the checkpoint were not written, and the files of an earlier run are unchanged. A new output
    /// folder then has only an empty `history.jsonl`.
    pub started: bool,
}
