//! Curves of runs side by side.

use siren_report::chart::{Axis, Chart, Series};

use super::Run;

/// Loss against time and loss against money, from the first barrier on, where the loss is below `shown`:
/// what is far from the target would press the rest together, and the start is at no time and no money,
/// which a logarithmic axis has not.
pub fn curves(runs: &[(String, Run)], shown: f64) -> [Chart; 2] {
    let chart = |axis: Axis, title: &str, of: fn(&Run) -> Vec<(f64, f64)>| {
        let chart = Chart::new(title, axis.log(), Axis::new("held-out loss", ""));
        runs.iter().fold(chart, |chart, (name, run)| {
            let near = of(run).into_iter().skip(1).filter(|&(_, loss)| loss < shown);
            chart.series(Series::line(name.as_str(), near))
        })
    };
    [
        chart(Axis::new("time", "s"), "Loss against time", Run::loss_by_time),
        chart(Axis::new("cost", "$"), "Loss against money", Run::loss_by_cost),
    ]
}
