//! A preview as text.

use std::fmt;

use super::{Preview, Row};

impl fmt::Display for Preview {
    /// Prints a table of all rows, with a mark at the cheapest (`$`) and at the fastest within the
    /// budget (`>`). Below it, one line describes each of the two, and one the budget.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs = plural(self.epochs, "epoch");
        writeln!(f, "{epochs} of {} on {}:", plural(self.batches, "batch"), self.platform)?;
        writeln!(
            f,
            "  {:>7} {:>6} {:>11} {:>11} {:>13} {:>11} {:>11} {:>11}",
            "workers",
            "MB",
            "s an epoch",
            "$ an epoch",
            "without fees",
            "s in all",
            "$ in all",
            "$ needed"
        )?;
        for (index, row) in self.rows.iter().enumerate() {
            let cheapest = if index == self.cheapest { '$' } else { ' ' };
            let fastest = if Some(index) == self.fastest { '>' } else { ' ' };
            let Row { allocation, .. } = row;
            writeln!(
                f,
                "{cheapest}{fastest}{:>7} {:>6} {:>11} {:>11} {:>13} {:>11} {:>11} {:>11}",
                allocation.workers,
                allocation.memory_mb,
                digits(row.epoch_seconds),
                digits(row.epoch_cost.dollars()),
                digits(row.epoch_cost_without_requests.dollars()),
                digits(row.seconds),
                digits(row.cost.dollars()),
                digits(row.needs.dollars()),
            )?;
        }
        if let Some(row) = self.cheapest() {
            writeln!(f, "$ cheapest: {}", Named(row))?;
        }
        let within = if self.budget.is_some() { " within the budget" } else { "" };
        if let Some(row) = self.fastest() {
            writeln!(f, "> fastest{within}: {}", Named(row))?;
        }
        match self.budget {
            Some(budget) if self.sufficient => write!(f, "a budget of {budget} suffices"),
            Some(budget) => write!(
                f,
                "a budget of {budget} does not suffice: {} would, with one of these allocations",
                self.least
            ),
            None => write!(f, "a budget of {} would suffice", self.least),
        }
    }
}

/// Formats a row as a phrase.
struct Named<'a>(&'a Row);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { allocation, seconds, cost, aggregators, .. } = self.0;
        let workers = plural(allocation.workers.into(), "worker");
        write!(f, "{workers} of {} MB", allocation.memory_mb)?;
        if *aggregators > 0 {
            write!(f, " and {}", plural((*aggregators).into(), "aggregator"))?;
        }
        write!(f, ", {} s for {cost}", digits(*seconds))
    }
}

fn plural(number: u64, what: &str) -> String {
    let ending = match (number, what.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    // "epoch" ends in a k sound and takes a plain "s".
    let ending = if what == "epoch" && number != 1 { "s" } else { ending };
    format!("{number} {what}{ending}")
}

/// Formats a number with three significant digits, and without decimals from 100 on.
fn digits(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || size >= 99.95 {
        return format!("{number:.0}");
    }
    if size < 1e-4 {
        return format!("{number:.2e}");
    }
    let before = size.log10().floor() as i32;
    format!("{number:.*}", usize::try_from(2 - before).unwrap_or(0))
}
