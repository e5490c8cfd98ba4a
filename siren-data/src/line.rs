//! Lines of a text, and errors about them.

use std::fmt::Display;
use std::io::BufRead;

use siren_core::{Error, ErrorKind, Result};

/// The lines of a text, without blank lines and without comments, which run from `#` to the end of
/// a line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    /// The name of the text in errors.
    name: String,
    /// The number of the last line that was read, from 1.
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R, name: impl Into<String>) -> Self {
        Self { from, name: name.into(), number: 0, line: Vec::new() }
    }

    /// The next line, trimmed, or `None` at the end.
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

    /// An error about the last line that was read.
    pub(crate) fn bad(&self, what: impl Display) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}, line {}: {what}", self.name, self.number))
    }

    /// The error for bytes that cannot be read or unpacked.
    fn unreadable(&self) -> Error {
        self.bad("the file is truncated, damaged or no text: copy it again")
    }
}

/// The byte order mark that some programs write before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The error for a file without examples.
pub(crate) fn empty(name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{name} holds no examples: is it the right file?"))
}
