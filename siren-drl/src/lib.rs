//! Schedulers for Siren: how many functions of what memory size in each epoch, so that a job reaches its
//! target loss as fast as possible within a budget.
//!
//! A [`JobModel`] says in closed form what an epoch takes, costs and brings: one that is given, one that is
//! [predicted](JobModel::predicted) for a workload on a platform, or one that is [fitted](JobModel::fit) to
//! runs. An [`Environment`] plays it, by the conventions of Gymnasium. [`optimum`] says what no scheduler can
//! beat in expectation, [`grid_over_functions`] and [`grid_over_allocations`] what one allocation throughout
//! can do, [`bayesian_search`] how well that is found by trial. A [`Planner`] plans the rest of any job
//! before each epoch, by a model that it corrects as it goes: its [`Belief`]; [`Adaptive`] fits that
//! model anew. An `agent::Agent` learns what
//! to do by trial in environments.

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
