//! Schedulers for Siren. A scheduler chooses the number of functions and their memory size for each
//! epoch, so that a job reaches its target loss as fast as possible within a budget.
//!
//! A [`JobModel`] gives the time, cost and progress of an epoch in closed form. It can be written
//! by hand, [predicted](JobModel::predicted) for a workload on a platform, or
//! [fitted](JobModel::fit) to runs. An [`Environment`] simulates the job with the conventions of
//! Gymnasium.
//!
//! Baselines: [`optimum`] computes a bound that no scheduler can beat in expectation.
//! [`grid_over_functions`] and [`grid_over_allocations`] find the best constant allocation.
//! [`bayesian_search`] searches for it by trial.
//!
//! Schedulers: a [`Planner`] plans the rest of a job before each epoch, by a model that it corrects
//! with its observations, the [`Belief`]. [`Adaptive`] also refits the model. [`Probing`] first
//! runs given allocations and then fits a model to them. An `agent::Agent` is a policy that learned
//! in environments.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adaptive;
#[cfg(feature = "agent")]
pub mod agent;
mod bayes;
mod belief;
mod bounds;
mod choice;
mod env;
mod fit;
mod grid;
mod history;
pub mod model;
mod optimum;
mod planner;
mod play;
mod probe;
mod reference;
mod sample_tasks;
mod solve;
mod state;
mod task;

pub use adaptive::Adaptive;
pub use bayes::{BayesianSearch, Trial, bayesian_search};
pub use belief::Belief;
pub use bounds::Bounds;
pub use env::{
    Environment, SavedEnvironment, SavedVectorEnvironment, Step, StepInfo, VectorEnvironment,
};
pub use fit::{FitError, FitQuality, FittedModel};
pub use grid::{
    Demand, GridOverFunctions, StaticAllocation, grid_over_allocations, grid_over_functions,
};
pub use history::RunHistory;
pub use model::{JobModel, PROFILES};
pub use optimum::{OpenLoop, Optimum, check_budget, minimum_cost, optimum};
pub use planner::Planner;
pub use play::{Episode, Score, play};
pub use probe::Probing;
pub use sample_tasks::sample_tasks;
pub use state::State;
pub use task::{Reward, SchedulingTask};
