//! What the driver and a function say to each other.
//!
//! Both are JSON, with a number for the format. A function answers a failure of its worker as a value,
//! so that its kind survives: what AWS calls a function error is a crash.

use serde::{Deserialize, Serialize};
use siren_core::{Error, ErrorKind, Invocation, Result, WorkerReport};
use siren_hsp::ObjectOptions;

/// The number of this format. A function answers no other.
pub const FORMAT: u32 = 1;

/// The largest payload of a synchronous invocation, either way, in bytes. Source: the quotas of Lambda.
pub const MOST: usize = 6 * 1024 * 1024;

/// What a function is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What it is: costs next to nothing.
    Describe,
    /// To work.
    Run(Box<Job>),
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
pub struct Job {
    /// The bucket of the parameters.
    pub bucket: String,
    /// What all keys of the store begin with; the run's name is in it.
    pub store: String,
    /// How the store over objects works.
    pub options: ObjectOptions,
    /// The key of the packed training data, in the same bucket.
    pub data: String,
    /// What to do.
    pub invocation: Invocation,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its [`FORMAT`].
    pub format: u32,
    /// What is asked.
    pub ask: Ask,
}

impl Request {
    /// A request of this format.
    pub fn new(ask: Ask) -> Self {
        Self { format: FORMAT, ask }
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
    /// Seconds from the start of the process to the first request, in the invocation that was the first
    /// of its environment.
    pub init_s: Option<f64>,
    /// Seconds from the request to the reply.
    pub handler_s: f64,
    /// The longest heap and stacks, in bytes.
    pub peak_memory: u64,
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
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let corrupt =
        |error| Error::new(ErrorKind::Corrupt, format!("{what} cannot be read")).with_source(error);
    let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
    if head.format != FORMAT {
        return Err(Error::rejected(format!(
            "{what} has format {}, not {FORMAT}: deploy the function again, so that it and the driver are \
             of one version",
            head.format
        )));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}
