//! Labels of two classes.

use siren_core::{Error, Result};

/// Reads a packed label of two classes: `true` for 1, `false` for 0.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if it is neither 0 nor 1.
#[inline]
pub fn binary_label(label: f32) -> Result<bool> {
    if label == 0.0 || label == 1.0 {
        return Ok(label == 1.0);
    }
    Err(Error::rejected(format!(
        "the label {label} is neither 0 nor 1: pack the data for a binary classifier, label first"
    )))
}

/// A label in a text file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Label {
    Positive,
    Zero,
    MinusOne,
}

impl Label {
    /// Reads 1, 0 or -1, also as `+1` or `1.0`.
    fn parse(text: &str) -> Option<Self> {
        match text.parse::<f32>() {
            Ok(1.0) => Some(Self::Positive),
            Ok(0.0) => Some(Self::Zero),
            Ok(-1.0) => Some(Self::MinusOne),
            _ => None,
        }
    }
}

/// Distinguishes positives from negatives in a file with labels 0 and 1, or -1 and 1, but not all
/// three.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    negative: Option<Label>,
}

impl Labels {
    /// `true` if the label is positive; an error message if it is not a label.
    pub(crate) fn positive(&mut self, text: &str) -> Result<bool, String> {
        match Label::parse(text) {
            None => Err(format!(
                "the label {text:?} is none of 0, 1 and -1: this reads data of two classes"
            )),
            Some(Label::Positive) => Ok(true),
            Some(negative) if *self.negative.get_or_insert(negative) == negative => Ok(false),
            Some(_) => Err(format!(
                "the label {text:?} in a file with both 0 and -1: use one of them for negatives"
            )),
        }
    }
}
