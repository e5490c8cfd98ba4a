//! Time at equal cost: the talk's headline.

use serde::Serialize;
use siren_report::chart::{Axis, Chart, Series};

use super::rows::{Row, digits};

/// The share of the time that the SIREN talk saves at equal cost, against MXNet on EC2.
pub const THE_TALK: f64 = 0.443;

/// A run on functions beside one on a machine that costs no less.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// The name of the workload.
    pub workload: String,
    /// The machine, and the software on it.
    pub machine: String,
    /// The method that chose the functions.
    pub functions: String,
    /// Seconds on the machine.
    pub machine_s: f64,
    /// Seconds on functions; `None` if they cost more than the machine, or miss the target.
    pub functions_s: Option<f64>,
    /// The cost of the functions divided by that of the machine.
    pub cost_ratio: Option<f64>,
}

impl Beside {
    /// A row of functions, if there is one, beside that of a machine.
    pub fn new(functions: &str, row: Option<&Row>, machine: &Row) -> Self {
        let row = row.filter(|row| row.reached && row.cost_usd <= machine.cost_usd);
        Self {
            workload: machine.workload.clone(),
            machine: machine.platform.clone(),
            functions: functions.into(),
            machine_s: machine.time_s,
            functions_s: row.map(|row| row.time_s),
            cost_ratio: row.map(|row| row.cost_usd / machine.cost_usd),
        }
    }

    /// The difference in time, in words.
    pub fn verdict(&self) -> String {
        match self.functions_s.map(|time| time / self.machine_s) {
            None => "no run is as cheap".into(),
            Some(ratio) if ratio < 1.0 => format!("{:.1} % less time", (1.0 - ratio) * 100.0),
            Some(ratio) if ratio < 3.0 => format!("{:.1} % more time", (ratio - 1.0) * 100.0),
            Some(ratio) => format!("{ratio:.1} times the time"),
        }
    }
}

/// The names of the columns.
pub const HEADER: [&str; 6] =
    ["workload", "machine", "functions", "machine, s", "functions, s", "functions take"];

/// Cells of a page's table, the talk's row last.
pub fn cells(all: &[Beside]) -> Vec<Vec<String>> {
    let mine = all.iter().map(|of| {
        vec![
            of.workload.clone(),
            of.machine.clone(),
            of.functions.clone(),
            digits(of.machine_s),
            of.functions_s.map_or_else(|| "none".into(), digits),
            of.verdict(),
        ]
    });
    let talk = ["the SIREN talk", "EC2 with MXNet", "learned"].map(String::from);
    let verdict = format!("{:.1} % less time", THE_TALK * 100.0);
    let talk = [talk.to_vec(), vec![String::new(), String::new(), verdict]].concat();
    mine.chain([talk]).collect()
}

/// Time on functions against time on a machine that costs no less, beside equal times and the
/// talk's.
pub fn chart(all: &[Beside]) -> Chart {
    let axis = |quantity| Axis::new(quantity, "s").log();
    let title = "Time at no more than the machine's cost";
    let chart = Chart::new(title, axis("machine"), axis("functions"));
    let times = || all.iter().map(|of| of.machine_s);
    let (low, high) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    let line = |factor: f64| [low, high].map(|time| (time, time * factor));
    let mut kinds: Vec<&str> = Vec::new();
    for of in all {
        if !kinds.contains(&of.functions.as_str()) {
            kinds.push(&of.functions);
        }
    }
    let chart = kinds.iter().fold(chart, |chart, &kind| {
        let shown = || all.iter().filter(move |of| of.functions == kind);
        let points = shown().filter_map(|of| Some((of.machine_s, of.functions_s?)));
        let hover = shown()
            .filter(|of| of.functions_s.is_some())
            .map(|of| format!("{}, {}, {kind}: {}", of.workload, of.machine, of.verdict()));
        chart.series(Series::scatter(kind, points).hover(hover))
    });
    let chart = chart.series(Series::dashed("equal times", line(1.0)));
    chart.series(Series::dashed("the talk: 44.3 % less", line(1.0 - THE_TALK)))
}
