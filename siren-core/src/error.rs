//! One error type for all contracts.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

/// A result with Siren's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of failure of an [`Error`], on which a caller can act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The platform asked for fewer requests; try again later.
    Throttled,
    /// A request or an invocation got no answer: it may or may not have taken effect.
    Lost,
    /// The state is not the one that the call assumes, such as a push above the watermark.
    Conflict,
    /// The time allowed for an invocation is used up.
    DeadlineExceeded,
    /// The epoch is sealed: the call came too late, and changed nothing.
    Fenced,
    /// The input is not valid; the message names the input and the remedy.
    Rejected,
    /// A loss, gradient or parameter is not finite: training diverged.
    Diverged,
    /// The worker's own code failed or panicked.
    Worker,
    /// An invocation used more memory than its function has. It may succeed with more memory.
    OutOfMemory,
    /// Stored bytes fail their checksum or format.
    Corrupt,
    /// The money left of the budget does not pay for the call.
    Budget,
    /// Anything else, usually input and output; see the source.
    Other,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Lost => "lost",
            Self::Conflict => "conflict",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Fenced => "fenced",
            Self::Rejected => "rejected",
            Self::Diverged => "diverged",
            Self::Worker => "worker failed",
            Self::OutOfMemory => "out of memory",
            Self::Corrupt => "corrupt",
            Self::Budget => "budget",
            Self::Other => "failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Any failure in Siren: a [kind](ErrorKind) for the program, a message for a person, and the
/// source if another error caused it. The message never repeats its source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind with a message. Messages begin in lower case and have no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error of the kind [`ErrorKind::Rejected`], for an invalid input. The message names the
    /// input and the remedy.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    /// An error of the kind [`ErrorKind::Worker`], for a panic. `culprit` names the code that
    /// panicked, such as "the worker"; `payload` is the error of
    /// [`catch_unwind`](std::panic::catch_unwind).
    pub fn panicked(culprit: &str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Self::new(ErrorKind::Worker, format!("{culprit} panicked: {message}"))
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its source.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `true` if the same call may succeed later: for [`ErrorKind::Throttled`] and
    /// [`ErrorKind::Lost`].
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Throttled | ErrorKind::Lost)
    }

    /// The message, followed by those of all sources, separated by colons. A single line for a log.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            line.push_str(": ");
            line.push_str(&error.to_string());
            source = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return write!(f, "{}", self.kind);
        }
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_repeats_its_source() {
        let error = Error::rejected("cannot read the data folder")
            .with_source(std::io::Error::other("no such file"));
        assert_eq!(error.to_string(), "cannot read the data folder");
        assert_eq!(error.chain(), "cannot read the data folder: no such file");
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let says = |panic: fn()| {
            let payload = std::panic::catch_unwind(panic).unwrap_err();
            let error = Error::panicked("the worker", &*payload);
            assert_eq!(error.kind(), ErrorKind::Worker);
            error.to_string()
        };
        let formatted = || panic!("no {}", std::hint::black_box("good"));
        assert_eq!(says(formatted), "the worker panicked: no good");
        assert_eq!(says(|| panic!("as is")), "the worker panicked: as is");
        assert_eq!(says(|| std::panic::panic_any(7)), "the worker panicked: no message");
    }

    #[test]
    fn only_throttled_and_lost_are_transient() {
        assert!(Error::new(ErrorKind::Throttled, "").is_transient());
        assert!(Error::new(ErrorKind::Lost, "").is_transient());
        assert!(!Error::new(ErrorKind::Fenced, "").is_transient());
        assert!(!Error::new(ErrorKind::Worker, "").is_transient());
        assert!(!Error::new(ErrorKind::OutOfMemory, "").is_transient());
    }
}
