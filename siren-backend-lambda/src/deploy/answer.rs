//! Answers of AWS for which a missing resource is not a failure.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use siren_core::Result;

use crate::aws;

/// The error code of a refusal, or an empty string.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

/// `true` if AWS is still changing the same resource: try again.
pub(super) fn is_busy<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(
        code(error),
        "ResourceConflictException"
            | "OperationAborted"
            | "OperationAbortedException"
            | "BucketNotEmpty"
    )
}

/// The answer, or `None` when the error code is one of `absent`: the resource does not exist.
pub(super) fn unless_absent<T, E>(
    answer: Result<T, SdkError<E, HttpResponse>>,
    absent: &[&str],
    what: &str,
) -> Result<Option<T>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if absent.contains(&code(&error)) => Ok(None),
        Err(error) => Err(aws::error(what, error)),
    }
}
