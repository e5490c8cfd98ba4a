//! The contracts of Siren.
//!
//! Siren trains a model with data-parallel mini-batch SGD on a swarm of stateless functions. Six
//! nouns carry the design, and each is a module here:
//!
//! | noun | trait | what it is |
//! | --- | --- | --- |
//! | workload | [`Workload`] | what is learned: a differentiable loss over mini-batches |
//! | parameter store | [`ParameterStore`] | where the parameters live: open, pull, push, seal |
//! | worker | [`Worker`] | what runs in one function invocation, through its [`Context`] |
//! | backend | [`Backend`] | where workers run, what they may ask for, what they cost |
//! | scheduler | [`Scheduler`] | how many workers of what memory size in the next epoch |
//! | trainer | `siren_hsp::Trainer` | the loop over epochs |
//!
//! Around them: a parameter store in shared storage needs [`objects`], a [`DataSource`] feeds a worker,
//! a [`Clock`] is the only source of time, a [`Platform`] knows limits and prices, and a [`Seed`] is the
//! only source of randomness.
//!
//! Every trait can be used as a trait object; backend, store and scheduler are chosen at run time.
//! [`StoreDecorator`], [`BackendDecorator`] and [`SchedulerDecorator`] are for those that wrap another
//! one: they delegate whatever the wrapper does not override.
//!
//! Nothing here depends on an async runtime, a machine-learning framework or a cloud SDK.
//!
//! The feature `conformance` adds the module of that name: the facts that every
//! implementation of a contract must satisfy, as test functions and macros.

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
pub mod objects;
mod optimizer;
mod plan;
pub mod platform;
mod scheduler;
pub mod seconds;
mod seed;
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
pub use optimizer::{Compression, Optimizer};
pub use plan::EpochPlan;
pub use platform::{Limits, Machine, Platform, Prices, Profile, StepTime};
pub use scheduler::{
    Allocation, Job, Observation, Outcome, Phases, Scheduler, StopReason, Utilisation,
};
pub use seed::{Seed, Stream};
pub use store::{
    Aggregation, EpochSummary, ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts,
    Snapshot, Staleness, Status, Watermark,
};
pub use sync_mode::SyncMode;
pub use update::{Entry, Gradient, SparseGradient, SparseSlice, Update, UpdateId};
pub use worker::{
    ComputeTask, Context, Invocation, Role, Usage, Work, Worker, WorkerReport, compute,
};
pub use workload::Workload;
