//! The settings of the backend.

use std::time::Duration;

use aws_config::SdkConfig;
use siren_core::{Error, Result, Seed, Workload};
use siren_hsp::ObjectOptions;

/// The default timeouts of the versions of a function.
const TIMEOUTS: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(900)];

/// The function to invoke, and its workers' store and data.
///
/// ```no_run
/// use siren_backend_lambda::LambdaSettings;
/// use siren_backend_lambda::aws::Aws;
/// # use siren_core::{Result, Workload};
/// # use siren_data::PackedData;
///
/// # async fn example(workload: &dyn Workload, packed: &PackedData) -> Result<LambdaSettings> {
/// let aws = Aws { region: Some("us-east-1".into()), ..Aws::default() };
/// let config = aws.config().await?;
/// let data_key = packed.key("train")?; // The data is uploaded under this key.
/// let settings = LambdaSettings {
///     in_region: true,
///     ..LambdaSettings::new(config, "siren", "my-bucket", "runs/first", data_key, workload)
/// };
/// # Ok(settings)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LambdaSettings {
    /// The configuration of the AWS clients: see [`Aws::config`](crate::aws::Aws::config).
    pub config: SdkConfig,
    /// The name of the function.
    pub function: String,
    /// The bucket of the parameters and the data.
    pub bucket: String,
    /// The prefix of all keys of the store. It contains the run's name.
    pub store_prefix: String,
    /// Options of the object store.
    pub options: ObjectOptions,
    /// The key of the packed training data.
    pub data_key: String,
    /// The hash of the layout that the function's workload must have.
    pub layout: u64,
    /// The number of parameters that the function's workload must have.
    pub dim: usize,
    /// The timeouts of the versions of the function, in whole seconds, the shortest first. An
    /// invocation uses the first that is long enough. An invocation that hangs is billed until this
    /// timeout.
    pub timeouts: Vec<Duration>,
    /// The time for which a refused launch is repeated before its invocation fails.
    pub launch_retry_time: Duration,
    /// The seed of the random delays between repeated launches.
    pub seed: Seed,
    /// `true` if the driver runs in the bucket's region, where its reads cost no data transfer.
    pub in_region: bool,
}

impl LambdaSettings {
    /// Settings for a workload, with timeouts of 30, 120 and 900 s and repeated launches for 5
    /// minutes.
    pub fn new(
        config: SdkConfig,
        function: impl Into<String>,
        bucket: impl Into<String>,
        store_prefix: impl Into<String>,
        data_key: impl Into<String>,
        workload: &dyn Workload,
    ) -> Self {
        Self {
            config,
            function: function.into(),
            bucket: bucket.into(),
            store_prefix: store_prefix.into(),
            options: ObjectOptions::default(),
            data_key: data_key.into(),
            layout: workload.layout().hash(),
            dim: workload.dim(),
            timeouts: TIMEOUTS.to_vec(),
            launch_retry_time: Duration::from_secs(300),
            seed: Seed::new(0),
            in_region: false,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        for (what, text) in [
            ("the function's name", &self.function),
            ("the bucket", &self.bucket),
            ("the store's prefix", &self.store_prefix),
            ("the key of the data", &self.data_key),
        ] {
            if text.is_empty() {
                return Err(Error::rejected(format!("{what} is empty: give one")));
            }
        }
        let sound = |timeout: &Duration| {
            timeout.subsec_nanos() == 0 && (1..=900).contains(&timeout.as_secs())
        };
        if self.timeouts.is_empty()
            || !self.timeouts.iter().all(sound)
            || !self.timeouts.is_sorted()
        {
            return Err(Error::rejected(format!(
                "the timeouts of the function's versions are {:?}: give whole seconds from 1 to 900, the \
                 shortest first",
                self.timeouts
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(timeouts: &[u64]) -> LambdaSettings {
        LambdaSettings {
            config: SdkConfig::builder().build(),
            function: "f".into(),
            bucket: "b".into(),
            store_prefix: "s".into(),
            options: ObjectOptions::default(),
            data_key: "d".into(),
            layout: 1,
            dim: 1,
            timeouts: timeouts.iter().copied().map(Duration::from_secs).collect(),
            launch_retry_time: Duration::ZERO,
            seed: Seed::new(0),
            in_region: false,
        }
    }

    #[test]
    fn each_bad_setting_is_named() {
        for timeouts in [&[][..], &[0], &[901], &[120, 30]] {
            let error = settings(timeouts).check().unwrap_err();
            assert!(error.message().contains("whole seconds"), "{error}");
        }
        let none = LambdaSettings { bucket: String::new(), ..settings(&[30]) };
        assert!(none.check().unwrap_err().message().contains("bucket"));
    }
}
