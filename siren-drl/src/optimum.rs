//! The optimum: a bound that no scheduler can beat in expectation.

mod follow;
mod program;

pub use follow::OpenLoop;
use program::{Price, Program, Run};
use siren_core::{Allocation, Error, ErrorKind, Result};

use crate::task::SchedulingTask;

/// The optimal schedule of a task, and a bound for all schedules. Noise is left out: each epoch has
/// its expected outcome ([`Chance::EXPECTED`](crate::model::Chance::EXPECTED)).
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// Seconds that no schedule within the budget beats: the Lagrangian dual of the problem. If
    /// progress depends on the number of functions, progress is tabulated, and the bound holds to
    /// about 1 %.
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
    pub fn scheduler(&self, task: &SchedulingTask) -> OpenLoop {
        OpenLoop::new(self, task)
    }
}

/// Computes the fastest schedule that reaches the target within the budget, in expectation: dynamic
/// programming over progress, with the budget as a Lagrangian multiplier that is bisected (Everett,
/// Operations Research 11, 1963). Each epoch may have any number of functions and any memory size
/// within the task's bounds. Numbers of functions are tried 10 % apart, and 1 % apart near the best
/// ones.
///
/// In the task's model, epochs after the first may differ by their progress, but not by their
/// number. The cost of changing the memory must not depend on the earlier memory size.
///
/// # Errors
///
/// Returns [`ErrorKind::Budget`] with the minimum cost when the budget is below it, and
/// [`ErrorKind::Rejected`] when the task is invalid or its epochs do not suffice.
pub fn optimum(task: &SchedulingTask) -> Result<Optimum> {
    task.check()?;
    let budget = task.budget_usd;
    let coarse = Program::new(task)?;
    let program = coarse.refined(Price::MONEY);
    let cheapest = program.solve(Price::MONEY)?;
    if cheapest.cost_usd > budget * (1.0 + 1e-9) {
        return Err(too_little(budget, cheapest.cost_usd));
    }
    let program = program.refined(Price::of(0.0));
    let fastest = program.solve(Price::of(0.0))?;
    if fastest.cost_usd <= budget {
        let lower_s = fastest.value.min(fastest.time_s);
        return Ok(fastest.into_optimum(0.0, lower_s));
    }
    // Otherwise, some price of a dollar spends exactly the budget.
    let scale = (fastest.time_s / budget.max(1e-9)).max(1e-12);
    let found = bisect(&program, budget, (scale * 1e-9, scale * 1e9), 1.02)?;
    let program = program.refined(Price::of(found.seconds_per_usd));
    let around = (found.seconds_per_usd / 1.1, found.seconds_per_usd * 1.1);
    let found = bisect(&program, budget, around, 1.0 + 1e-7)?;
    let cheap = found.cheap.unwrap_or(program.solve(Price::MONEY)?);
    let dear = found.dear.unwrap_or(program.solve(Price::of(0.0))?);
    let best = program.splice(&dear, &cheap, budget);
    let lower_s = found.lower_s.min(best.time_s);
    Ok(best.into_optimum(found.seconds_per_usd, lower_s))
}

/// The price of a dollar at which the budget is spent.
struct Found {
    seconds_per_usd: f64,
    lower_s: f64,
    /// The runs just above the budget and just within it.
    dear: Option<Run>,
    cheap: Option<Run>,
}

fn bisect(
    program: &Program<'_>,
    budget: f64,
    (mut low, mut high): (f64, f64),
    ratio: f64,
) -> Result<Found> {
    let mut found = Found { seconds_per_usd: high, lower_s: 0.0, dear: None, cheap: None };
    while high / low > ratio || found.dear.is_none() || found.cheap.is_none() {
        let price = match high / low > ratio {
            true => (low * high).sqrt(),
            // One end was never moved: the price may lie beyond it.
            false if found.dear.is_none() => low / ratio.powi(2).max(1.5),
            false => high * ratio.powi(2).max(1.5),
        };
        if !(1e-30..1e30).contains(&price) {
            break;
        }
        let run = program.solve(Price::of(price))?;
        found.lower_s = found.lower_s.max(run.value - price * budget);
        if run.cost_usd <= budget {
            (high, found.cheap, found.seconds_per_usd) = (price, Some(run), price);
        } else {
            (low, found.dear) = (price, Some(run));
        }
    }
    Ok(found)
}

/// The minimum cost of reaching a task's target, in dollars, in expectation and in any time.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] when the task is invalid or its epochs do not suffice.
pub fn minimum_cost(task: &SchedulingTask) -> Result<f64> {
    task.check()?;
    Ok(Program::new(task)?.refined(Price::MONEY).solve(Price::MONEY)?.cost_usd)
}

/// Checks that the budget suffices for the target, before any money is spent.
///
/// # Errors
///
/// Returns [`ErrorKind::Budget`] with the minimum cost when it does not, and the errors of
/// [`minimum_cost`].
pub fn check_budget(task: &SchedulingTask) -> Result<()> {
    let least = minimum_cost(task)?;
    if least > task.budget_usd * (1.0 + 1e-9) {
        return Err(too_little(task.budget_usd, least));
    }
    Ok(())
}

/// The error for a budget that does not suffice.
pub(crate) fn too_little(budget_usd: f64, least_usd: f64) -> Error {
    // Rounded up, so that the amount in the message is enough.
    let least = (least_usd * 100.0).ceil() / 100.0;
    Error::new(
        ErrorKind::Budget,
        format!(
            "the budget is ${budget_usd:.2}, and the job costs at least ${least:.2}: give more, or a \
             target loss that is easier to reach"
        ),
    )
}
