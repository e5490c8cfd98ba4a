//! Train machine-learning models on a swarm of serverless functions.
//!
//! Many functions compute gradients on parts of the data and share the parameters through a store.
//! Before each epoch a scheduler chooses the number of functions and their memory, within a time
//! limit and a budget.
//!
//! ```
//! use std::sync::Arc;
//! use siren::{data::MemorySource, prelude::*};
//!
//! /// Learns the mean of the data.
//! struct Mean(Layout);
//!
//! impl Workload for Mean {
//!     fn layout(&self) -> &Layout {
//!         &self.0
//!     }
//!     fn init(&self, _: Seed) -> Result<Vec<f32>> {
//!         Ok(vec![0.0])
//!     }
//!     fn gradient(&self, w: &[f32], batch: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
//!         let errors: Vec<f32> = batch.floats(1)?.iter().map(|x| w[0] - x).collect();
//!         g[0] = errors.iter().sum::<f32>() / errors.len() as f32;
//!         Ok(f64::from(errors.iter().map(|e| e * e / 2.0).sum::<f32>()) / errors.len() as f64)
//!     }
//!     fn evaluate(&self, w: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
//!         let loss = batch.floats(1)?.iter().map(|x| f64::from(w[0] - x).powi(2) / 2.0).sum();
//!         metrics.add_loss(batch.examples as u64, loss);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let workload = Arc::new(Mean(Layout::flat("mean", 1)?));
//! let train = Arc::new(MemorySource::from_floats(&[2.0; 1_024], 1)?);
//! let trainer = siren::local(workload, train, None)
//!     .scheduler(FixedScheduler::new(4, 1_792)) // four workers of 1,792 MB
//!     .build()?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let result = trainer.run().await?;
//! println!("{}: loss {}", result.outcome.reason, result.outcome.evaluation.loss);
//! # assert!(result.outcome.evaluation.loss < 1e-3);
//! # Ok::<(), Error>(())
//! # })
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds | default |
//! | --- | --- | --- |
//! | `local` | `siren::local`: workers in this process | yes |
//! | `sim` | `siren::simulated` and `siren::sim`: workers on simulated AWS Lambda and S3 | no |
//! | `lambda` | `siren::lambda`: workers on AWS Lambda, parameters and data on S3 | no |
//! | `function` | `siren::lambda::serve`: the binary that AWS Lambda runs | no |
//! | `burn` | `siren::burn`: any burn module as a workload | no |
//! | `linear` | `siren::linear`: logistic regression of dense and sparse features | no |
//! | `planner` | `siren::drl`: models of jobs, the planner, the optimum as a reference | no |
//! | `drl` | the learned scheduler, on burn; includes `planner` | no |
//! | `report` | `siren::report`: one self-contained HTML page for a run | no |
//! | `conformance` | `siren::conformance`: test suites for your own implementations | no |
//!
//! The default features compile neither burn nor a cloud SDK.
//!
//! # Modules
//!
//! | module | contains |
//! | --- | --- |
//! | [`prelude`] | the names that most programs need |
//! | [`data`] | data sources and readers |
//! | [`metrics`] | sums over examples, from which an evaluation is computed |
//! | [`store`] | the parameter store, its implementations, and the objects below it |
//! | [`backend`] | backends, which run the workers |
//! | [`scheduler`] | schedulers, and their observations |
//! | [`platform`] | limits, prices and timings of platforms |
//! | [`preview`] | time and cost of a job before it runs |
#![cfg_attr(doc, doc = "| [`guide`] | the documents of the repository |")]
//!
//! An epoch is Hybrid Synchronous Parallel SGD: all workers start together and end together. In
//! between, each pulls parameters and pushes updates without waiting. It follows the system SIREN
//! of the paper "Distributed Machine Learning with a Serverless Architecture" (Wang, Niu, Li,
//! INFOCOM 2019). [`SyncMode`] offers bulk and stale modes for comparison.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "local", feature = "sim", feature = "lambda"))]
mod builder;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(any(feature = "lambda", feature = "function"))]
pub mod lambda;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "sim")]
mod simulated;

