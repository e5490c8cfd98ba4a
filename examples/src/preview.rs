//! Time and cost of a job on AWS Lambda, before it runs.

use siren_core::{Profile, Result, StepTime};
use siren_hsp::Config;
use siren_hsp::preview::{Preview, PreviewInput};

use crate::print_line;

/// Prints the time and the cost of the job of `config` on AWS Lambda for several allocations. The
/// model has `parameters` parameters, all examples together have `data_bytes`, and a step takes the
/// time of `step`.
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
    print_line!("{}", Preview::new(config, &subject, &Profile::aws_lambda(), step)?);
    Ok(())
}
