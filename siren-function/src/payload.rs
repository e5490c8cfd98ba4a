//! The messages between driver and function.
//!
//! Each is JSON with a format number. A function answers a failure of its worker as a value, so
//! that the error's kind survives. What a platform calls a function error is a crash.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siren_core::{Error, ErrorKind, Invocation, Result, WorkerReport};
use siren_hsp::ObjectOptions;

/// The number of this format. A function rejects all others.
pub const FORMAT: u32 = 3;

/// The version of siren that the function or the driver is built with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The task of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Describe the function, and check that it may use the store's keys. Costs two requests.
    Describe {
        /// The bucket.
        bucket: String,
        /// The prefix of all keys of the store.
        store_prefix: String,
    },
    /// Run the worker.
    Run(Box<RunRequest>),
    /// Read another request, too large for a payload, from this key of this bucket.
    Stored {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

/// An invocation, and the places of its parameters and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The bucket of the parameters.
    pub bucket: String,
    /// The prefix of all keys of the store; it contains the run's name.
    pub store_prefix: String,
    /// The options of the store over objects.
    pub options: ObjectOptions,
    /// The key of the packed training data, in the same bucket.
    pub data_key: String,
    /// The invocation.
    pub invocation: Invocation,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its [`FORMAT`].
    pub format: u32,
    /// The task.
    pub kind: RequestKind,
}

impl Request {
    /// A request of this format.
    pub fn new(kind: RequestKind) -> Self {
        Self { format: FORMAT, kind }
    }
}

/// The identity of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The [`VERSION`] that it is built with.
    pub version: String,
    /// The hash of the layout of the workload's parameters.
    pub layout: u64,
    /// The number of parameters.
    pub dim: u64,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The function's identity.
    Description(Description),
    /// The worker's report.
    Report(Box<WorkerReport>),
    /// The worker's failure, or that of the request.
    Failed(Failure),
    /// Another response, too large for a payload, is stored under this key of the run's bucket.
    Stored {
        /// The key.
        key: String,
    },
}

/// A failure of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: ErrorKind,
    /// Its message, with those of its sources.
    pub message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.chain() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.message)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Its [`FORMAT`].
    pub format: u32,
    /// The content.
    pub reply: Reply,
    /// The times that the function measured.
    pub timing: Timing,
}

/// The times that a function measured during one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds from the start of the process until it asked for its first request: the billed part
    /// of a start, without the wait for that request. Only in the answer to the first request.
    pub init_s: Option<f64>,
    /// Seconds from the request until the worker began: reading the request, opening the data and
    /// the store.
    pub start_s: f64,
    /// Seconds from the request to the reply.
    pub handler_s: f64,
    /// The largest memory that the process has held, in bytes.
    pub peak_memory_bytes: u64,
}

impl Response {
    /// An answer of this format.
    pub fn new(reply: Reply, timing: Timing) -> Self {
        Self { format: FORMAT, reply, timing }
    }
}

/// Reads a message, its format first.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] for another format, and [`ErrorKind::Corrupt`] if `bytes` are
/// not a message.
pub fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    parse(serde_json::from_slice(bytes).map_err(|error| corrupt(error, what))?, what)
}

/// As [`read`], from parsed JSON.
///
/// # Errors
///
/// As [`read`].
pub fn parse<T: DeserializeOwned>(message: Value, what: &str) -> Result<T> {
    match message.get("format").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => {
            return Err(Error::rejected(format!(
                "{what} has format {format}, not {FORMAT}: deploy the function again, so that it and \
                 the driver are of one version"
            )));
        }
        None => {
            let why = format!("{what} has no format number, so that it is not a message of siren");
            return Err(Error::new(ErrorKind::Corrupt, why));
        }
    }
    serde_json::from_value(message).map_err(|error| corrupt(error, what))
}

/// Writes a message.
///
/// # Errors
///
/// Returns [`ErrorKind::Corrupt`] when it cannot be written as JSON.
pub fn write<T: Serialize>(message: &T, what: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(message).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("{what} cannot be written")).with_source(error)
    })
}

fn corrupt(error: serde_json::Error, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} cannot be read")).with_source(error)
}

#[cfg(test)]
mod tests;
