//! The names of the parts of a deployment, and their location.

use aws_config::SdkConfig;
use siren_core::{Error, ErrorKind, Result};

use super::DeploySettings;
use crate::aws;

/// The prefix of the keys of runs. The function may read, write and delete these objects. They
/// expire.
pub const RUNS: &str = "runs/";
/// The prefix of the keys of packed data. The function may read these objects. They do not expire.
pub const DATA: &str = "data/";

/// The tag that all parts carry, and its value.
pub(super) const PROJECT: (&str, &str) = ("project", "siren");
/// The tag with the deployment's name.
pub(super) const DEPLOYMENT: &str = "siren-deployment";
/// The role's tag with the name of the bucket, so that later commands need no bucket name.
pub(super) const BUCKET: &str = "siren-bucket";

/// An account and a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) account: String,
    /// `aws`, except in the regions of China and of governments.
    pub(super) partition: String,
    pub(super) region: String,
    /// A custom endpoint instead of AWS's own.
    pub(super) endpoint: Option<String>,
}

impl Place {
    /// Asks AWS for the account of the credentials.
    pub(super) async fn ask(config: &SdkConfig) -> Result<Self> {
        let endpoint = config.endpoint_url().map(str::to_owned);
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(Error::rejected(
                "no region is set: give one, such as us-east-1, or set AWS_REGION",
            ));
        };
        check_region(&region)?;
        let what = "asking AWS for the account of the credentials";
        let answer = aws_sdk_sts::Client::new(config).get_caller_identity().send().await;
        let identity = answer.map_err(|error| match aws::error(what, error) {
            error if error.kind() == ErrorKind::Lost => {
                let at = endpoint.as_deref().unwrap_or(&region);
                Error::new(
                    ErrorKind::Lost,
                    format!(
                        "{what} got no answer from {at}: check the network, the region's name and the \
                         endpoint"
                    ),
                )
                .with_source(error)
            }
            error => error,
        })?;
        let account = identity.account().unwrap_or_default().to_owned();
        if account.is_empty() {
            return Err(Error::new(ErrorKind::Corrupt, format!("{what} gave no account")));
        }
        let partition = identity.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        Ok(Self { account, partition: partition.to_owned(), region, endpoint })
    }
}

/// Refuses a text that cannot be the name of a region: its address would not answer.
fn check_region(region: &str) -> Result<()> {
    let mut parts = region.split('-');
    let small = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_region =
        parts.next_back().is_some_and(number) && parts.clone().count() >= 2 && parts.all(small);
    if is_region {
        return Ok(());
    }
    Err(Error::rejected(format!("there is no region `{region}`: give one such as us-east-1")))
}

/// The names of the parts of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The deployment.
    pub deployment: String,
    /// The bucket.
    pub bucket: String,
    /// The role. Its name is unique in the account, across regions.
    pub role: String,
    /// The log group.
    pub log_group: String,
    /// The function.
    pub function: String,
}

impl Names {
    pub(super) fn new(settings: &DeploySettings, place: &Place) -> Self {
        let DeploySettings { name, bucket, .. } = settings;
        let Place { account, region, .. } = place;
        Self {
            deployment: name.clone(),
            bucket: bucket.clone().unwrap_or_else(|| format!("{name}-{account}-{region}")),
            role: format!("{name}-{region}"),
            log_group: format!("/aws/lambda/{name}"),
            function: name.clone(),
        }
    }

    /// Replaces the bucket name by that of the existing deployment.
    pub(super) fn remember(&mut self, bucket: String, asked: Option<&str>) -> Result<()> {
        if let Some(asked) = asked
            && asked != bucket
        {
            return Err(Error::rejected(format!(
                "the deployment {} has the bucket {bucket}, not {asked}: give that one or none, or remove \
                 the deployment and keep its data first",
                self.deployment
            )));
        }
        self.bucket = bucket;
        Ok(())
    }

    /// The tags of all parts.
    pub(super) fn tags(&self) -> [(&str, &str); 2] {
        [PROJECT, (DEPLOYMENT, &self.deployment)]
    }

    /// `true` if these tags contain all tags of this deployment.
    pub(super) fn own<'a>(&self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let mut missing = self.tags().to_vec();
        for tag in tags {
            missing.retain(|wanted| *wanted != tag);
        }
        missing.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::deploy) fn place() -> Place {
        Place {
            account: "123456789012".into(),
            partition: "aws".into(),
            region: "ap-southeast-1".into(),
            endpoint: None,
        }
    }

    pub(in crate::deploy) fn names() -> Names {
        Names::new(&DeploySettings::default(), &place())
    }

    #[test]
    fn the_longest_names_fit() {
        let settings = DeploySettings { name: "s".repeat(30), ..DeploySettings::default() };
        settings.check().unwrap();
        let names = Names::new(&settings, &place());
        assert!(names.bucket.len() <= 63 && names.role.len() <= 64, "{names:?}");
        assert_eq!(self::names().bucket, "siren-123456789012-ap-southeast-1");
    }

    #[test]
    fn only_both_tags_make_a_part_ours() {
        let names = names();
        assert!(names.own([("a", "b"), ("siren-deployment", "siren"), ("project", "siren")]));
        assert!(!names.own([("project", "siren")]));
        assert!(!names.own([("project", "siren"), ("siren-deployment", "other")]));
        assert!(!names.own([]));
    }

    #[test]
    fn another_bucket_than_the_deployments_is_refused() {
        let mut names = names();
        names.remember("mine".into(), Some("mine")).unwrap();
        names.remember("mine".into(), None).unwrap();
        assert_eq!(names.bucket, "mine");
        let error = names.remember("mine".into(), Some("yours")).unwrap_err();
        assert!(error.message().contains("has the bucket mine, not yours"), "{error}");
    }

    #[test]
    fn what_is_no_region_is_refused() {
        for region in ["us-east-1", "us-gov-west-1", "ap-southeast-12"] {
            check_region(region).unwrap();
        }
        for region in
            ["", "us-east", "useast1", "us_east_1", "US-EAST-1", "-1", "us--1", "http://x-y-1"]
        {
            let error = check_region(region).unwrap_err();
            assert!(error.message().contains("such as us-east-1"), "{error}");
        }
    }
}
