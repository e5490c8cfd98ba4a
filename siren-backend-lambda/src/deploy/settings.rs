//! The settings of a deployment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use siren_core::{Error, Platform, Result};

/// The settings of a deployment.
#[derive(Clone, PartialEq, Eq)]
pub struct DeploySettings {
    /// The name of the deployment and of its function. Only a second deployment needs a name other
    /// than the default, `siren`.
    pub name: String,
    /// The bucket. By default it is named after the deployment, the account and the region.
    pub bucket: Option<String>,
    /// Memory of a new function, in MB.
    pub memory_mb: u32,
    /// Timeout of a new function.
    pub timeout: Duration,
    /// The age at which objects of runs expire, in days.
    pub expire_days: u32,
    /// The age at which log lines expire, in days: one of the values that CloudWatch accepts.
    pub log_days: u32,
    /// Additional variables of the function's environment. Their values are never printed.
    pub environment: BTreeMap<String, String>,
}

impl Default for DeploySettings {
    fn default() -> Self {
        Self {
            name: "siren".into(),
            bucket: None,
            memory_mb: 1_792,
            timeout: Duration::from_secs(900),
            expire_days: 30,
            log_days: 7,
            environment: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for DeploySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bucket, memory_mb, timeout, expire_days, log_days, environment } = self;
        f.debug_struct("DeploySettings")
            .field("name", name)
            .field("bucket", bucket)
            .field("memory_mb", memory_mb)
            .field("timeout", timeout)
            .field("expire_days", expire_days)
            .field("log_days", log_days)
            .field("environment", &environment.keys())
            .finish()
    }
}

/// The retention times of CloudWatch, in days, up to a year. Source: PutRetentionPolicy.
const LOG_DAYS: [u32; 12] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365];

impl DeploySettings {
    /// Refuses settings that AWS would refuse, before any request.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the setting.
    pub fn check(&self) -> Result<()> {
        // 30 letters leave room for the account and the region in a bucket's name, which has at
        // most 63.
        if !is_name(&self.name, 30) {
            return Err(Error::rejected(format!(
                "the deployment cannot be named `{}`: give 1 to 30 lowercase letters, digits and dashes that \
                 begin with a letter and do not end with a dash",
                self.name
            )));
        }
        if let Some(bucket) = &self.bucket
            && (bucket.len() < 3 || !is_bucket(bucket))
        {
            return Err(Error::rejected(format!(
                "a bucket cannot be named `{bucket}`: give 3 to 63 lowercase letters, digits and dashes that \
                 begin and end with a letter or digit"
            )));
        }
        let platform = Platform::aws_lambda();
        platform.check_memory(self.memory_mb)?;
        let seconds = self.timeout.as_secs();
        if seconds == 0
            || self.timeout > platform.limits.timeout
            || self.timeout.subsec_nanos() != 0
        {
            return Err(Error::rejected(format!(
                "functions cannot have a timeout of {} s: give 1 to 900 whole seconds",
                self.timeout.as_secs_f64()
            )));
        }
        if !(1..=3_650).contains(&self.expire_days) {
            return Err(Error::rejected(format!(
                "objects of runs cannot expire after {} days: give 1 to 3650",
                self.expire_days
            )));
        }
        if !LOG_DAYS.contains(&self.log_days) {
            return Err(Error::rejected(format!(
                "logs cannot be kept for {} days: give one of {LOG_DAYS:?}",
                self.log_days
            )));
        }
        Ok(())
    }
}

fn is_name(name: &str, most: usize) -> bool {
    is_bucket(name)
        && name.len() <= most
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Excludes dots, which the TLS certificate of the bucket's address does not cover.
fn is_bucket(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_refused_and_named() {
        let good = DeploySettings::default();
        good.check().unwrap();
        let named = |name: &str| DeploySettings { name: name.into(), ..good.clone() };
        let bucket = |name: &str| DeploySettings { bucket: Some(name.into()), ..good.clone() };
        let timeout = |timeout| DeploySettings { timeout, ..good.clone() };
        for (settings, says) in [
            (named(""), "named ``"),
            (named("Siren"), "`Siren`"),
            (named("9lives"), "`9lives`"),
            (named("siren-"), "`siren-`"),
            (named(&"s".repeat(31)), "1 to 30"),
            (bucket("ab"), "`ab`"),
            (bucket("a.b.c"), "`a.b.c`"),
            (bucket("UPPER"), "`UPPER`"),
            (DeploySettings { memory_mb: 64, ..good.clone() }, "64 MB"),
            (timeout(Duration::from_secs(901)), "901 s"),
            (timeout(Duration::from_millis(1_500)), "1.5 s"),
            (timeout(Duration::ZERO), "0 s"),
            (DeploySettings { expire_days: 0, ..good.clone() }, "0 days"),
            (DeploySettings { log_days: 8, ..good.clone() }, "8 days"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
        named("siren-2").check().unwrap();
        bucket("0-my-bucket").check().unwrap();
    }

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let environment = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let text = format!("{:?}", DeploySettings { environment, ..DeploySettings::default() });
        assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    }
}
