//! The contracts of Siren.
//!
//! Siren trains a model with data-parallel mini-batch SGD on many stateless functions. The design
//! has six parts. This crate defines all of them but the trainer:
//!
//! | part | type | purpose |
//! | --- | --- | --- |
//! | workload | [`Workload`] | a model: a differentiable loss over mini-batches |
//! | parameter store | [`ParameterStore`] | holds the parameters: open, pull, push, seal |
//! | worker | [`Worker`] | runs in one function invocation, through its [`Context`] |
//! | backend | [`Backend`] | runs workers, and knows their limits and prices |
//! | scheduler | [`Scheduler`] | chooses the number of workers and their memory for each epoch |
//! | trainer | `siren_hsp::Trainer` | runs the loop over epochs |
//!
//! The other contracts: a parameter store in shared storage uses [`objects`]. A [`DataSource`]
//! provides a worker's examples. A [`Clock`] is the only source of time, and a [`Seed`] the only
//! source of randomness. A [`Platform`] holds limits and prices.
//!
//! Each of these traits can be used as a trait object, so that a program chooses backend, store and
//! scheduler at run time. To wrap a store, a backend or a scheduler, implement [`StoreDecorator`],
//! [`BackendDecorator`] or [`SchedulerDecorator`]: each method that the wrapper does not override
//! calls the wrapped one.
//!
//! This crate depends on no async runtime, machine-learning framework or cloud SDK.
//!
//! The feature `conformance` adds the module of that name. It holds test suites that every
//! implementation of a contract must pass.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod data;
mod decorate;
mod error;
mod evaluation;
pub mod file;
mod layout;
mod metrics;
mod money;
mod noise;
pub mod objects;
mod optimizer;
mod plan;
pub mod platform;
mod scheduler;
pub mod seconds;
mod seed;
mod snapshot;
mod store;
mod sync_mode;
mod update;
pub mod wire;
mod worker;
mod workload;

pub use backend::{Backend, Completion, DriverUsage};
pub use clock::{Clock, Time};
pub use data::{Batch, DataSource};
pub use decorate::{BackendDecorator, SchedulerDecorator, StoreDecorator};
pub use error::{Error, ErrorKind, Result};
pub use evaluation::{Better, Evaluation};
pub use layout::{Layout, TensorSpec};
pub use metrics::Metrics;
pub use money::{Requests, Usd};
pub use noise::{Noise, NoiseAverages, NoiseScale};
pub use optimizer::{Compression, Optimizer};
pub use plan::EpochPlan;
pub use platform::{Limits, Machine, Platform, Prices, Profile, StepTime};
pub use scheduler::{
    Allocation, Job, Observation, Outcome, Phases, Scheduler, StopReason, Utilisation,
};
pub use seed::{Seed, Stream};
pub use snapshot::Snapshot;
pub use store::{
    Aggregation, EpochSummary, ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts,
    Staleness, Status, Watermark,
};
pub use sync_mode::SyncMode;
pub use update::{Entry, Gradient, SparseGradient, SparseSlice, Update, UpdateId};
pub use worker::{
    ComputeTask, Context, Invocation, Role, Usage, Work, Worker, WorkerReport, compute,
};
pub use workload::Workload;
