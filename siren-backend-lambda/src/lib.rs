//! Siren workers on AWS Lambda, with parameters and data on S3.
//!
//! The crate has two sides. The *driver* (feature `driver`, the default) is where the trainer runs:
//! it invokes functions, and reads and writes the parameters at barriers. The *function* (feature
//! `function`) is a binary that AWS runs and that serves one workload. The module `deploy` sets up
//! the AWS resources that both need. The part of a function that does not depend on AWS is in
//! [`siren_function`].
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod aws;
#[cfg(feature = "driver")]
mod backend;
#[cfg(feature = "deploy")]
pub mod deploy;
#[cfg(feature = "function")]
mod function;
mod objects;

#[cfg(feature = "driver")]
pub use backend::{Bills, LambdaBackend, LambdaSettings, Report};
#[cfg(feature = "function")]
pub use function::serve;
pub use objects::{S3Objects, Traffic};
pub use siren_function::payload;
