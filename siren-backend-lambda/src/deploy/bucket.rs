//! The bucket and its settings.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, Tag,
};
use serde_json::Value;
use siren_core::{Error, ErrorKind, Result};

use super::answer::{code, unless_absent};
use super::names::{Names, Place};
use super::{DeploySettings, RUNS, Step, foreign, policy};
use crate::aws;

/// The age at which unfinished uploads are deleted, in days.
const UPLOAD_DAYS: i32 = 2;

/// An existing bucket.
pub(super) struct Bucket {
    pub(super) ours: bool,
    private: bool,
    owned: bool,
    lifecycle: Vec<LifecycleRule>,
    policy: Option<Value>,
}

pub(super) async fn describe(s3: &Client, names: &Names) -> Result<Option<Bucket>> {
    let name = &names.bucket;
    let tags = match s3.get_bucket_tagging().bucket(name).send().await {
        Ok(answer) => answer.tag_set,
        Err(error) => match code(&error) {
            "NoSuchBucket" => return Ok(None),
            "NoSuchTagSet" => Vec::new(),
            "AccessDenied" => {
                let says = format!(
                    "the bucket {name} belongs to another account, or its tags may not be read: name \
                     another bucket, or allow s3:GetBucketTagging"
                );
                return Err(Error::rejected(says).with_source(error));
            }
            _ => return Err(aws::error(&format!("looking for the bucket {name}"), error)),
        },
    };
    let ours = names.own(tags.iter().map(|tag| (tag.key(), tag.value())));
    if !ours {
        // Another owner's settings need not be read.
        let (private, owned, lifecycle, policy) = Default::default();
        return Ok(Some(Bucket { ours, private, owned, lifecycle, policy }));
    }
    let what = &format!("reading the settings of the bucket {name}");
    let block = s3.get_public_access_block().bucket(name).send().await;
    let block = unless_absent(block, &["NoSuchPublicAccessBlockConfiguration"], what)?
        .and_then(|answer| answer.public_access_block_configuration);
    let owners = s3.get_bucket_ownership_controls().bucket(name).send().await;
    let owners = unless_absent(owners, &["OwnershipControlsNotFoundError"], what)?
        .and_then(|answer| answer.ownership_controls);
    let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(name).send().await;
    let lifecycle = unless_absent(lifecycle, &["NoSuchLifecycleConfiguration"], what)?;
    let policy = s3.get_bucket_policy().bucket(name).send().await;
    let policy =
        unless_absent(policy, &["NoSuchBucketPolicy"], what)?.and_then(|answer| answer.policy);
    Ok(Some(Bucket {
        ours,
        private: block == Some(private()),
        owned: owners == Some(owned(what)?),
        lifecycle: lifecycle.and_then(|answer| answer.rules).unwrap_or_default(),
        policy: policy.and_then(|text| serde_json::from_str(&text).ok()),
    }))
}

pub(super) fn plan(
    found: Option<&Bucket>,
    names: &Names,
    place: &Place,
    settings: &DeploySettings,
) -> Result<Vec<Step>> {
    let days = settings.expire_days;
    let mut steps = Vec::new();
    if let Some(bucket) = found
        && !bucket.ours
    {
        let remedy = "name another one, or remove it if it is unused";
        return Err(foreign("bucket", &names.bucket, names, remedy));
    }
    if found.is_none() {
        steps.push(Step::CreateBucket);
    }
    if !found.is_some_and(|bucket| bucket.private) {
        steps.push(Step::BlockPublicAccess);
    }
    if !found.is_some_and(|bucket| bucket.owned) {
        steps.push(Step::EnforceOwnership);
    }
    if !found.is_some_and(|bucket| expires(&bucket.lifecycle, days)) {
        steps.push(Step::SetLifecycle { days });
    }
    // Custom endpoints may have no TLS.
    let tls = |bucket: &Bucket| bucket.policy == Some(policy::tls_only(names, place));
    if place.endpoint.is_none() && !found.is_some_and(tls) {
        steps.push(Step::RequireTls);
    }
    Ok(steps)
}

