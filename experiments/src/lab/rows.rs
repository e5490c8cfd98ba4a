//! The rows of a comparison: as text, as JSON, as a table of a page.

use std::path::Path;

use serde::Serialize;
use siren_core::{Error, ErrorKind, Result, file};
use siren_examples::print_line;

use super::Run;
use super::scheduled::Scheduled;

/// One run of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name of the workload.
    pub workload: String,
    /// The name of the platform, and the method that chose the workers.
    pub platform: String,
    /// The most functions of any epoch, or the workers of a machine.
    pub functions: u32,
    /// Functions of each epoch, if they differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<u32>,
    /// Memory of each function in the last epoch, or of the machine.
    pub memory_mb: u32,
    /// Epochs until the target loss.
    pub epochs: u64,
    /// `true` if the target loss was reached, within the budget if there was one.
    pub reached: bool,
    /// The held-out loss at the end.
    pub loss: f64,
    /// The held-out accuracy at the end, or the AUC where there is no accuracy.
    pub quality: f64,
    /// Seconds from launch to barrier, summed over the epochs.
    pub time_s: f64,
    /// The cost of the run.
    pub cost_usd: f64,
    /// The cost of the GB-seconds alone, or of the machine.
    pub cost_usd_without_requests: f64,
    /// The budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<f64>,
    /// The seconds and dollars of the probes, the epochs that measure the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probing: Option<(f64, f64)>,
}

impl Row {
    /// A row for a run.
    pub fn new(workload: &str, platform: &str, run: &Run) -> Self {
        let epochs = &run.record.epochs;
        let workers: Vec<u32> = epochs.iter().map(|epoch| epoch.workers).collect();
        let differ = workers.windows(2).any(|pair| pair[0] != pair[1]);
        let last = epochs.last();
        let initial = &run.record.initial;
        let last_evaluation = last.map_or(initial, |epoch| &epoch.evaluation);
        let quality = last_evaluation.auc().or(last_evaluation.accuracy());
        Self {
            workload: workload.into(),
            platform: platform.into(),
            functions: workers.iter().copied().max().unwrap_or(0),
            schedule: if differ { workers } else { Vec::new() },
            memory_mb: last.map_or(0, |epoch| epoch.memory_mb),
            epochs: epochs.len() as u64,
            reached: run.is_done(),
            loss: run.record.outcome.evaluation.loss,
            quality: quality.unwrap_or(f64::NAN),
            time_s: run.time_s,
            cost_usd: run.cost.dollars(),
            cost_usd_without_requests: run.cost_without_requests.dollars(),
            budget_usd: None,
            probing: None,
        }
    }

    /// A row for a run whose scheduler had to measure the job first.
    pub fn scheduled(workload: &str, platform: &str, scheduled: &Scheduled) -> Self {
        Self {
            reached: scheduled.succeeded(),
            budget_usd: Some(scheduled.budget.dollars()),
            probing: Some(scheduled.probing()),
            ..Self::new(workload, platform, &scheduled.run)
        }
    }

    /// `true` if it cost more than its budget.
    fn is_over(&self) -> bool {
        self.budget_usd.is_some_and(|budget| self.cost_usd > budget)
    }

    /// The number of functions, or those of the first, second and last epoch.
    pub fn who(&self) -> String {
        match self.schedule.as_slice() {
            [] => self.functions.to_string(),
            [first, .., last] => {
                let between = self.schedule.get(1).copied().unwrap_or(*last);
                format!("{first}, {between}, {last}")
            }
            [only] => only.to_string(),
        }
    }

    fn cells(&self) -> [String; 9] {
        let over = self.is_over();
        [
            self.platform.clone(),
            self.who(),
            self.memory_mb.to_string(),
            self.epochs.to_string(),
            format!("{:.4}{}", self.loss, if self.reached || over { "" } else { " (missed)" }),
            format!("{:.4}", self.quality),
            digits(self.time_s),
            format!("{}{}", digits(self.cost_usd), if over { " (over budget)" } else { "" }),
            digits(self.cost_usd_without_requests),
        ]
    }
}

/// A number with four digits or more.
pub fn digits(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let before = number.abs().max(1e-12).log10().floor() as i32;
    format!("{number:.*}", usize::try_from(3 - before).unwrap_or(0).clamp(1, 9))
}

/// The names of the columns.
pub const HEADER: [&str; 9] = [
    "platform",
    "workers",
    "MB",
    "epochs",
    "loss",
    "quality",
    "time, s",
    "cost, $",
    "without requests, $",
];

/// Cells of a page's table.
pub fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.cells().to_vec()).collect()
}

/// Prints rows in columns.
pub fn print(rows: &[Row]) {
    print_columns(&HEADER, &cells(rows));
}

/// Prints lines of cells in columns, the first one to the left and the others to the right.
pub fn print_columns(header: &[&str], lines: &[Vec<String>]) {
    let header: Vec<String> = header.iter().copied().map(String::from).collect();
    let lines = || std::iter::once(&header).chain(lines);
    let width =
        |i: usize| lines().filter_map(move |line| line.get(i)).map(|cell| cell.chars().count());
    let widths: Vec<usize> = (0..header.len()).map(|i| width(i).max().unwrap_or(0)).collect();
    for line in lines() {
        let mut text = String::new();
        for (i, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            text.push_str(&match i {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
        }
        print_line!("{text}");
    }
}

/// Writes rows as `{"rows": [...]}`.
///
/// # Errors
///
/// Returns an error if the file cannot be written.
pub fn write(rows: &[impl Serialize], path: &Path) -> Result<()> {
    file::replace(path, |to| {
        serde_json::to_writer_pretty(&mut *to, &serde_json::json!({ "rows": rows }))?;
        to.write_all(b"\n")
    })
}

/// Makes a folder for results.
///
/// # Errors
///
/// Returns an error if it cannot be made.
pub fn folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| {
        let what = format!("cannot make the folder {}: name another with --out", path.display());
        Error::new(ErrorKind::Other, what).with_source(error)
    })
}
