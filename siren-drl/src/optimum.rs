//! The optimum: what no scheduler can beat in expectation.

mod follow;
mod program;

pub use follow::OpenLoop;
use program::{Price, Program};
use siren_core::{Allocation, Error, ErrorKind, Result};

use crate::task::Task;

/// The optimal schedule of a task, and how much better a schedule could be at the most. Noise is left
/// out: an epoch is what is to be expected of it ([`Chance::EXPECTED`](crate::Chance::EXPECTED)).
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// Seconds that no schedule within the budget beats: the Lagrangian dual of the problem. Where
    /// progress depends on the number of functions, progress is tabulated, and so it holds to about a
    /// hundredth.
    pub lower_s: f64,
    /// Seconds of `schedule`.
    pub upper_s: f64,
    /// Dollars of `schedule`: within the budget.
    pub cost_usd: f64,
    /// Seconds that one more dollar would save.
    pub seconds_per_usd: f64,
    /// An allocation for each epoch.
    pub schedule: Vec<Allocation>,
    /// Ideal epochs done before each epoch of `schedule`.
    pub progress: Vec<f64>,
}

impl Optimum {
    /// A scheduler that follows the schedule, by the progress that the loss shows.
    pub fn scheduler(&self, task: &Task) -> OpenLoop {
        OpenLoop::new(self, task)
    }
}

/// The fastest schedule that reaches the target within the budget, in expectation: dynamic programming
/// over progress, with the budget as a Lagrangian multiplier that is bisected (Everett, Operations Research
/// 11, 1963). Any number of functions and any memory size that the task's bounds have may be chosen in each
/// epoch; of more than about 60 functions every number within 1.5 % of one that was tried.
///
/// Epochs after the first may differ by their progress, not by their number. What it costs to change the
/// memory may not depend on what it was before.
///
/// # Errors
///
/// [`ErrorKind::Budget`] with the least cost where the budget is below it. Rejected where the task is, or
/// where its epochs do not suffice.
pub fn optimum(task: &Task) -> Result<Optimum> {
    task.check()?;
    let program = Program::new(task)?;
    let budget = task.budget_usd;
    let cheapest = program.solve(Price::MONEY)?;
    if cheapest.cost_usd > budget * (1.0 + 1e-9) {
        return Err(too_little(budget, cheapest.cost_usd));
    }
    let fastest = program.solve(Price::of(0.0))?;
    if fastest.cost_usd <= budget {
        let lower_s = fastest.value.min(fastest.time_s);
        return Ok(fastest.into_optimum(0.0, lower_s));
    }
    // In between, one price of a dollar spends just the budget.
    let (mut dear, mut cheap) = (fastest, cheapest);
    let mut lower_s = dear.time_s;
    let scale = (dear.time_s / budget.max(1e-9)).max(1e-12);
    let (mut low, mut high) = (scale * 1e-9, scale * 1e9);
    while high / low > 1.0 + 1e-7 {
        let seconds_per_usd = (low * high).sqrt();
        let run = program.solve(Price::of(seconds_per_usd))?;
        lower_s = lower_s.max(run.value - seconds_per_usd * budget);
        if run.cost_usd <= budget {
            (high, cheap) = (seconds_per_usd, run);
        } else {
            (low, dear) = (seconds_per_usd, run);
        }
    }
    let best = program.splice(&dear, &cheap, budget);
    let lower_s = lower_s.min(best.time_s);
    Ok(best.into_optimum(high, lower_s))
}

/// The least dollars for which a task's target can be reached, in expectation and whatever the time.
///
/// # Errors
///
/// Rejected where the task is, or where its epochs do not suffice.
pub fn minimum_cost(task: &Task) -> Result<f64> {
    task.check()?;
    Ok(Program::new(task)?.solve(Price::MONEY)?.cost_usd)
}

/// Refuses a budget for which the target cannot be reached, before anything is spent on learning so.
///
/// # Errors
///
/// [`ErrorKind::Budget`] with the least cost, and those of [`minimum_cost`].
pub fn check_budget(task: &Task) -> Result<()> {
    let least = minimum_cost(task)?;
    if least > task.budget_usd * (1.0 + 1e-9) {
        return Err(too_little(task.budget_usd, least));
    }
    Ok(())
}

/// The error of a budget that does not suffice.
pub(crate) fn too_little(budget_usd: f64, least_usd: f64) -> Error {
    // Rounded up, so that what it says to give is enough.
    let least = (least_usd * 100.0).ceil() / 100.0;
    Error::new(
        ErrorKind::Budget,
        format!(
            "the budget is ${budget_usd:.2}, and the job costs at least ${least:.2}: give more, or a \
             target loss that is easier to reach"
        ),
    )
}
