//! The text format of libsvm, also that of svmlight, for sparse examples.
//!
//! ```text
//! # label, and index:value of each feature that is not zero
//! 1 3:0.5 17:1
//! 0 2:1 # comments end a line
//! ```
//!
//! Labels are 0 and 1, or -1 and 1 (also `+1`). Indices in the file count from 1 and rise. In Siren
//! they count from 0, so the reader subtracts 1. Blank lines are skipped.

use std::io::BufRead;
use std::path::Path;

use siren_core::{Entry, Result};

use crate::label::Labels;
use crate::line::{Lines, empty};
use crate::{SparseExample, SparseTable, open};

/// Reads a file, plain or compressed by gzip, and packs its examples in the file's order.
///
/// Indices may go up to `features`. If it is `None`, every index is allowed, and the number of
/// features is the largest index. Read test data with the number of features of the training data.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`](siren_core::ErrorKind::Other) if the file cannot be opened, and
/// [`ErrorKind::Corrupt`](siren_core::ErrorKind::Corrupt) if a line is not an example, if the file
/// is damaged or if it holds no examples. The message names the file, the line and a remedy.
pub fn read(path: impl AsRef<Path>, features: Option<usize>) -> Result<SparseTable> {
    let path = path.as_ref();
    let name = path.display().to_string();
    parse(open(path)?, &name, features)
}

/// As [`read`], from any text. Errors name it `name`.
///
/// # Errors
///
/// As [`read`].
///
/// ```
/// let text = "1 1:0.5 3:2\n0\n";
/// let table = siren_data::libsvm::parse(text.as_bytes(), "a text", None)?;
/// assert_eq!((table.features, table.positives), (3, 1));
/// # Ok::<(), siren_core::Error>(())
/// ```
pub fn parse(from: impl BufRead, name: &str, features: Option<usize>) -> Result<SparseTable> {
    let mut examples = Examples::new(from, name, features).peekable();
    if examples.peek().is_none() {
        return Err(empty(name));
    }
    SparseTable::pack(examples, features)
}

/// The examples of a text, one by one as it is read. The iterator ends after the first error.
#[derive(Debug)]
pub struct Examples<R> {
    lines: Lines<R>,
    /// The largest allowed index.
    max_index: u32,
    labels: Labels,
    failed: bool,
}

impl<R: BufRead> Examples<R> {
    /// Reads examples of at most `features` features. Errors name the text `name`.
    pub fn new(from: R, name: impl Into<String>, features: Option<usize>) -> Self {
        let max_index = features.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX));
        Self { lines: Lines::new(from, name), max_index, labels: Labels::default(), failed: false }
    }

    /// The next example, or `None` at the end of the text.
    fn read(&mut self) -> Result<Option<SparseExample>> {
        let Some(text) = self.lines.next()? else {
            return Ok(None);
        };
        match example(text, self.max_index, &mut self.labels) {
            Ok(example) => Ok(Some(example)),
            Err(what) => Err(self.lines.bad(what)),
        }
    }
}

impl<R: BufRead> Iterator for Examples<R> {
    type Item = Result<SparseExample>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let example = self.read();
        self.failed = example.is_err();
        example.transpose()
    }
}

/// Reads a line without its comment, or returns an error message.
fn example(text: &str, max_index: u32, labels: &mut Labels) -> Result<SparseExample, String> {
    let mut words = text.split_ascii_whitespace();
    let label = words.next().unwrap_or_default();
    if label.contains(':') {
        return Err(format!("{label:?} stands where the label should be: put 0, 1 or -1 first"));
    }
    let positive = labels.positive(label)?;
    let mut features = Vec::new();
    // The largest index so far, counted from 1.
    let mut last = 0;
    for word in words {
        let Some((index, value)) = word.split_once(':') else {
            return Err(format!("{word:?} is not a feature: write index:value"));
        };
        let index = number(index, word)?;
        if index == 0 {
            return Err(format!("{word:?} has index 0: indices count from 1"));
        }
        if index > max_index {
            return Err(format!(
                "{word:?} is above the largest index, {max_index}: read the file with as many features as \
                 the model has, and leave out what it does not know"
            ));
        }
        if index <= last {
            let problem = if index == last { "twice" } else { "out of order" };
            return Err(format!(
                "{word:?} is {problem}, after index {last}: sort each line's features by index, and \
                 give each once"
            ));
        }
        last = index;
        let value =
            value.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| {
                format!("{word:?} has no finite value: give a number, or leave it out")
            })?;
        features.push(Entry { index: index - 1, value });
    }
    Ok(SparseExample { positive, features })
}

/// The index of a feature.
fn number(index: &str, word: &str) -> Result<u32, String> {
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    match index.parse() {
        Ok(number) if digits => Ok(number),
        _ if digits => Err(format!("{word:?}: indices go up to {}", u32::MAX)),
        _ => Err(format!("{word:?} has no index: write a whole number before the colon")),
    }
}
