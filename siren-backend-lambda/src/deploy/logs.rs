//! The function's log group.

use std::collections::HashMap;

use aws_sdk_cloudwatchlogs::Client;
use siren_core::Result;

use super::answer::unless_absent;
use super::names::{Names, Place};
use super::{DeploySettings, Step, foreign};
use crate::aws;

const ABSENT: &[&str] = &["ResourceNotFoundException"];

/// An existing log group.
pub(super) struct LogGroup {
    pub(super) ours: bool,
    pub(super) bytes: u64,
    pub(super) retention_days: Option<u32>,
}

pub(super) async fn describe(
    logs: &Client,
    names: &Names,
    place: &Place,
) -> Result<Option<LogGroup>> {
    let name = &names.log_group;
    let what = &format!("looking for the log group {name}");
    let answer = logs.describe_log_groups().log_group_name_prefix(name).send().await;
    // The group whose whole name equals the prefix comes first.
    let groups = answer.map_err(|error| aws::error(what, error))?.log_groups.unwrap_or_default();
    let Some(group) = groups.into_iter().find(|group| group.log_group_name() == Some(name)) else {
        return Ok(None);
    };
    let Place { account, partition, region, .. } = place;
    let arn = format!("arn:{partition}:logs:{region}:{account}:log-group:{name}");
    let answer = logs.list_tags_for_resource().resource_arn(arn).send().await;
    let tags =
        unless_absent(answer, ABSENT, what)?.and_then(|answer| answer.tags).unwrap_or_default();
    Ok(Some(LogGroup {
        ours: names.own(tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
        bytes: group.stored_bytes().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        retention_days: group.retention_in_days().and_then(|days| u32::try_from(days).ok()),
    }))
}

pub(super) fn plan(
    found: Option<&LogGroup>,
    names: &Names,
    settings: &DeploySettings,
) -> Result<Vec<Step>> {
    let days = settings.log_days;
    let retention = Step::SetRetention { days };
    match found {
        None => Ok(vec![Step::CreateLogGroup, retention]),
        Some(group) if !group.ours => {
            let remedy =
                "give the deployment another name, or remove the log group if it is unused";
            Err(foreign("log group", &names.log_group, names, remedy))
        }
        Some(group) if group.retention_days == Some(days) => Ok(Vec::new()),
        Some(_) => Ok(vec![retention]),
    }
}

pub(super) async fn apply(logs: &Client, step: &Step, names: &Names) -> Result<()> {
    let name = &names.log_group;
    let what = &format!("setting up the log group {name}");
    match step {
        Step::SetRetention { days } => logs
            .put_retention_policy()
            .log_group_name(name)
            .retention_in_days(i32::try_from(*days).unwrap_or(i32::MAX))
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
        _ => {
            let tags = names.tags().map(|(key, value)| (key.to_owned(), value.to_owned()));
            logs.create_log_group()
                .log_group_name(name)
                .set_tags(Some(HashMap::from(tags)))
                .send()
                .await
                .map(drop)
                .map_err(|error| aws::error(what, error))
        }
    }
}

pub(super) async fn remove(logs: &Client, name: &str) -> Result<()> {
    let answer = logs.delete_log_group().log_group_name(name).send().await;
    unless_absent(answer, ABSENT, &format!("removing the log group {name}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::names;
    use super::*;

    #[test]
    fn a_log_group_is_created_once_and_kept_as_long_as_asked() {
        let plan = |group: Option<&LogGroup>| plan(group, &names(), &DeploySettings::default());
        let retention = Step::SetRetention { days: 7 };
        assert_eq!(plan(None).unwrap(), [Step::CreateLogGroup, retention.clone()]);
        let mut group = LogGroup { ours: true, bytes: 0, retention_days: None };
        assert_eq!(plan(Some(&group)).unwrap(), [retention]);
        group.retention_days = Some(7);
        assert_eq!(plan(Some(&group)).unwrap(), []);
        group.ours = false;
        assert!(plan(Some(&group)).unwrap_err().message().contains("/aws/lambda/siren is there"));
    }
}
