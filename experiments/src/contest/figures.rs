//! The figures.

use siren_core::Allocation;
use siren_drl::StaticAllocation;
use siren_report::chart::{Axis, Chart, Series};

use super::learning::{Pupil, quantile};
use super::{Budget, ENOUGH, Entry, talk};

/// Time and cost that a grid search over the number of functions finds, beside those of the SIREN
/// talk.
pub fn grid(curve: &[StaticAllocation]) -> [Chart; 2] {
    let functions = || Axis::new("functions", "").whole().log();
    let ours = |of: fn(&StaticAllocation) -> f64| {
        let points = curve.iter().map(move |run| (f64::from(run.allocation.workers), of(run)));
        Series::line("this model", points)
    };
    let talk = |of: fn(&talk::Row) -> Option<f64>| {
        let rows = talk::TABLE.iter().map(|rows| &rows.grid).filter(|row| row.time_s.is_some());
        let points = rows.filter_map(|row| Some((f64::from(row.functions_min), of(row)?)));
        Series::scatter("the talk", points.collect::<Vec<_>>())
    };
    [
        Chart::new("Time of a grid search", functions(), Axis::new("time", "s").log())
            .series(ours(|run| run.time_s))
            .series(talk(|row| row.time_s)),
        Chart::new("Cost of a grid search", functions(), Axis::new("cost", "$").log())
            .series(ours(|run| run.cost_usd))
            .series(talk(|row| Some(row.cost_usd))),
    ]
}

/// Seconds within each budget, for all methods that succeed often enough, beside those of the SIREN
/// talk, and the gap to the optimum.
pub fn time(budgets: &[Budget]) -> [Chart; 2] {
    let budget = || Axis::new("budget", "$");
    let mut time = Chart::new("Time within a budget", budget(), Axis::new("time", "s").log());
    let mut gap = Chart::new("Gap to the optimum", budget(), Axis::new("gap", "%").log());
    let mut enough: Vec<&Budget> = budgets.iter().filter(|budget| budget.is_enough()).collect();
    enough.sort_by(|a, b| a.budget_usd.total_cmp(&b.budget_usd));
    type Of = fn(&Budget) -> Option<&Entry>;
    let shown: [(&str, Of, usize); 6] = [
        ("grid over functions", |budget| budget.grid_that_succeeds.as_ref(), 6),
        ("best static (n, m)", |budget| budget.static_that_succeeds.as_ref(), 5),
        ("Bayesian optimisation", |budget| budget.bayesian.as_ref(), 4),
        ("agent, from scratch", |budget| budget.agent.as_ref(), 0),
        ("agent, warm-started", |budget| budget.agent_warm.as_ref(), 3),
        ("planner", |budget| budget.planner.as_ref(), 2),
    ];
    for (name, of, colour) in shown {
        // A method that just misses 95 % is shown too; the table has its share.
        let useful = enough.iter().filter_map(|budget| {
            let entry = of(budget).filter(|entry| entry.score.success >= 0.9)?;
            Some((budget.budget_usd, entry))
        });
        let useful: Vec<(f64, &Entry)> = useful.collect();
        if useful.is_empty() {
            continue;
        }
        let times = useful.iter().map(|(usd, entry)| (*usd, entry.score.time_s));
        time = time.series(Series::line(name, times).colour(colour));
        let gaps = useful.iter().map(|(usd, entry)| (*usd, entry.gap * 100.0));
        gap = gap.series(Series::line(name, gaps).colour(colour));
    }
    let optimum = enough.iter().filter_map(|budget| {
        let entry = budget.optimum.as_ref()?;
        Some((budget.budget_usd, entry.score.time_s))
    });
    time = time.series(Series::dashed("optimum", optimum).colour(1));
    let talk = enough.iter().filter_map(|budget| {
        let time_s = budget.talk.as_ref()?.siren.time_s?;
        Some((budget.budget_usd, time_s))
    });
    let talk: Vec<(f64, f64)> = talk.collect();
    if !talk.is_empty() {
        time = time.series(Series::dashed("the talk's SIREN", talk).colour(6));
    }
    [time, gap]
}

/// Functions and memory of each epoch within a budget.
pub fn allocations(budget: &Budget) -> [Chart; 2] {
    let shown = [
        ("agent, from scratch", &budget.agent, 0),
        ("agent, warm-started", &budget.agent_warm, 3),
        ("planner", &budget.planner, 2),
        ("optimum", &budget.optimum, 1),
    ];
    let usd = budget.budget_usd;
    let chart = |title: String, axis: Axis, of: fn(&Allocation) -> u32| {
        let chart = Chart::new(title, Axis::new("epoch", "").whole(), axis);
        shown.iter().fold(chart, |chart, (name, entry, colour)| {
            let Some(entry) = entry else { return chart };
            let points = entry.allocations.iter().enumerate();
            let points = points.map(|(epoch, allocation)| (epoch as f64, of(allocation).into()));
            let series = match *name {
                "optimum" => Series::dashed(*name, points),
                _ => Series::line(*name, points),
            };
            chart.series(series.colour(*colour))
        })
    };
    let functions = Axis::new("functions", "").whole().log();
    [
        chart(format!("Functions, ${usd}"), functions, |of| of.workers),
        chart(format!("Memory, ${usd}"), Axis::new("memory", "MB").from_zero(), |of| of.memory_mb),
    ]
}

/// The gap against the steps of the environments, and the share of the seeds that succeed: over the
/// seeds of one budget, on the episodes for validation. A seed that fails has an infinite gap.
pub fn training(pupils: &[&Pupil], title: &str) -> [Chart; 2] {
    let most = pupils.iter().map(|pupil| pupil.evaluations.len()).max().unwrap_or(0);
    // A training that stopped early keeps its last evaluation.
    let at = |number: usize| {
        pupils.iter().filter_map(move |pupil| {
            let last = pupil.evaluations.len().checked_sub(1)?;
            Some((*pupil, &pupil.evaluations[number.min(last)]))
        })
    };
    let steps = |number| at(number).map(|(_, of)| of.steps).max().unwrap_or(0) as f64 / 1e3;
    let quartile = |share| {
        (0..most).map(move |number| {
            let gaps: Vec<f64> = at(number).map(|(pupil, of)| pupil.gap(of) * 100.0).collect();
            (steps(number), quantile(&gaps, share))
        })
    };
    let share = (0..most).map(|number| {
        let succeed = at(number).filter(|(_, of)| of.score.success >= ENOUGH).count();
        (steps(number), 100.0 * succeed as f64 / pupils.len() as f64)
    });
    let thousands = || Axis::new("environment steps", "thousands").from_zero();
    let seeds = format!("{title}: seeds that succeed");
    [
        Chart::new(format!("{title}: gap"), thousands(), Axis::new("gap", "%").log())
            .series(Series::dashed("lower quartile", quartile(0.25)).colour(4))
            .series(Series::line("median", quartile(0.5)).colour(0))
            .series(Series::dashed("upper quartile", quartile(0.75)).colour(4)),
        Chart::new(seeds, thousands(), Axis::new("seeds", "%").from_zero())
            .series(Series::line("succeed", share).colour(2)),
    ]
}
