//! Waiting until a function is ready.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::client::Waiters;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use siren_core::{Error, ErrorKind, Result};

use super::super::answer::code;

/// The longest wait for Lambda to make a function ready.
const WAIT: Duration = Duration::from_secs(180);

/// Waits until a new function can be invoked.
pub(super) async fn active(lambda: &Client, name: &str) -> Result<()> {
    let waiter = lambda.wait_until_function_active_v2().function_name(name);
    waiter.wait(WAIT).await.map(drop).map_err(|error| not_ready(name, error))
}

/// Waits until a change has been made.
pub(super) async fn updated(lambda: &Client, name: &str) -> Result<()> {
    let waiter = lambda.wait_until_function_updated_v2().function_name(name);
    waiter.wait(WAIT).await.map(drop).map_err(|error| not_ready(name, error))
}

fn not_ready(name: &str, error: impl StdError + Send + Sync + 'static) -> Error {
    let says = format!(
        "the function {name} is not ready: check its state in the Lambda console, and set up again"
    );
    Error::new(ErrorKind::Other, says).with_source(error)
}

/// `true` if Lambda refuses a role only because it is new. IAM propagates a new role within
/// seconds.
pub(super) fn is_new_role<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let message = error.as_service_error().and_then(ProvideErrorMetadata::message);
    says_new_role(code(error), message.unwrap_or_default())
}

fn says_new_role(code: &str, message: &str) -> bool {
    code == "InvalidParameterValueException"
        && [
            "cannot be assumed by Lambda",
            "execution role does not have permissions",
            "KMS key is invalid for CreateGrant",
        ]
        .iter()
        .any(|says| message.contains(says))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_role_is_waited_for() {
        let code = "InvalidParameterValueException";
        assert!(says_new_role(
            code,
            "The role defined for the function cannot be assumed by Lambda."
        ));
        assert!(!says_new_role(code, "Unzipped size must be smaller than 262144000 bytes"));
        assert!(!says_new_role("AccessDeniedException", "cannot be assumed by Lambda"));
    }
}
