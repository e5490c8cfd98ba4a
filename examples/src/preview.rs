//! What a job would cost on AWS Lambda, before it runs.

use siren_core::{Profile, Result, StepTime};
use siren_hsp::Config;
use siren_hsp::preview::{Preview, PreviewInput};

/// Prints what the job of `config` would take and cost on AWS Lambda for a number of allocations: a model
/// of so many parameters, on so many examples of `data_bytes` in all, which computes as `step` says.
///
/// # Errors
///
/// As [`Preview::new`].
pub fn print(
    config: &Config,
    parameters: u64,
    examples: u64,
    data_bytes: u64,
    step: &StepTime,
) -> Result<()> {
    let subject = PreviewInput::new(parameters, examples, data_bytes);
    println!("{}", Preview::new(config, &subject, &Profile::aws_lambda(), step)?);
    Ok(())
}
