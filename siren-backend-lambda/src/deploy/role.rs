//! The execution role of the function.

use aws_sdk_iam::Client;
use aws_sdk_iam::types::Tag;
use serde_json::Value;
use siren_core::{Error, ErrorKind, Result};

use super::answer::unless_absent;
use super::names::{BUCKET, Names, Place};
use super::{Step, foreign, policy};
use crate::aws;

/// The role's only policy.
const POLICY: &str = "siren";
const ABSENT: &[&str] = &["NoSuchEntity"];

/// An existing role.
pub(super) struct Role {
    pub(super) ours: bool,
    /// The bucket that its tag names.
    pub(super) bucket: Option<String>,
    trust: Option<Value>,
    permissions: Option<Value>,
}

pub(super) async fn describe(iam: &Client, names: &Names) -> Result<Option<Role>> {
    let name = &names.role;
    let what = &format!("looking for the role {name}");
    let answer = iam.get_role().role_name(name).send().await;
    let Some(role) = unless_absent(answer, ABSENT, what)?.and_then(|answer| answer.role) else {
        return Ok(None);
    };
    let ours = names.own(role.tags().iter().map(|tag| (tag.key(), tag.value())));
    let bucket =
        role.tags().iter().find(|tag| tag.key() == BUCKET).map(|tag| tag.value().to_owned());
    let trust = role.assume_role_policy_document().and_then(document);
    let permissions = if ours {
        let answer = iam.get_role_policy().role_name(name).policy_name(POLICY).send().await;
        unless_absent(answer, ABSENT, what)?.and_then(|answer| document(answer.policy_document()))
    } else {
        None
    };
    Ok(Some(Role { ours, bucket, trust, permissions }))
}

/// Parses a policy document. IAM returns documents percent-encoded.
fn document(text: &str) -> Option<Value> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    serde_json::from_slice(&bytes).ok()
}

pub(super) fn plan(found: Option<&Role>, names: &Names, place: &Place) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    match found {
        None => steps.push(Step::CreateRole),
        Some(role) if !role.ours => {
            let remedy = "give the deployment another name, or remove the role if it is unused";
            return Err(foreign("role", &names.role, names, remedy));
        }
        Some(role) if role.trust.as_ref() != Some(&policy::trust()) => steps.push(Step::SetTrust),
        Some(_) => {}
    }
    let permitted = |role: &Role| role.permissions == Some(policy::permissions(names, place));
    if !found.is_some_and(permitted) {
        steps.push(Step::SetPermissions);
    }
    Ok(steps)
}

pub(super) async fn apply(iam: &Client, step: &Step, names: &Names, place: &Place) -> Result<()> {
    let name = &names.role;
    let what = &format!("setting up the role {name}");
    match step {
        Step::CreateRole => {
            let mut request = iam
                .create_role()
                .role_name(name)
                .description("permissions of a Siren function")
                .assume_role_policy_document(policy::trust().to_string());
            let bucket = (BUCKET, names.bucket.as_str());
            for (key, value) in names.tags().into_iter().chain([bucket]) {
                let tag = Tag::builder().key(key).value(value).build().map_err(|error| {
                    Error::new(ErrorKind::Other, format!("{what} is incomplete")).with_source(error)
                })?;
                request = request.tags(tag);
            }
            request.send().await.map(drop).map_err(|error| aws::error(what, error))
        }
        Step::SetTrust => iam
            .update_assume_role_policy()
            .role_name(name)
            .policy_document(policy::trust().to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
        _ => iam
            .put_role_policy()
            .role_name(name)
            .policy_name(POLICY)
            .policy_document(policy::permissions(names, place).to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| aws::error(what, error)),
    }
}

/// Removes the role with its inline policies, and detaches its managed policies.
pub(super) async fn remove(iam: &Client, name: &str) -> Result<()> {
    let what = &format!("removing the role {name}");
    let answer = iam.list_role_policies().role_name(name).send().await;
    for policy in
        unless_absent(answer, ABSENT, what)?.map(|answer| answer.policy_names).unwrap_or_default()
    {
        let answer = iam.delete_role_policy().role_name(name).policy_name(policy).send().await;
        unless_absent(answer, ABSENT, what)?;
    }
    let answer = iam.list_attached_role_policies().role_name(name).send().await;
    let attached = unless_absent(answer, ABSENT, what)?.and_then(|answer| answer.attached_policies);
    for policy in attached.unwrap_or_default() {
        let arn = policy.policy_arn.unwrap_or_default();
        let answer = iam.detach_role_policy().role_name(name).policy_arn(arn).send().await;
        unless_absent(answer, ABSENT, what)?;
    }
    unless_absent(iam.delete_role().role_name(name).send().await, ABSENT, what).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::{names, place};
    use super::*;

    #[test]
    fn a_document_with_percent_signs_is_read() {
        assert_eq!(
            document("%7B%22a%22%3A%221%25%22%7D"),
            serde_json::from_str(r#"{"a":"1%"}"#).ok()
        );
        assert_eq!(document(r#"{"a": 1}"#), serde_json::from_str(r#"{"a":1}"#).ok());
        for bad in ["%", "%7", "%zz", "{"] {
            assert_eq!(document(bad), None);
        }
    }

    #[test]
    fn permissions_that_were_changed_are_set_again() {
        let mut role = Role {
            ours: true,
            bucket: None,
            trust: Some(policy::trust()),
            permissions: Some(policy::permissions(&names(), &place())),
        };
        assert_eq!(plan(Some(&role), &names(), &place()).unwrap(), []);
        role.permissions = None;
        role.trust = None;
        let steps = plan(Some(&role), &names(), &place()).unwrap();
        assert_eq!(steps, [Step::SetTrust, Step::SetPermissions]);
        role.ours = false;
        let error = plan(Some(&role), &names(), &place()).unwrap_err();
        assert!(
            error.message().contains("the role siren-ap-southeast-1 is there already"),
            "{error}"
        );
    }
}
