//! Comma-separated numbers for dense examples: the label first, then the features.
//!
//! ```text
//! 1,0.87,-0.63
//! 0,0.12,1.5
//! ```
//!
//! Labels are 0 and 1, or -1 and 1, and become 0 and 1. Every row has the same number of columns. A
//! number may be quoted. A first row without any number is a header and is skipped, as are blank
//! lines. A comment runs from `#` to the end of its line.

use std::io::BufRead;
use std::path::Path;

use siren_core::Result;

use crate::label::Labels;
use crate::line::{Lines, empty};
use crate::{DenseTable, open};

/// Reads a file, plain or compressed by gzip.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`](siren_core::ErrorKind::Other) if the file cannot be opened, and
/// [`ErrorKind::Corrupt`](siren_core::ErrorKind::Corrupt) if a row is not an example, if the file
/// is damaged or if it holds no examples. The message names the file, the line and a remedy.
pub fn read(path: impl AsRef<Path>) -> Result<DenseTable> {
    let path = path.as_ref();
    parse(open(path)?, &path.display().to_string())
}

/// As [`read`], from any text. Errors name it `name`.
///
/// # Errors
///
/// As [`read`].
///
/// ```
/// let table = siren_data::csv::parse("1,0.5,2\n-1,0,3\n".as_bytes(), "a text")?;
/// assert_eq!((table.examples(), table.features()), (2, 2));
/// assert_eq!(table.row(1), [0.0, 0.0, 3.0]);
/// # Ok::<(), siren_core::Error>(())
/// ```
pub fn parse(from: impl BufRead, name: &str) -> Result<DenseTable> {
    let mut lines = Lines::new(from, name);
    let mut rows = Rows::default();
    let mut first = true;
    while let Some(text) = lines.next()? {
        let header = first && fields(text).all(|field| field.parse::<f32>().is_err());
        first = false;
        if header {
            continue;
        }
        if let Err(what) = rows.append(text) {
            return Err(lines.bad(what));
        }
    }
    if rows.numbers.is_empty() {
        return Err(empty(name));
    }
    DenseTable::new(rows.numbers, rows.columns - 1)
}

/// The fields of a row. They are numbers, so there are no quoted commas.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(|field| {
        let field = field.trim_ascii();
        field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
    })
}

/// The rows that were read.
#[derive(Default)]
struct Rows {
    labels: Labels,
    /// Labels and features, row by row.
    numbers: Vec<f32>,
    /// The length of a row, once there is one.
    columns: usize,
}

impl Rows {
    /// Appends a row, or returns an error message.
    fn append(&mut self, text: &str) -> Result<(), String> {
        let before = self.numbers.len();
        for (column, field) in (1..).zip(fields(text)) {
            let number = if column == 1 {
                f32::from(u8::from(self.labels.positive(field)?))
            } else {
                let number = field.parse().ok().filter(|number: &f32| number.is_finite());
                number.ok_or_else(|| {
                    format!("column {column} is {field:?}: give a finite number in every column")
                })?
            };
            self.numbers.push(number);
        }
        let columns = self.numbers.len() - before;
        if columns < 2 {
            return Err(format!("{text:?} is all there is: write label,feature,feature, …"));
        }
        if before > 0 && columns != self.columns {
            return Err(format!(
                "{columns} columns, but the rows above have {}: make all rows alike",
                self.columns
            ));
        }
        self.columns = columns;
        Ok(())
    }
}
