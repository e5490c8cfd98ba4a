//! The page: the table, and held-out loss against progress for all numbers of functions.

use siren_core::Result;
use siren_report::Sheet;
use siren_report::chart::{Axis, Chart, Series};

use crate::cells::{Cell, Schedule, Subject};
use crate::rows::{FALLEN, HEADER, Outcome};

/// The text above the table.
pub(crate) fn about() -> String {
    format!(
        "Each workload has one setting for all numbers of functions. hybrid-plain applies each \
         update in full. hybrid uses the noise rule, which shortens steps when many updates are in \
         flight. bulk applies the mean of one update from each function. Functions have {} MB and \
         run on simulated AWS Lambda. A row shows the repeats of a run: the median of the passes \
         to the target, the highest loss after any pass, and means. Time and cost are those of all \
         passes. Progress is the sum of each update's examples times its efficiency, divided \
         by the examples of a pass. Staleness is in updates. A run has diverged if a value \
         is not finite, or if after any pass the held-out loss is above the workload's limit and \
         has not fallen by {:.0} % in that pass. Quality is the held-out log loss of the linear \
         workloads and the accuracy of the networks, after the last pass. Rows that say so are \
         left out to save time.",
        crate::MEMORY_MB,
        (1.0 - FALLEN) * 100.0,
    )
}

/// The page.
///
/// # Errors
///
/// Returns an error if a chart cannot be drawn.
pub(crate) fn sheet(
    subjects: &[Subject],
    cells: &[Cell],
    outcomes: &[Vec<Outcome>],
    lines: Vec<Vec<String>>,
) -> Result<Sheet> {
    let mut sheet = Sheet::new("Training with any number of functions").text(about());
    sheet = subjects.iter().fold(sheet, |sheet, subject| sheet.text(described(subject)));
    sheet = sheet.table(HEADER, lines).heading("Held-out loss against progress").text(
        "The curves of one chart lie on one another if each unit of progress lowers the loss as \
         much with many functions as with one. Each curve is that of the first repeat.",
    );
    for (index, subject) in subjects.iter().enumerate() {
        let charts: Vec<Chart> = subject
            .modes
            .iter()
            .map(|&mode| {
                let shown = cells.iter().zip(outcomes).filter(|(cell, repeats)| {
                    (cell.subject, cell.mode) == (index, mode) && !repeats.is_empty()
                });
                let axes = (Axis::new("progress", "passes").from_zero(), Axis::new("loss", ""));
                let chart = Chart::new(mode.name(), axes.0, axes.1);
                shown.fold(chart, |chart, (cell, repeats)| {
                    chart.series(series(cell, &repeats[0], subject.shown))
                })
            })
            .collect();
        if !charts.is_empty() {
            let drawn = format!("{}: losses below {:.2}.", subject.name, subject.shown);
            sheet = sheet.text(drawn).charts(&charts)?;
        }
    }
    Ok(sheet)
}

/// A workload's own text, with its limit.
pub(crate) fn described(subject: &Subject) -> String {
    format!("{}: {} Diverged above a loss of {:.3}.", subject.name, subject.about, subject.limit)
}

/// The curve of a run. Losses of `shown` or more would compress the others.
fn series(cell: &Cell, outcome: &Outcome, shown: f64) -> Series {
    let points = outcome.curve.iter().copied().filter(|&(_, loss)| loss < shown);
    match &cell.schedule {
        Schedule::Constant(1) => Series::line("1 function", points),
        Schedule::Constant(workers) => Series::line(format!("{workers} functions"), points),
        Schedule::List(_) => Series::dashed(cell.schedule.to_string(), points),
    }
}