pub(super) async fn apply(s3: &Client, step: &Step, names: &Names, place: &Place) -> Result<()> {
    let name = &names.bucket;
    let what = &format!("setting up the bucket {name}");
    match step {
        Step::CreateBucket => create(s3, names, place).await,
        Step::BlockPublicAccess => s3
            .put_public_access_block()
            .bucket(name)
            .public_access_block_configuration(private())
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
        Step::EnforceOwnership => s3
            .put_bucket_ownership_controls()
            .bucket(name)
            .ownership_controls(owned(what)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
        Step::SetLifecycle { days } => s3
            .put_bucket_lifecycle_configuration()
            .bucket(name)
            .lifecycle_configuration(lifecycle(*days).map_err(|error| incomplete(what, error))?)
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
        _ => s3
            .put_bucket_policy()
            .bucket(name)
            .policy(policy::tls_only(names, place).to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
    }
}

async fn create(s3: &Client, names: &Names, place: &Place) -> Result<()> {
    let name = &names.bucket;
    let what = &format!("creating the bucket {name}");
    let mut configuration = CreateBucketConfiguration::builder();
    // S3 refuses a location constraint that names us-east-1.
    if place.region != "us-east-1" {
        configuration = configuration
            .location_constraint(BucketLocationConstraint::from(place.region.as_str()));
    }
    // The bucket gets its tags at creation: after a crash, a bucket without tags would not be
    // recognised as part of the deployment.
    for (key, value) in names.tags() {
        let tag = Tag::builder().key(key).value(value).build();
        configuration = configuration.tags(tag.map_err(|error| incomplete(what, error))?);
    }
    let answer = s3
        .create_bucket()
        .bucket(name)
        .create_bucket_configuration(configuration.build())
        .object_ownership(ObjectOwnership::BucketOwnerEnforced)
        .send()
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == "BucketAlreadyExists" => Err(Error::rejected(format!(
            "the name of the bucket {name} is taken by another account: name another bucket"
        ))
        .with_source(error)),
        Err(error) => Err(aws::error(what, error)),
    }
}

fn private() -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build()
}

fn owned(what: &str) -> Result<OwnershipControls> {
    OwnershipControlsRule::builder()
        .object_ownership(ObjectOwnership::BucketOwnerEnforced)
        .build()
        .and_then(|rule| OwnershipControls::builder().rules(rule).build())
        .map_err(|error| incomplete(what, error))
}

fn lifecycle(days: u32) -> Result<BucketLifecycleConfiguration, BuildError> {
    let rule = |id: &str, prefix: &str| {
        LifecycleRule::builder()
            .id(id)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .status(ExpirationStatus::Enabled)
    };
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let uploads = AbortIncompleteMultipartUpload::builder().days_after_initiation(UPLOAD_DAYS);
    BucketLifecycleConfiguration::builder()
        .rules(
            rule("siren-runs", RUNS)
                .expiration(LifecycleExpiration::builder().days(days).build())
                .build()?,
        )
        .rules(
            rule("siren-uploads", "").abort_incomplete_multipart_upload(uploads.build()).build()?,
        )
        .build()
}

/// `true` if the rules are equivalent to those of [`lifecycle`]. Servers write an empty prefix in
/// different ways, which does not matter.
fn expires(rules: &[LifecycleRule], days: u32) -> bool {
    let Ok(wanted) = lifecycle(days) else { return false };
    let same = |rule: &LifecycleRule, wanted: &LifecycleRule| {
        let days = |rule: &LifecycleRule| rule.expiration.as_ref().and_then(|after| after.days);
        let uploads = |rule: &LifecycleRule| {
            rule.abort_incomplete_multipart_upload
                .as_ref()
                .and_then(|after| after.days_after_initiation)
        };
        let prefix = |rule: &LifecycleRule| {
            let prefix = rule.filter.as_ref().and_then(|filter| filter.prefix.clone());
            prefix.unwrap_or_default()
        };
        rule.id == wanted.id
            && rule.status == wanted.status
            && days(rule) == days(wanted)
            && uploads(rule) == uploads(wanted)
            && prefix(rule) == prefix(wanted)
    };
    rules.len() == wanted.rules.len()
        && wanted.rules.iter().all(|wanted| rules.iter().any(|rule| same(rule, wanted)))
}

fn incomplete(what: &str, error: BuildError) -> Error {
    Error::new(ErrorKind::Other, format!("{what} is incomplete")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::{names, place};
    use super::*;

    fn settled(days: u32) -> Bucket {
        Bucket {
            ours: true,
            private: true,
            owned: true,
            lifecycle: lifecycle(days).unwrap().rules,
            policy: Some(policy::tls_only(&names(), &place())),
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let plan = |bucket: &Bucket, place: &Place| {
            super::plan(Some(bucket), &names(), place, &DeploySettings::default()).unwrap()
        };
        assert_eq!(plan(&settled(30), &place()), []);
        assert_eq!(plan(&settled(31), &place()), [Step::SetLifecycle { days: 30 }]);
        let open = Bucket { private: false, policy: None, ..settled(30) };
        assert_eq!(plan(&open, &place()), [Step::BlockPublicAccess, Step::RequireTls]);
        let elsewhere = Place { endpoint: Some("http://127.0.0.1:1".into()), ..place() };
        assert_eq!(plan(&open, &elsewhere), [Step::BlockPublicAccess]);
    }

    #[test]
    fn a_bucket_without_our_tags_is_refused() {
        let bucket = Bucket { ours: false, ..settled(30) };
        let error =
            plan(Some(&bucket), &names(), &place(), &DeploySettings::default()).unwrap_err();
        assert!(error.message().contains("does not carry the tags project=siren"), "{error}");
    }
}
