//! Versions of the function, one for each requested memory size and timeout.
//!
//! Memory and timeout belong to a version, and cannot be given with an invocation. So each pair has
//! its own version, under an alias such as `m512-t120-1f3c20aa`. It is published on the first
//! request and reused. The last part of the alias is a hash of the code, so that a deployment
//! during a job does not change the code that the job invokes.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{LastUpdateStatus, State};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use parking_lot::Mutex;
use siren_core::{Clock, Error, ErrorKind, Result};
use siren_function::WallClock;
use xxhash_rust::xxh3::xxh3_64;

use crate::aws;

/// The longest wait for a change of the function.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time between two polls of a change.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The number of attempts to publish a version: each fails if another driver changes the function
/// meanwhile.
const MAX_TRIES: usize = 5;

pub(super) struct Versions {
    client: Client,
    clock: WallClock,
    function: String,
    /// The hash of the code that versions must have.
    code: String,
    /// Aliases that point to the right version.
    ready: Mutex<HashSet<String>>,
    /// Allows one change of the function at a time.
    change: tokio::sync::Mutex<()>,
}

/// The memory and timeout of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    memory_mb: u32,
    timeout: Duration,
}

impl Size {
    fn alias(self, code: &str) -> String {
        let code = xxh3_64(code.as_bytes()) >> 32;
        format!("m{}-t{}-{code:08x}", self.memory_mb, self.timeout.as_secs())
    }

    fn is_of(self, version: &GetFunctionConfigurationOutput) -> bool {
        version.memory_size == i32::try_from(self.memory_mb).ok()
            && version.timeout == i32::try_from(self.timeout.as_secs()).ok()
    }
}

/// `true` if the alias has the form of names that this module gives.
pub(crate) fn is_ours(alias: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = alias.strip_prefix('m').and_then(|rest| rest.split_once("-t"));
    parts
        .and_then(|(memory, rest)| Some((memory, rest.split_once('-')?)))
        .is_some_and(|(memory, (timeout, of))| number(memory) && number(timeout) && code(of))
}

