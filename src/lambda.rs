//! Workers on AWS Lambda, parameters and data on S3.

#[cfg(feature = "lambda")]
mod trainer;

pub use siren_backend_lambda::*;
#[cfg(feature = "lambda")]
pub use trainer::{LambdaOptions, LambdaTrainer, trainer};
