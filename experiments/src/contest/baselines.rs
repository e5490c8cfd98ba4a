//! Methods without training: grids, the planner, the optimum.

use std::sync::Arc;

use siren_core::{Error, ErrorKind, Result};
use siren_drl::{
    Demand, Planner, SchedulingTask, StaticAllocation, bayesian_search, check_budget,
    grid_over_allocations, grid_over_functions, minimum_cost, optimum,
};

use super::{Budget, ENOUGH, Entry, Terms, talk};

/// The number of episodes that select allocations which succeed often enough.
const CHOOSING: u64 = 200;

/// The number of episodes of a search by trial.
const TRIALS: u64 = 60;

/// Measures all methods within a budget, except agents.
///
/// # Errors
///
/// Returns an error if the job contradicts itself.
pub fn measure(terms: &Terms, budget_usd: f64) -> Result<Budget> {
    let task = terms.task(budget_usd);
    let mut budget = Budget {
        budget_usd,
        minimum_cost_usd: minimum_cost(&task)?,
        talk: talk::rows(budget_usd),
        ..Budget::default()
    };
    if let Err(error) = check_budget(&task) {
        let reason = too_little(error)?;
        // The planner then takes the cheapest allocations. Playing it shows that it fails too.
        let played = terms.judge(&task, &mut planner(terms, &task))?;
        let won = played.iter().filter(|episode| episode.success).count();
        budget.notes.push(format!(
            "The planner, which then spends as little as possible, reaches the target in {won} of {} episodes.",
            played.len()
        ));
        budget.reason = Some(reason);
        return Ok(budget);
    }
    let best = optimum(&task)?;
    budget.lower_bound_s = Some(best.lower_s);
    budget.optimum = Some(Entry::optimal(&best));
    let played = terms.judge(&task, &mut planner(terms, &task))?;
    budget.planner = Some(Entry::of(&played, best.lower_s));

    let demand = Demand::Success { share: ENOUGH, episodes: CHOOSING, seed: terms.chosen() };
    let grid = |demand| grid_over_functions(&task, terms.grid_memory_mb, demand);
    let mut judge = |name: &str, found: Result<StaticAllocation>| match found {
        Ok(found) => {
            let played = terms.judge(&task, &mut found.scheduler())?;
            Ok(Some(Entry::of(&played, best.lower_s)))
        }
        Err(error) => {
            too_little(error)?;
            budget.notes.push(format!(
                "{name}: the budget does not suffice for any allocation that was tried."
            ));
            Ok::<_, Error>(None)
        }
    };
    let found = grid(Demand::Expected);
    budget.curve = found.as_ref().map(|found| found.curve.clone()).unwrap_or_default();
    budget.grid = judge("Grid over functions", found.map(|found| found.best))?;
    let found = grid(demand).map(|found| found.best);
    budget.grid_that_succeeds = judge("Grid over functions, 95 % demanded", found)?;
    let found = grid_over_allocations(&task, Demand::Expected);
    budget.fixed = judge("Best static allocation", found)?;
    let found = grid_over_allocations(&task, demand);
    budget.static_that_succeeds = judge("Best static allocation, 95 % demanded", found)?;
    let search = bayesian_search(&task, TRIALS, terms.searched());
    let spent = search.as_ref().ok().map(|search| {
        format!(
            "Bayesian optimisation spends ${:.0} and {:.1} h on {} trials.",
            search.cost_usd(),
            search.time_s() / 3_600.0,
            search.trials.len()
        )
    });
    budget.bayesian = judge("Bayesian optimisation", search.map(|search| search.best))?;
    budget.notes.extend(spent);
    Ok(budget)
}

/// The planner, which knows the job.
pub fn planner(terms: &Terms, task: &SchedulingTask) -> Planner {
    Planner::new(terms.model.clone()).with_bounds(task.bounds)
}

/// The message of an error about a budget that is too small. Returns all other errors.
fn too_little(error: Error) -> Result<String> {
    match error.kind() {
        ErrorKind::Budget => Ok(error.message().to_owned()),
        _ => Err(error),
    }
}

/// The expected job for each number of functions, whatever the budget.
pub fn curve(terms: &Terms) -> Vec<StaticAllocation> {
    let task = Arc::new(terms.task.with_budget(f64::MAX));
    let found = grid_over_functions(&task, terms.grid_memory_mb, Demand::Expected);
    found.map(|found| found.curve).unwrap_or_default()
}