impl Versions {
    pub(super) fn new(client: Client, clock: WallClock, function: &str, code: &str) -> Self {
        Self {
            client,
            clock,
            function: function.into(),
            code: code.into(),
            ready: Mutex::default(),
            change: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the alias of the version with this memory and timeout, and publishes it if needed.
    pub(super) async fn alias(&self, memory_mb: u32, timeout: Duration) -> Result<String> {
        let size = Size { memory_mb, timeout };
        let alias = size.alias(&self.code);
        if self.ready.lock().contains(&alias) {
            return Ok(alias);
        }
        let _one = self.change.lock().await;
        if !self.ready.lock().contains(&alias) {
            self.provide(size, &alias).await?;
            self.ready.lock().insert(alias.clone());
        }
        Ok(alias)
    }

    async fn provide(&self, size: Size, alias: &str) -> Result<()> {
        let there = self.version_of(alias).await?;
        if self.fits(size, there.as_deref()).await? {
            return Ok(());
        }
        let version = self.publish(size).await?;
        let what = || format!("pointing the alias {alias} of {} to a version", self.function);
        let pointed = match there {
            Some(_) => {
                self.retry_on_conflict(|| async {
                    let update = self.client.update_alias().function_name(&self.function);
                    let update = update.name(alias).function_version(&version);
                    update.send().await.map(drop).map_err(|error| refused(&what(), error))
                })
                .await
            }
            // Another driver may have created it meanwhile. The check below accepts that alias if
            // it fits.
            None => {
                let create = self.client.create_alias().function_name(&self.function);
                let create = create.name(alias).function_version(&version).send().await;
                create.map(drop).map_err(|error| refused(&what(), error))
            }
        };
        match pointed {
            Err(error) if !self.fits(size, self.version_of(alias).await?.as_deref()).await? => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// `true` if a version has this size and this driver's code.
    async fn fits(&self, size: Size, version: Option<&str>) -> Result<bool> {
        let Some(version) = version else { return Ok(false) };
        let version = self.configuration(Some(version)).await?;
        Ok(version.code_sha256() == Some(&self.code) && size.is_of(&version))
    }

    /// The version that an alias points to.
    async fn version_of(&self, alias: &str) -> Result<Option<String>> {
        let get = self.client.get_alias().function_name(&self.function).name(alias).send().await;
        match get {
            Ok(found) => Ok(found.function_version),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => {
                let what = format!("looking for the alias {alias} of {}", self.function);
                Err(aws::error(&what, error))
            }
        }
    }

    async fn configuration(&self, version: Option<&str>) -> Result<GetFunctionConfigurationOutput> {
        let get = self.client.get_function_configuration().function_name(&self.function);
        get.set_qualifier(version.map(str::to_owned)).send().await.map_err(|error| {
            aws::error(
                &format!("reading the configuration of the function {}", self.function),
                error,
            )
        })
    }

    /// Publishes a version of this size. Two drivers may change the function at the same time: the
    /// published version is checked, and published again if it has the other driver's size.
    async fn publish(&self, size: Size) -> Result<String> {
        for _ in 0..MAX_TRIES {
            self.change_to(size).await?;
            if self.settled(None).await?.code_sha256() != Some(&self.code) {
                return Err(self.other_code());
            }
            let what = format!("publishing a version of {}", self.function);
            let published = self
                .retry_on_conflict(|| async {
                    let publish = self.client.publish_version().function_name(&self.function);
                    let publish =
                        publish.code_sha256(&self.code).description(size.alias(&self.code));
                    publish.send().await.map_err(|error| match error.code() {
                        Some("InvalidParameterValueException" | "PreconditionFailedException") => {
                            self.other_code().with_source(error)
                        }
                        _ => refused(&what, error),
                    })
                })
                .await?;
            let version = published.version.unwrap_or_default();
            if size.is_of(&self.settled(Some(&version)).await?) {
                return Ok(version);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "another driver keeps changing the function {}: give each driver its own function",
                self.function
            ),
        ))
    }

    fn other_code(&self) -> Error {
        Error::rejected(format!(
            "the function {} was deployed again since the driver connected: connect again",
            self.function
        ))
    }

    async fn change_to(&self, size: Size) -> Result<()> {
        let what = format!("changing the memory and timeout of {}", self.function);
        self.retry_on_conflict(|| async {
            let update = self.client.update_function_configuration();
            update
                .function_name(&self.function)
                .memory_size(i32::try_from(size.memory_mb).unwrap_or(i32::MAX))
                .timeout(i32::try_from(size.timeout.as_secs()).unwrap_or(i32::MAX))
                .send()
                .await
                .map(drop)
                .map_err(|error| refused(&what, error))
        })
        .await
    }

    /// Waits until a change of the function, or of a version, is complete.
    async fn settled(&self, version: Option<&str>) -> Result<GetFunctionConfigurationOutput> {
        let deadline = self.clock.now() + CHANGE_TIMEOUT;
        loop {
            let found = self.configuration(version).await?;
            let failed = found.last_update_status() == Some(&LastUpdateStatus::Failed)
                || found.state() == Some(&State::Failed);
            if failed {
                let why = found.last_update_status_reason().or(found.state_reason());
                return Err(Error::rejected(format!(
                    "the function {} cannot be changed: {}",
                    self.function,
                    why.unwrap_or("AWS does not say why")
                )));
            }
            let changing = found.last_update_status() == Some(&LastUpdateStatus::InProgress)
                || found.state() == Some(&State::Pending);
            if !changing {
                return Ok(found);
            }
            if self.clock.now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Lost,
                    format!(
                        "a change of the function {} takes longer than {CHANGE_TIMEOUT:?}",
                        self.function
                    ),
                ));
            }
            self.clock.sleep_until(self.clock.now() + POLL_INTERVAL).await;
        }
    }

    /// Makes a change, and repeats it while another change is in progress.
    async fn retry_on_conflict<T, F: Future<Output = Result<T>>>(
        &self,
        change: impl Fn() -> F,
    ) -> Result<T> {
        let deadline = self.clock.now() + CHANGE_TIMEOUT;
        loop {
            match change().await {
                Err(error)
                    if error.kind() == ErrorKind::Conflict && self.clock.now() < deadline =>
                {
                    self.clock.sleep_until(self.clock.now() + POLL_INTERVAL).await;
                }
                changed => return changed,
            }
        }
    }
}

/// Converts a refusal. A conflict gets its own kind, since it passes.
fn refused<E>(what: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error.code() {
        Some("ResourceConflictException") => {
            let why = format!("{what} failed, because another change is in progress");
            Error::new(ErrorKind::Conflict, why).with_source(error)
        }
        _ => aws::error(what, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_aliases_are_ours() {
        let size = Size { memory_mb: 512, timeout: Duration::from_secs(120) };
        assert_ne!(size.alias("one"), size.alias("another"));
        for ours in [size.alias("one").as_str(), "m512-t120-0123abcd", "m10240-t900-00000000"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in
            ["live", "m-t", "m512", "m512-t", "m5x-t3", "am512-t120", "m512-t120-old", "m512-t120"]
        {
            assert!(!is_ours(other), "{other}");
        }
    }
}
