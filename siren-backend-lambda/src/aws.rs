//! Configuration of the AWS clients, and the meaning of AWS errors.

use std::error::Error as StdError;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use siren_core::{Error, ErrorKind, Result};

/// The AWS region, profile and endpoint. A value that is `None` comes from the sources of AWS's own
/// tools: environment variables, the files in `~/.aws`, the machine's role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// The region.
    pub region: Option<String>,
    /// The profile in `~/.aws`.
    pub profile: Option<String>,
    /// A custom endpoint for all services, instead of AWS's own.
    pub endpoint: Option<String>,
}

impl Aws {
    /// Returns the configuration of AWS clients. Makes no request, except for the credentials of a
    /// role.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] without a region or without credentials, naming the remedy.
    pub async fn config(&self) -> Result<SdkConfig> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(Error::rejected(
                "no region is set: give one, such as us-east-1, or set AWS_REGION",
            ));
        }
        let Some(credentials) = config.credentials_provider() else {
            return Err(Error::rejected(NO_CREDENTIALS));
        };
        use aws_sdk_s3::config::ProvideCredentials;
        credentials
            .provide_credentials()
            .await
            .map_err(|error| Error::rejected(NO_CREDENTIALS).with_source(error))?;
        Ok(config)
    }
}

const NO_CREDENTIALS: &str = "there are no AWS credentials: run `aws configure` or `aws sso login`, \
    name a profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// Converts an error of an AWS client. The message begins with `what`, the attempted operation,
/// such as "reading s3://bucket/key", and ends with a remedy.
pub fn error<E>(what: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let SdkError::ConstructionFailure(_) = &error {
        let says = format!("{what} could not be asked for: are region and credentials complete?");
        return Error::rejected(says).with_source(error);
    }
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let (SdkError::ResponseError(_), Some(200..300)) = (&error, status) {
        // The operation succeeded, and the answer broke off.
        return Error::new(ErrorKind::Lost, format!("{what} got an incomplete answer"))
            .with_source(error);
    }
    let service = error.as_service_error();
    let code = service.and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let message = service.and_then(ProvideErrorMetadata::message).unwrap_or_default();
    let (kind, remedy) = judge(status, code, message);
    let says = match (code, status) {
        ("", Some(status)) => format!("{what} failed: status {status}{remedy}"),
        ("", None) => format!("{what} got no answer{remedy}"),
        (code, _) => format!("{what} failed: {code}{remedy}"),
    };
    Error::new(kind, says).with_source(error)
}

/// Converts a refusal that is part of a successful answer, like [`error`].
pub(crate) fn refusal(what: &str, code: &str, message: &str) -> Error {
    let (kind, remedy) = judge(Some(400), code, message);
    Error::new(kind, format!("{what} failed: {code}{remedy}")).with_source(message)
}

fn judge(status: Option<u16>, code: &str, message: &str) -> (ErrorKind, &'static str) {
    use ErrorKind::{Lost, Other, Rejected, Throttled};
    match (code, status) {
        ("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "Forbidden", _) => {
            (Rejected, denied(message))
        }
        ("AllAccessDisabled" | "AccountProblem" | "NotSignedUp", _) => {
            (Rejected, ": AWS has disabled this account or bucket; ask its support")
        }
        ("InvalidAccessKeyId" | "UnrecognizedClientException" | "InvalidClientTokenId", _) => (
            Rejected,
            ": AWS does not know these credentials; run `aws configure` or name another profile",
        ),
        ("SignatureDoesNotMatch" | "InvalidSignatureException" | "RequestTimeTooSkewed", _) => {
            (Rejected, ": the secret key does not belong to the access key, or the clock is wrong")
        }
        ("ExpiredToken" | "ExpiredTokenException", _) => {
            (Rejected, ": the credentials have expired; log in again")
        }
        ("NoSuchBucket", _) => {
            (Rejected, ": there is no such bucket; deploy first, or name the one that was deployed")
        }
        (
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "IncorrectEndpoint"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        ) => (Rejected, ": the bucket is in another region; give that one"),
        (
            "SlowDown"
            | "TooManyRequestsException"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "ServiceUnavailable"
            | "EC2ThrottledException",
            _,
        )
        | (_, Some(429 | 503)) => (Throttled, ""),
        // The request arrived damaged or incomplete, so it had no effect.
        ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody", _) => {
            (Lost, "")
        }
        (_, None)
        | ("RequestTimeout" | "InternalError" | "OperationAborted" | "ServiceException", _) => {
            (Lost, "")
        }
        (_, Some(500..)) => (Lost, ""),
        (_, Some(301 | 307)) => (Rejected, ": the bucket is in another region; give that one"),
        (_, Some(403)) => (Rejected, denied(message)),
        _ => (Other, ""),
    }
}

/// The remedy for a denial, by the kind of policy that AWS's message names.
fn denied(message: &str) -> &'static str {
    let says = |words: &str| message.contains(words);
    if says("resource-based policy") {
        ": the bucket's or the function's own policy denies it; allow it there"
    } else if says("identity-based policy") {
        ": allow it in the policy of this role or user"
    } else if says("service control policy") || says("permissions boundary") {
        ": the organisation's policy or a permissions boundary denies it; ask the account's administrator"
    } else {
        ": allow it in the policy of this role or user and in the bucket's own policy"
    }
}
