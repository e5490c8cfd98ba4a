//! Connecting: checks the function and the bucket before money is spent.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::StalledStreamProtectionConfig;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::types::Architecture;
use aws_sdk_s3::error::SdkError;
use siren_core::{Clock, Error, ErrorKind, Platform, Result};
use siren_function::WallClock;

use super::invoke::{Ended, Invoker};
use super::{LambdaSettings, http};
use crate::aws;
use crate::payload::{self, Description, Reply, Request, RequestKind, VERSION};

/// Memory sizes are rounded up to a multiple of this, in MB, to limit the number of versions.
const MEMORY_STEP_MB: u32 = 64;

/// The timeout of a request for the description of a function, including its start.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(60);

/// The result of connecting.
pub(super) struct Found {
    pub(super) invoker: Invoker,
    /// For everything but invocations.
    pub(super) control: Client,
    pub(super) platform: Platform,
    /// The hash of the function's code.
    pub(super) code: String,
}

pub(super) async fn connect(settings: &LambdaSettings, clock: WallClock) -> Result<Found> {
    settings.check()?;
    let control = Client::new(&settings.config);
    let invocations = aws_sdk_lambda::config::Builder::from(&settings.config)
        .http_client(http::client()?)
        // An invocation that runs twice is paid for twice: only the caller knows which calls may be
        // repeated.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    let invoker = Invoker {
        client: Client::from_conf(invocations),
        clock,
        function: settings.function.clone(),
        counter: Arc::default(),
    };
    check_bucket(settings).await?;
    let (platform, code) = describe_platform(settings, &control).await?;
    check_function(settings, &invoker).await?;
    Ok(Found { invoker, control, platform, code })
}

/// Refuses a bucket that does not exist, or that may not be used.
async fn check_bucket(settings: &LambdaSettings) -> Result<()> {
    let config = aws_sdk_s3::config::Builder::from(&settings.config)
        .force_path_style(settings.config.endpoint_url().is_some())
        .build();
    let head = aws_sdk_s3::Client::from_conf(config).head_bucket().bucket(&settings.bucket);
    let what = format!("checking the bucket {}", settings.bucket);
    match head.send().await {
        Ok(_) => Ok(()),
        // The answer to HEAD has no body, and so no code.
        Err(SdkError::ServiceError(refused)) if refused.raw().status().as_u16() == 404 => {
            Err(Error::rejected(format!(
                "there is no bucket {}: deploy first, or name the one that was deployed",
                settings.bucket
            ))
            .with_source(SdkError::ServiceError(refused)))
        }
        Err(error) => Err(aws::error(&what, error)),
    }
}

/// The function's platform with the account's limits, and the hash of the function's code.
async fn describe_platform(
    settings: &LambdaSettings,
    control: &Client,
) -> Result<(Platform, String)> {
    let function = &settings.function;
    let get = control.get_function_configuration().function_name(function).send().await;
    let found = get.map_err(|error| {
        use aws_sdk_lambda::error::ProvideErrorMetadata;
        match error.code() {
            Some("ResourceNotFoundException") => not_deployed(settings).with_source(error),
            _ => aws::error(&format!("checking the function {function}"), error),
        }
    })?;
    let mut platform = match found.architectures().contains(&Architecture::Arm64) {
        true => Platform::aws_lambda_arm64(),
        false => Platform::aws_lambda(),
    };
    platform.limits.memory_step_mb = MEMORY_STEP_MB;
    let seconds = |timeout: &Duration| u32::try_from(timeout.as_secs()).unwrap_or(900);
    platform.limits.timeouts_s = settings.timeouts.iter().map(seconds).collect();
    platform.limits.timeout =
        platform.limits.timeout.min(settings.timeouts.last().copied().unwrap_or_default());
    let whole = |number: i32| u32::try_from(number).unwrap_or(0);
    // Permission to invoke a function does not include reading these limits. Without them the
    // default limits apply, and refusals slow down launches above the true ones.
    let account = control.get_account_settings().send().await.ok();
    if let Some(limit) = account.as_ref().and_then(|account| account.account_limit()) {
        let free = limit.unreserved_concurrent_executions();
        platform.limits.concurrency = whole(free.unwrap_or(limit.concurrent_executions()));
    }
    let reserved = control.get_function_concurrency().function_name(function).send().await.ok();
    if let Some(reserved) = reserved.and_then(|found| found.reserved_concurrent_executions) {
        platform.limits.concurrency = whole(reserved);
    }
    if platform.limits.concurrency == 0 {
        return Err(Error::rejected(format!(
            "the function {function} may not run at all: remove its reserved concurrency of 0, or \
             ask AWS for a higher limit"
        )));
    }
    Ok((platform, found.code_sha256.unwrap_or_default()))
}

/// Refuses a function of another workload or another version, or one that does not start.
async fn check_function(settings: &LambdaSettings, invoker: &Invoker) -> Result<()> {
    let request = RequestKind::Describe {
        bucket: settings.bucket.clone(),
        store_prefix: settings.store_prefix.clone(),
    };
    let request = payload::write(&Request::new(request), "the request")?;
    let give_up_at = invoker.clock.now() + settings.launch_retry_time;
    let reply = loop {
        match invoker.invoke(None, &request, DESCRIBE_TIMEOUT).await {
            Ended::Answered(response, _) => break response.reply,
            Ended::Refused(error) if invoker.clock.now() >= give_up_at => return Err(error),
            Ended::Refused(_) => {
                let again = invoker.clock.now() + super::throttle::delay(1, u64::MAX);
                invoker.clock.sleep_until(again).await;
            }
            Ended::Crashed(error, _) if error.kind() == ErrorKind::Rejected => return Err(error),
            Ended::Crashed(error, _) => {
                return Err(Error::rejected(format!(
                    "the function {} does not describe itself: deploy it again, built with this \
                     version of siren",
                    settings.function
                ))
                .with_source(error));
            }
            Ended::Rejected(error) | Ended::Lost(error) => return Err(error),
        }
    };
    match reply {
        Reply::Description(found) => check_description(settings, &found),
        Reply::Failed(failure) => Err(failure.into()),
        Reply::Report(_) | Reply::Stored { .. } => super::invoke::unexpected(),
    }
}

fn check_description(settings: &LambdaSettings, found: &Description) -> Result<()> {
    let function = &settings.function;
    if found.version != VERSION {
        return Err(Error::rejected(format!(
            "the function {function} is built with version {} of siren, the driver with {VERSION}: \
             deploy it again",
            found.version
        )));
    }
    if (found.layout, found.dim) != (settings.layout, settings.dim as u64) {
        return Err(Error::rejected(format!(
            "the function {function} serves a workload of {} parameters with layout {:016x}, \
             and the run's has {} with layout {:016x}: deploy the run's workload again",
            found.dim, found.layout, settings.dim, settings.layout
        )));
    }
    Ok(())
}

fn not_deployed(settings: &LambdaSettings) -> Error {
    let region = settings.config.region().map_or("no region", |region| region.as_ref());
    Error::rejected(format!(
        "there is no function {} in {region}: deploy first, or give the region in which it was \
         deployed",
        settings.function
    ))
}

#[cfg(test)]
mod tests;
