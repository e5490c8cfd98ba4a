//! Lines of a text, and what is wrong with them.

use std::fmt::Display;
use std::io::BufRead;

use siren_core::{Error, ErrorKind, Result};

/// The lines of a text that say something, without comments, which go from `#` to the end of a line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    /// Stands for the file in errors.
    name: String,
    /// The number of the line that was read last, from 1.
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R, name: impl Into<String>) -> Self {
        Self { from, name: name.into(), number: 0, line: Vec::new() }
    }

    /// The next line, trimmed, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&str>> {
        let content = |line: &[u8]| line.split(|&byte| byte == b'#').next().map_or(0, <[u8]>::len);
        loop {
            self.number += 1;
            self.line.clear();
            let read = self.from.read_until(b'\n', &mut self.line);
            if read.map_err(|error| self.unreadable().with_source(error))? == 0 {
                return Ok(None);
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            self.line.truncate(content(&self.line));
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let text = str::from_utf8(&self.line).map_err(|_| self.unreadable())?;
        Ok(Some(text.trim_ascii()))
    }

    /// What is wrong in the line that was read last, and the remedy.
    pub(crate) fn bad(&self, what: impl Display) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}, line {}: {what}", self.name, self.number))
    }

    /// Bytes that cannot be read or unpacked.
    fn unreadable(&self) -> Error {
        self.bad("the file is truncated, damaged or no text: copy it again")
    }
}

/// What some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A file without an example.
pub(crate) fn empty(name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{name} holds no examples: is it the right file?"))
}

/// The class that a label stands for.
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

/// Tells positives from negatives in a file with labels 0 and 1, or -1 and 1, but not all three.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    negative: Option<Label>,
}

impl Labels {
    /// Whether the label is positive, or what is wrong with it.
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
