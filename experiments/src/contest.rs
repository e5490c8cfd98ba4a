//! Schedulers on one modelled job within several budgets, compared with one another and with the
//! optimum. The example `scheduler` runs these comparisons.

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

/// The share of episodes in which a useful scheduler succeeds.
pub const ENOUGH: f64 = 0.95;

/// The job that all methods schedule, and the way they are judged.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The model of the job.
    pub model: JobModel,
    /// The job with the first budget.
    pub task: SchedulingTask,
    /// The memory of the grid search over the number of functions.
    pub grid_memory_mb: u32,
    /// The number of episodes that judge a scheduler.
    pub episodes: u64,
    /// The seed of all randomness.
    pub seed: Seed,
}

impl Terms {
    /// Returns the job with another budget.
    pub fn task(&self, budget_usd: f64) -> Arc<SchedulingTask> {
        Arc::new(self.task.with_budget(budget_usd))
    }

    /// The seed of the judged episodes. Nothing is trained on them or chosen by them.
    pub fn judged(&self) -> Seed {
        self.seed.child(0)
    }

    /// The seed of the episodes that select allocations which succeed often enough.
    pub fn chosen(&self) -> Seed {
        self.seed.child(1)
    }

    /// The seed of the trials of a search.
    pub fn searched(&self) -> Seed {
        self.seed.child(2)
    }

    /// The seed of a training.
    pub fn trained(&self, number: u64) -> Seed {
        self.seed.child(3).child(number)
    }

    /// Plays the judged episodes with a scheduler. It notices each new job by itself.
    ///
    /// # Errors
    ///
    /// Returns the errors of the scheduler.
    pub fn judge(
        &self,
        task: &Arc<SchedulingTask>,
        scheduler: &mut dyn Scheduler,
    ) -> Result<Vec<Episode>> {
        let seed = |episode| self.judged().child(episode);
        (0..self.episodes).map(|episode| play(scheduler, task, seed(episode))).collect()
    }
}

/// The result of a method within a budget.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Allocations, time, money, successes.
    #[serde(flatten)]
    pub score: Score,
    /// Seconds divided by the optimum's lower bound, minus 1.
    pub gap: f64,
    /// The allocations of the first episode that succeeded, or else of the first one.
    #[serde(skip)]
    pub allocations: Vec<Allocation>,
}

impl Entry {
    /// The result of these episodes, compared with a lower bound in seconds.
    pub fn of(episodes: &[Episode], lower_s: f64) -> Self {
        let score = Score::of(episodes);
        let shown = episodes.iter().find(|episode| episode.success).or(episodes.first());
        let allocations = shown.map(|episode| episode.allocations.clone()).unwrap_or_default();
        Self { score, gap: score.time_s / lower_s - 1.0, allocations }
    }

    /// The expected result of the optimal schedule, which is not played.
    pub fn optimal(optimum: &Optimum) -> Self {
        let episode = Episode {
            success: true,
            time_s: optimum.upper_s,
            cost_usd: optimum.cost_usd,
            allocations: optimum.schedule.clone(),
        };
        Self::of(&[episode], optimum.lower_s)
    }

    /// `true` if it succeeds often enough to be useful.
    pub fn succeeds(&self) -> bool {
        self.score.success >= ENOUGH
    }
}

/// All methods within one budget. A method is missing if it was not requested, or if the budget
/// does not pay for any of its allocations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Budget {
    /// Dollars.
    pub budget_usd: f64,
    /// The least expected cost of the job, however long it takes.
    pub minimum_cost_usd: f64,
    /// The reason if the budget does not suffice.
    pub reason: Option<String>,
    /// Remarks, such as methods that were not possible and the reason.
    pub notes: Vec<String>,
    /// Seconds that no schedule beats in expectation.
    pub lower_bound_s: Option<f64>,
    /// The rows of the talk.
    pub talk: Option<talk::Rows>,
    /// The best number of functions whose expected cost is within the budget, with memory as in the
    /// talk.
    pub grid: Option<Entry>,
    /// The same among those that succeed often enough.
    pub grid_that_succeeds: Option<Entry>,
    /// The best number of functions and memory size whose expected cost is within the budget.
    #[serde(rename = "static")]
    pub fixed: Option<Entry>,
    /// The same among those that succeed often enough.
    pub static_that_succeeds: Option<Entry>,
    /// The allocation that Bayesian optimisation finds from its trials alone.
    pub bayesian: Option<Entry>,
    /// The agent of the median seed, trained from scratch.
    pub agent: Option<Entry>,
    /// The same, where training starts from an imitation of the planner.
    pub agent_warm: Option<Entry>,
    /// The planner, which plans the rest of the job again before each epoch.
    pub planner: Option<Entry>,
    /// The optimal schedule.
    pub optimum: Option<Entry>,
    /// The grid search.
    #[serde(skip)]
    pub curve: Vec<StaticAllocation>,
}

impl Budget {
    /// `true` if the target can be reached within the budget.
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