/// Needed before each `impl` of an async trait, such as [`store::ParameterStore`] or
/// [`backend::Backend`].
pub use async_trait::async_trait;
#[cfg(any(feature = "local", feature = "sim", feature = "lambda"))]
pub use builder::TrainerBuilder;
#[cfg(feature = "local")]
pub use local::{LocalOptions, local};
#[cfg(feature = "sim")]
pub use simulated::{SimOptions, SimTrainer, simulated};
#[cfg(feature = "conformance")]
pub use siren_core::conformance;
pub use siren_core::{
    Compression, Error, ErrorKind, Layout, Noise, NoiseScale, Optimizer, Outcome, Result, Seed,
    StopReason, Stream, SyncMode, TensorSpec, Usd, Workload,
};
pub use siren_hsp::{
    Checkpoint, Config, EpochRecord, Event, FixedScheduler, HistoryEvent, LearningRate, Ledger,
    LrClock, LrDecay, Observer, OutcomeRecord, PhasedScheduler, Reservation, Retry, RunInfo,
    RunRecord, SCHEMA, StopHandle, StopRules, Trainer, TrainerParts, TrainingResult, evaluate,
    preview, read_history,
};

#[cfg(feature = "sim")]
pub use siren_backend_sim as sim;
#[cfg(feature = "burn")]
pub use siren_burn as burn;
#[cfg(feature = "planner")]
pub use siren_drl as drl;
#[cfg(feature = "linear")]
pub use siren_linear as linear;
#[cfg(feature = "report")]
pub use siren_report as report;

/// The names that most programs need. None of them clashes with `burn::prelude`.
///
/// ```
/// use siren::prelude::*;
/// let stop = StopRules { epochs: 3, budget: Some(Usd::new(0.5)), ..StopRules::default() };
/// assert_eq!(stop.epochs, 3);
/// ```
pub mod prelude {
    pub use crate::data::DataSource;
    pub use crate::metrics::{Evaluation, Metrics};
    pub use crate::{
        Error, FixedScheduler, Layout, Optimizer, Result, Seed, StopRules, SyncMode, Trainer,
        TrainingResult, Usd, Workload,
    };
    pub use siren_core::Batch;
}

/// Data sources and readers.
pub mod data {
    pub use siren_core::{Batch, DataSource};
    pub use siren_data::*;
    pub use siren_hsp::fingerprint;
}

/// Sums over examples, from which an evaluation is computed.
pub mod metrics {
    pub use siren_core::{Better, Evaluation, Metrics};
}

/// The parameter store, its implementations, and the objects below it.
pub mod store {
    pub use siren_core::objects::{Fetched, Listed, Objects, ObjectsDecorator, Tag, Written};
    pub use siren_core::{
        Aggregation, Entry, EpochPlan, EpochSummary, Gradient, ParameterStore, PullOutcome,
        PushOutcome, Replica, RequestCosts, Requests, Snapshot, SparseGradient, SparseSlice,
        Staleness, Status, StoreDecorator, Update, UpdateId, Watermark, wire,
    };
    pub use siren_hsp::{MemoryObjects, MemoryStore, ObjectOptions, ObjectStore};
}

/// Backends, which run the workers.
pub mod backend {
    #[cfg(feature = "local")]
    pub use siren_backend_local::LocalBackend;
    pub use siren_core::{
        Backend, BackendDecorator, Clock, Completion, ComputeTask, Context, DriverUsage,
        Invocation, Role, Time, Usage, Work, Worker, WorkerReport, compute,
    };
    #[cfg(any(feature = "local", feature = "lambda"))]
    pub use siren_function::WallClock;
    pub use siren_hsp::ShardWorker;
}

/// Schedulers, and their observations.
pub mod scheduler {
    pub use siren_core::{
        Allocation, Job, Observation, Outcome, Phases, Scheduler, SchedulerDecorator, StopReason,
        Utilisation,
    };
    pub use siren_hsp::{FixedScheduler, PhasedScheduler};
}

/// Limits, prices and timings of platforms.
pub mod platform {
    pub use siren_core::platform::*;
    pub use siren_core::{Requests, Usd};
}
