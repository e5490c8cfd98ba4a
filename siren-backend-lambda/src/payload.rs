//! What the driver and a function say to each other.
//!
//! Both are JSON, with a number for the format. A function answers a failure of its worker as a value,
//! so that its kind survives: what AWS calls a function error is a crash.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siren_core::{Error, ErrorKind, Invocation, Result, WorkerReport};
use siren_hsp::ObjectOptions;

/// The number of this format. A function answers no other.
pub const FORMAT: u32 = 2;

/// The largest payload of a synchronous invocation, either way, in bytes. Source: the quotas of Lambda.
pub const MAX_BYTES: usize = 6 * 1024 * 1024;

/// What a function is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// What it is, and whether it may use the place of a store: costs next to nothing.
    Describe {
        /// The bucket.
        bucket: String,
        /// What all keys of the store will begin with.
        store_prefix: String,
    },
    /// To work.
    Run(Box<RunRequest>),
    /// To read another request, too large for a payload, from this key of this bucket.
    Stored {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

/// An invocation, and where its parameters and data are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The bucket of the parameters.
    pub bucket: String,
    /// What all keys of the store begin with; the run's name is in it.
    pub store_prefix: String,
    /// How the store over objects works.
    pub options: ObjectOptions,
    /// The key of the packed training data, in the same bucket.
    pub data_key: String,
    /// What to do.
    pub invocation: Invocation,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its [`FORMAT`].
    pub format: u32,
    /// What is asked.
    pub kind: RequestKind,
}

impl Request {
    /// A request of this format.
    pub fn new(kind: RequestKind) -> Self {
        Self { format: FORMAT, kind }
    }
}

/// What a function is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The version of this crate.
    pub version: String,
    /// The hash of the layout of the workload's parameters.
    pub layout: u64,
    /// The number of parameters.
    pub dim: u64,
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What it is.
    Description(Description),
    /// What its worker did.
    Report(Box<WorkerReport>),
    /// Why its worker did not.
    Failed(Failure),
    /// Another response, too large for a payload, stands under this key of the run's bucket.
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
    /// What it says, its sources included.
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
    /// What is answered.
    pub reply: Reply,
    /// What the function measured of its own time.
    pub timing: Timing,
}

/// What a function measured of its own time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds from the start of the process until it asked for its first request, in the answer to that
    /// request: what is billed of a start. How long the request then let itself be waited for is not in it.
    pub init_s: Option<f64>,
    /// Seconds from the request until the worker began: what reading the request, finding the data and
    /// opening the store take.
    pub start_s: f64,
    /// Seconds from the request to the reply.
    pub handler_s: f64,
    /// The longest heap and stacks, in bytes.
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
/// Rejected for another format, corrupt for what is no message.
pub fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    parse(serde_json::from_slice(bytes).map_err(|error| corrupt(error, what))?, what)
}

/// As [`read`], from what was parsed already.
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
            let why = format!("{what} has no format, so that it is none of ours");
            return Err(Error::new(ErrorKind::Corrupt, why));
        }
    }
    serde_json::from_value(message).map_err(|error| corrupt(error, what))
}

/// Writes a message.
///
/// # Errors
///
/// Corrupt when it cannot be written as JSON.
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
