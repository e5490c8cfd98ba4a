use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use siren_backend_lambda::deploy::{DeploySettings, Removal, Resource};
use siren_core::ErrorKind;

use super::clients::{Account, code};

/// Asserts that setting up is refused and changes nothing, and that removing keeps the foreign
/// part.
async fn refused(account: &Account, what: &str, foreign: Resource) {
    let before = account.everything().await;
    assert_eq!(before.len(), 1, "{before:?}");
    let deployment = account.named("siren").await;
    let error = deployment.up(&code(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let says = error.message();
    assert!(
        says.contains(what) && says.contains("does not carry the tags project=siren"),
        "{says}"
    );
    let removal = deployment.down(false).await.unwrap();
    assert_eq!(removal, Removal { foreign: vec![foreign], ..Removal::default() });
    assert_eq!(account.everything().await, before);
}

#[tokio::test]
async fn a_foreign_bucket_is_left_alone() {
    let account = Account::new(40).await;
    let bucket = format!("siren-{}-us-east-1", account.id);
    account.s3().create_bucket().bucket(&bucket).send().await.unwrap();
    refused(&account, &format!("the bucket {bucket} is there"), Resource::Bucket(bucket)).await;
}

#[tokio::test]
async fn a_foreign_role_is_left_alone() {
    let account = Account::new(41).await;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let request = account.iam().create_role().role_name("siren-us-east-1");
    request.assume_role_policy_document(trust).send().await.unwrap();
    let role = Resource::Role("siren-us-east-1".into());
    refused(&account, "the role siren-us-east-1 is there", role).await;
}

#[tokio::test]
async fn a_foreign_function_is_left_alone() {
    let account = Account::new(42).await;
    let request = account
        .lambda()
        .create_function()
        .function_name("siren")
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .role(format!("arn:aws:iam::{}:role/any", account.id))
        .tags("siren-deployment", "siren")
        .code(FunctionCode::builder().zip_file(Blob::new(code(1).zip())).build());
    request.send().await.unwrap();
    let function = Resource::Function("siren".into());
    refused(&account, "the function siren is there", function).await;
}

#[tokio::test]
async fn a_foreign_log_group_is_left_alone() {
    let account = Account::new(43).await;
    let group = "/aws/lambda/siren";
    account.logs().create_log_group().log_group_name(group).send().await.unwrap();
    refused(&account, "the log group /aws/lambda/siren is there", Resource::LogGroup(group.into()))
        .await;
}

#[tokio::test]
async fn a_part_of_another_deployment_is_refused() {
    let account = Account::new(44).await;
    let bucket = account.named("siren").await.up(&code(1)).await.unwrap().names.bucket;
    let settings = DeploySettings {
        name: "siren-two".into(),
        bucket: Some(bucket),
        ..DeploySettings::default()
    };
    let error = account.open(settings).await.up(&code(1)).await.unwrap_err();
    assert!(error.message().contains("siren-deployment=siren-two"), "{error}");
}

#[tokio::test]
async fn another_bucket_than_the_deployments_is_refused() {
    let account = Account::new(45).await;
    let before = account.named("siren").await.up(&code(1)).await.unwrap().names.bucket;
    let settings = DeploySettings { bucket: Some("another".into()), ..DeploySettings::default() };
    let error = account.open(settings).await.up(&code(1)).await.unwrap_err();
    let says = format!("has the bucket {before}, not another");
    assert!(error.message().contains(&says), "{error}");
}

#[tokio::test]
async fn a_bucket_of_another_account_is_refused() {
    let (one, two) = (Account::new(46).await, Account::new(47).await);
    let bucket = one.named("siren").await.up(&code(1)).await.unwrap().names.bucket;
    let settings = DeploySettings { bucket: Some(bucket), ..DeploySettings::default() };
    let error = two.open(settings).await.up(&code(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.message().contains("another account"), "{error}");
    assert_eq!(two.everything().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_in_another_region_is_refused() {
    let home = Account::new(48).await;
    let bucket = home.named("siren").await.up(&code(1)).await.unwrap().names.bucket;
    let away = Account::in_region(48, "eu-west-1").await;
    let settings = DeploySettings { bucket: Some(bucket), ..DeploySettings::default() };
    let error = away.open(settings).await.up(&code(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.message().contains("the bucket is in another region"), "{error}");
}
