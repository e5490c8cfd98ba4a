//! The table, as text and on a page.

use super::learning::{Summary, Timing};
use super::{Budget, Entry, talk};
use siren_examples::print_line;

use crate::lab::rows;

/// The names of the columns.
pub const HEADER: [&str; 8] =
    ["method", "functions", "memory, MB", "$", "time, s", "time saved", "success", "gap"];

/// The lines of a budget's table, as cells.
pub fn lines(budget: &Budget) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    if let Some(talk) = &budget.talk {
        lines.push(of_talk("SIREN talk: grid search", &talk.grid, None));
        lines.push(of_talk("SIREN talk: SIREN", &talk.siren, talk.grid.time_s));
    }
    for (name, entry) in budget.methods() {
        lines.extend(entry.map(|entry| line(name, entry, budget)));
    }
    lines
}

fn of_talk(name: &str, row: &talk::Row, grid_s: Option<f64>) -> Vec<String> {
    let saved = grid_s.zip(row.time_s).map(|(grid, time)| 1.0 - time / grid);
    vec![
        name.into(),
        range(row.functions_min.into(), row.functions_max.into()),
        String::new(),
        format!("{:.2}", row.cost_usd),
        row.time_s.map_or("fails".into(), |time| format!("{time:.1}")),
        saved.map(percent).unwrap_or_default(),
        String::new(),
        String::new(),
    ]
}

fn line(name: &str, entry: &Entry, budget: &Budget) -> Vec<String> {
    let score = &entry.score;
    let is_grid = budget.grid.as_ref().is_some_and(|grid| std::ptr::eq(grid, entry));
    // No episode succeeded, so a gap and saved time have no meaning.
    let fails = score.success == 0.0;
    let is_optimum = budget.optimum.as_ref().is_some_and(|best| std::ptr::eq(best, entry));
    vec![
        name.into(),
        range(score.functions_min, score.functions_max),
        range(score.memory_min_mb, score.memory_max_mb),
        format!("{:.2}", score.cost_usd),
        format!("{:.1}", score.time_s),
        budget.saved(entry).filter(|_| !is_grid && !fails).map(percent).unwrap_or_default(),
        if is_optimum { String::new() } else { percent(score.success) },
        if fails { "fails".into() } else { percent(entry.gap) },
    ]
}

fn range(from: f64, to: f64) -> String {
    if (to - from).abs() < 0.5 { format!("{from:.0}") } else { format!("{from:.0} to {to:.0}") }
}

/// A share, in words.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The sentences beside a budget's table.
pub fn says(budget: &Budget) -> Vec<String> {
    let mut says = Vec::new();
    if let Some(reason) = &budget.reason {
        says.push(format!("It fails for every policy: {reason}."));
    }
    says.extend(budget.notes.iter().cloned());
    says
}

/// Prints a budget.
pub fn print(budget: &Budget) {
    print_line!("\n${}", budget.budget_usd);
    let lines = lines(budget);
    if !lines.is_empty() {
        rows::print_columns(&HEADER, &lines);
    }
    says(budget).iter().for_each(|line| print_line!("{line}"));
}

/// The names of the columns about seeds.
pub const SEEDS: [&str; 10] = [
    "agents",
    "seeds that succeed",
    "gap: lower quartile",
    "median",
    "upper quartile",
    "steps/s of a core",
    "training, s",
    "within 5 % after, s",
    "decision, \u{b5}s",
    "planner's, \u{b5}s",
];

/// The cells of the line about the seeds of one budget.
pub fn seeds(summary: &Summary, timing: &Timing) -> Vec<String> {
    let start = if summary.warm_start { "warm-started" } else { "from scratch" };
    let gap = |at: usize| summary.gap[at].map_or("fails".into(), percent);
    vec![
        format!("${}, {start}", summary.budget_usd),
        format!("{} of {}", summary.succeed, summary.seeds),
        gap(0),
        gap(1),
        gap(2),
        format!("{:.0}", timing.steps_per_s),
        format!("{:.1}", timing.seconds),
        timing.seconds_until_near.map_or("never".into(), |seconds| format!("{seconds:.1}")),
        format!("{:.0}", timing.decision_us),
        format!("{:.0}", timing.planner_decision_us),
    ]
}
