//! Schedulers on one modelled job within several budgets, beside one another and beside the optimum: what
//! the example `scheduler` consists of.

pub mod baselines;
pub mod figures;
pub mod learning;
pub mod table;
pub mod talk;
pub mod unseen;

use std::sync::Arc;

use serde::Serialize;
use siren_core::{Allocation, Result, Scheduler, Seed};
use siren_drl::{Episode, JobModel, Optimum, SchedulingTask, Score, StaticAllocation, play};

/// The share of episodes that a scheduler which is of use has to bring home.
pub const ENOUGH: f64 = 0.95;

/// What everybody schedules, and how it is judged.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How the job behaves.
    pub model: JobModel,
    /// The job with the first budget.
    pub task: SchedulingTask,
    /// The memory of the grid search over the number of functions.
    pub grid_memory_mb: u32,
    /// Episodes that a scheduler is judged by.
    pub episodes: u64,
    /// Where all randomness comes from.
    pub seed: Seed,
}

impl Terms {
    /// The job within a budget.
    pub fn task(&self, budget_usd: f64) -> Arc<SchedulingTask> {
        Arc::new(self.task.with_budget(budget_usd))
    }

    /// What judged episodes come from: nothing is trained on them, and nothing is chosen by them.
    pub fn judged(&self) -> Seed {
        self.seed.child(0)
    }

    /// What the episodes come from by which allocations are chosen that succeed often enough.
    pub fn chosen(&self) -> Seed {
        self.seed.child(1)
    }

    /// What the trials of a search come from.
    pub fn searched(&self) -> Seed {
        self.seed.child(2)
    }

    /// What a training comes from.
    pub fn trained(&self, number: u64) -> Seed {
        self.seed.child(3).child(number)
    }

    /// The episodes that a scheduler is judged by. It learns of each new job by itself.
    ///
    /// # Errors
    ///
    /// Those of the scheduler.
    pub fn judge(
        &self,
        task: &Arc<SchedulingTask>,
        scheduler: &mut dyn Scheduler,
    ) -> Result<Vec<Episode>> {
        let seed = |episode| self.judged().child(episode);
        (0..self.episodes).map(|episode| play(scheduler, task, seed(episode))).collect()
    }
}

/// How a method does within a budget.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Allocations, time, money, successes.
    #[serde(flatten)]
    pub score: Score,
    /// Seconds over the optimum's lower bound, minus 1.
    pub gap: f64,
    /// What the first episode ran with.
    #[serde(skip)]
    pub allocations: Vec<Allocation>,
}

impl Entry {
    /// Of episodes, in terms of seconds that nobody beats.
    pub fn of(episodes: &[Episode], lower_s: f64) -> Self {
        let score = Score::of(episodes);
        let shown = episodes.iter().find(|episode| episode.success).or(episodes.first());
        let allocations = shown.map(|episode| episode.allocations.clone()).unwrap_or_default();
        Self { score, gap: score.time_s / lower_s - 1.0, allocations }
    }

    /// The optimal schedule, as it is to be expected: it is not played.
    pub fn optimal(optimum: &Optimum) -> Self {
        let episode = Episode {
            success: true,
            time_s: optimum.upper_s,
            cost_usd: optimum.cost_usd,
            allocations: optimum.schedule.clone(),
        };
        Self::of(&[episode], optimum.lower_s)
    }

    /// Whether it succeeds often enough to be of use.
    pub fn succeeds(&self) -> bool {
        self.score.success >= ENOUGH
    }
}

/// All methods within one budget. What is missing was not asked for, or has no allocation that the budget
/// pays for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Budget {
    /// Dollars.
    pub budget_usd: f64,
    /// What the job costs at the least, in expectation and whatever the time.
    pub minimum_cost_usd: f64,
    /// Why the budget does not suffice, if it does not.
    pub reason: Option<String>,
    /// What could not be done, and why.
    pub notes: Vec<String>,
    /// Seconds that no schedule beats in expectation.
    pub lower_bound_s: Option<f64>,
    /// The rows of the talk.
    pub talk: Option<talk::Rows>,
    /// The best number of functions whose expected cost is within the budget, with memory as in the talk.
    pub grid: Option<Entry>,
    /// The same, demanding that it succeeds.
    pub grid_that_succeeds: Option<Entry>,
    /// The best number of functions and memory size whose expected cost is within the budget.
    #[serde(rename = "static")]
    pub fixed: Option<Entry>,
    /// The same, demanding that it succeeds.
    pub static_that_succeeds: Option<Entry>,
    /// What Bayesian optimisation finds by trial, with no more than the trials' episodes.
    pub bayesian: Option<Entry>,
    /// The agent of the seed in the middle, trained from scratch.
    pub agent: Option<Entry>,
    /// The same, trained from what imitating the planner gives.
    pub agent_warm: Option<Entry>,
    /// Planning the rest anew before each epoch.
    pub planner: Option<Entry>,
    /// The optimal schedule.
    pub optimum: Option<Entry>,
    /// The grid search.
    #[serde(skip)]
    pub curve: Vec<StaticAllocation>,
}

impl Budget {
    /// Whether the target can be reached within the budget.
    pub fn is_enough(&self) -> bool {
        self.reason.is_none()
    }

    /// The methods, by name, in the order of the table.
    pub fn methods(&self) -> [(&'static str, Option<&Entry>); 9] {
        [
            ("grid over functions", self.grid.as_ref()),
            ("grid over functions, 95 % demanded", self.grid_that_succeeds.as_ref()),
            ("best static (n, m)", self.fixed.as_ref()),
            ("best static (n, m), 95 % demanded", self.static_that_succeeds.as_ref()),
            ("Bayesian optimisation of (n, m)", self.bayesian.as_ref()),
            ("agent, from scratch", self.agent.as_ref()),
            ("agent, warm-started", self.agent_warm.as_ref()),
            ("planner", self.planner.as_ref()),
            ("optimum, in expectation", self.optimum.as_ref()),
        ]
    }

    /// The share of the time of the grid over functions that a method saves.
    pub fn saved(&self, entry: &Entry) -> Option<f64> {
        self.grid.as_ref().map(|grid| 1.0 - entry.score.time_s / grid.score.time_s)
    }
}
