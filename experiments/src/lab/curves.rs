//! Curves of runs side by side.

use siren_report::chart::{Axis, Chart, Series};

use super::Run;

/// Loss against time and loss against money, from the first barrier on, where the loss is below
/// `shown`. Larger losses would compress the curves near the target. The start is left out, because
/// its time and money are zero, which a logarithmic axis cannot show.
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
