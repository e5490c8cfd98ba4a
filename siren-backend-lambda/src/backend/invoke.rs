//! One invocation, from its launch to its answer.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use siren_core::{Clock, Error, ErrorKind, Platform, Result};
use siren_function::WallClock;

use super::bills::{Counter, add};
use super::http::NotSent;
use super::{Report, crash};
use crate::aws;
use crate::payload::{self, Response, Timing};

/// The time allowed for a start and the network, in addition to a function's own timeout.
const SLACK: Duration = Duration::from_secs(20);

/// Seconds of an invocation that the function cannot measure itself: an upper bound in ordinary
/// cases.
const UNMEASURED_S: f64 = 0.01;

/// The outcome of a launch.
pub(super) enum Ended {
    /// The platform did not start it, but may do so later.
    Refused(Error),
    /// It did not start, and a repetition would fail too.
    Rejected(Error),
    /// It may have run, and the outcome is unknown.
    Lost(Error),
    /// The function answered.
    Answered(Box<Response>, Option<Report>),
    /// It crashed, or the platform ended it.
    Crashed(Error, Option<Report>),
}

/// Invokes one function.
pub(super) struct Invoker {
    pub(super) client: Client,
    pub(super) clock: WallClock,
    pub(super) function: String,
    pub(super) counter: Arc<Counter>,
}

impl Invoker {
    /// Invokes the version behind `alias`, or the latest code, whose timeout is `timeout`.
    pub(super) async fn invoke(
        &self,
        alias: Option<&str>,
        request: &[u8],
        timeout: Duration,
    ) -> Ended {
        let send = self
            .client
            .invoke()
            .function_name(&self.function)
            .set_qualifier(alias.map(str::to_owned))
            .log_type(LogType::Tail)
            .payload(Blob::new(request))
            .send();
        add(&self.counter.sent, request.len());
        let limit = timeout + SLACK;
        let sent = tokio::select! {
            biased;
            sent = send => sent,
            () = self.clock.sleep_until(self.clock.now() + limit) => {
                let why = format!("the function {} did not answer within {limit:?}", self.function);
                return Ended::Lost(Error::new(ErrorKind::Lost, why));
            }
        };
        match sent {
            Ok(output) => self.read(output),
            Err(error) => self.failed(error),
        }
    }

    fn read(&self, output: InvokeOutput) -> Ended {
        let report = output.log_result().and_then(Report::in_tail);
        let body = output.payload().map(Blob::as_ref).unwrap_or_default();
        add(&self.counter.received, body.len());
        if output.function_error().is_some() {
            return Ended::Crashed(crash::judge(body, report.as_ref()), report);
        }
        match payload::read::<Response>(body, "the function's answer") {
            Ok(response) => Ended::Answered(Box::new(response), report),
            Err(error) => Ended::Crashed(error, report),
        }
    }

    fn failed(&self, error: SdkError<InvokeError, HttpResponse>) -> Ended {
        let what = format!("invoking the function {}", self.function);
        if matches!(error, SdkError::ResponseError(_)) {
            let why = format!("{what} got an answer that breaks off");
            return Ended::Lost(Error::new(ErrorKind::Lost, why).with_source(error));
        }
        let code = error.code().unwrap_or_default();
        let status = error.raw_response().map(|response| response.status().as_u16());
        match (code, status) {
            // The platform answers these before anything runs.
            (
                "TooManyRequestsException"
                | "EC2ThrottledException"
                | "ResourceNotReadyException"
                | "ResourceConflictException"
                | "ENILimitReachedException"
                | "ThrottlingException",
                _,
            )
            | (_, Some(429)) => Ended::Refused(
                Error::new(ErrorKind::Throttled, format!("{what} was refused: {code}"))
                    .with_source(error),
            ),
            ("ResourceNotFoundException", _) => Ended::Rejected(
                Error::rejected(format!(
                    "there is no function {}, or no such version of it: deploy first, or give the \
                     region in which it was deployed",
                    self.function
                ))
                .with_source(error),
            ),
            ("RequestTooLargeException", _) => Ended::Rejected(
                Error::rejected(format!("{what} failed: the request is too large"))
                    .with_source(error),
            ),
            (_, None) if was_not_sent(&error) => Ended::Refused(
                Error::new(ErrorKind::Lost, format!("{what} found no connection"))
                    .with_source(error),
            ),
            (_, None) => match error {
                SdkError::ConstructionFailure(_) => {
                    let why = format!("{what} failed: {}", DisplayErrorContext(&error));
                    Ended::Rejected(Error::rejected(why))
                }
                // Nothing was sent: for example, credentials were missing.
                SdkError::DispatchFailure(failure) if !failure.is_io() && !failure.is_timeout() => {
                    let why = format!(
                        "{what} failed before anything was sent: if the credentials have expired, log \
                         in again"
                    );
                    let error = SdkError::<InvokeError, HttpResponse>::DispatchFailure(failure);
                    Ended::Rejected(Error::rejected(why).with_source(error))
                }
                error => Ended::Lost(aws::error(&what, error)),
            },
            (_, Some(500..)) => Ended::Lost(aws::error(&what, error)),
            _ => Ended::Rejected(aws::error(&what, error)),
        }
    }
}

/// `true` if no connection was made, so that nothing was sent.
fn was_not_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotSent>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The billed time, computed from the function's own measurements.
pub(super) fn computed(platform: &Platform, timing: &Timing) -> Option<Duration> {
    // Not measured: the time before the process starts its clock, and the time after its answer.
    // Both take a few milliseconds.
    let seconds = timing.init_s.unwrap_or(0.0) + timing.handler_s + UNMEASURED_S;
    Some(platform.billed(Duration::try_from_secs_f64(seconds).ok()?))
}

/// The error for an invocation whose launches were refused for too long.
pub(super) fn gave_up(error: Error, refusals: u32, after: Duration) -> Error {
    let kind = error.kind();
    let why = format!("the platform refused an invocation {refusals} times in {after:.0?}");
    Error::new(kind, why).with_source(error)
}

/// The error for an answer that does not fit the request.
pub(super) fn unexpected() -> Result<()> {
    Err(Error::new(ErrorKind::Corrupt, "the function's answer does not fit the request"))
}

#[cfg(test)]
mod tests;
