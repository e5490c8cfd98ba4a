//! The simulation table of the SIREN talk.

use serde::Serialize;

/// The results that the talk reports for one budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rows {
    /// Dollars.
    pub budget_usd: f64,
    /// Its grid search over the number of functions.
    pub grid: Row,
    /// Its learned scheduler.
    pub siren: Row,
}

/// One row. The memory is in none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The fewest functions of an epoch.
    pub functions_min: u32,
    /// The most.
    pub functions_max: u32,
    /// Dollars.
    pub cost_usd: f64,
    /// Seconds, unless it failed.
    pub time_s: Option<f64>,
}

const fn row(functions_min: u32, functions_max: u32, cost_usd: f64, time_s: Option<f64>) -> Row {
    Row { functions_min, functions_max, cost_usd, time_s }
}

/// The table.
pub const TABLE: [Rows; 4] = [
    Rows {
        budget_usd: 300.0,
        grid: row(828, 828, 299.89, Some(2_452.3)),
        siren: row(652, 892, 299.92, Some(1_569.5)),
    },
    Rows {
        budget_usd: 200.0,
        grid: row(482, 482, 199.67, Some(2_816.9)),
        siren: row(355, 597, 199.73, Some(2_454.4)),
    },
    Rows {
        budget_usd: 100.0,
        grid: row(138, 138, 99.99, Some(4_979.7)),
        siren: row(56, 258, 99.82, Some(4_480.4)),
    },
    Rows {
        budget_usd: 50.0,
        grid: row(3_000, 3_000, 47.76, None),
        siren: row(1_293, 2_995, 49.82, None),
    },
];

/// The rows for a budget.
pub fn rows(budget_usd: f64) -> Option<Rows> {
    TABLE.into_iter().find(|rows| (rows.budget_usd - budget_usd).abs() < 1e-9)
}
