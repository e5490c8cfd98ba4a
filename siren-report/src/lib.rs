//! One self-contained HTML page for a Siren run.
//!
//! [`write()`] turns the record of a run, a [`RunRecord`], into `report.html`: the end of the run,
//! its cost, the loss and every metric against time and money, the scheduler's allocations, the time
//! of each epoch by phase, and every number of every epoch. The page loads nothing: it can be opened
//! from a disk, sent by mail or kept for years.
//!
//! The charts are also available as SVG: [`figure`] has those of one run, [`chart`] draws any
//! others, and a [`Sheet`] puts charts, tables and text on a page.

pub mod chart;
pub mod figure;
pub mod metric;
mod number;
mod page;
mod sheet;

use std::path::Path;

pub use sheet::Sheet;
use siren_core::{Result, file};
use siren_hsp::RunRecord;

/// The page of a run, as HTML.
///
/// # Errors
///
/// Returns [`Other`](siren_core::ErrorKind::Other) if a chart cannot be drawn or the settings
/// cannot be written as JSON.
pub fn render(record: &RunRecord) -> Result<String> {
    page::page(record).map(maud::PreEscaped::into_string)
}

/// Writes the page of a run to `path`, in one step: a reader finds the old page or the new one,
/// never a part.
///
/// # Errors
///
/// Returns [`Other`](siren_core::ErrorKind::Other) if the page cannot be drawn or the file cannot
/// be written.
pub fn write(record: &RunRecord, path: impl AsRef<Path>) -> Result<()> {
    let page = render(record)?;
    file::replace(path.as_ref(), |to| to.write_all(page.as_bytes()))
}
