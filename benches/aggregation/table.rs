//! The measurements as a table.

use serde::Serialize;

/// One cell of the bench.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: String,
    pub(crate) rule: &'static str,
    pub(crate) parameters: usize,
    pub(crate) workers: usize,
    /// Bytes that the work must read and write, divided by its time, in 10^9 bytes per second.
    pub(crate) gb_per_s: f64,
    /// The same for the reference.
    pub(crate) limit_gb_per_s: f64,
    /// The speed relative to the reference: the median over pairs of runs, one after the other.
    pub(crate) ratio: f64,
    /// The name of the reference.
    pub(crate) against: &'static str,
}

/// Prints rows as text.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:<22} {:<9} {:>11} {:>8} {:>8} {:>8} {:>8}  against",
        "work", "rule", "parameters", "workers", "GB/s", "limit", "ratio"
    );
    for row in rows {
        println!(
            "{:<22} {:<9} {:>11} {:>8} {:>8.1} {:>8.1} {:>8.3}  {}",
            row.bench,
            row.rule,
            thousands(row.parameters),
            row.workers,
            row.gb_per_s,
            row.limit_gb_per_s,
            row.ratio,
            row.against
        );
    }
    println!();
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
