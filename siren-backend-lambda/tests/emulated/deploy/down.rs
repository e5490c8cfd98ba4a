use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use siren_backend_lambda::deploy::{DeploySettings, Removal, Resource};

use super::clients::{Account, code};

#[tokio::test]
async fn down_removes_everything() {
    let account = Account::new(20).await;
    let deployment = account.named("siren").await;
    let names = deployment.up(&code(1)).await.unwrap().names;
    let s3 = account.s3();
    let put = |key: String| {
        s3.put_object()
            .bucket(&names.bucket)
            .key(key)
            .body(ByteStream::from_static(b"12345"))
            .send()
    };
    // The objects fill more than one page of a listing.
    for begin in (0..1_010).step_by(101) {
        let puts = (begin..begin + 101).map(|at| put(format!("runs/{at}")));
        futures::future::try_join_all(puts).await.unwrap();
    }
    let versioning =
        VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = s3.put_bucket_versioning().bucket(&names.bucket);
    request.versioning_configuration(versioning).send().await.unwrap();
    put("data/train".into()).await.unwrap();
    put("data/train".into()).await.unwrap();
    s3.delete_object().bucket(&names.bucket).key("data/train").send().await.unwrap();
    s3.create_multipart_upload().bucket(&names.bucket).key("data/half").send().await.unwrap();
    account.lambda().publish_version().function_name("siren").send().await.unwrap();
    let alias = account.lambda().create_alias().function_name("siren").name("m1");
    alias.function_version("1").send().await.unwrap();

    let bucket = deployment.status().await.unwrap().bucket.unwrap();
    // MiniStack lists an unversioned object twice at the end of a page.
    assert!([1_012, 1_013].contains(&bucket.objects), "{bucket:?}");
    assert_eq!(bucket.bytes, 5 * bucket.objects);
    let removal = deployment.down(false).await.unwrap();
    assert_eq!(removal.objects, 1_012);
    assert_eq!(
        removal.removed,
        [
            Resource::Function("siren".into()),
            Resource::LogGroup("/aws/lambda/siren".into()),
            Resource::Bucket(names.bucket),
            Resource::Role("siren-us-east-1".into()),
        ]
    );
    assert_eq!(account.everything().await, Vec::<String>::new());
    assert!(deployment.status().await.unwrap().is_nothing());
    assert_eq!(deployment.down(false).await.unwrap(), Removal::default());
}

#[tokio::test]
async fn down_takes_what_is_left_of_half_a_deployment() {
    let account = Account::new(21).await;
    let deployment = account.named("siren").await;
    deployment.up(&code(1)).await.unwrap();
    account.lambda().delete_function().function_name("siren").send().await.unwrap();
    let role = "siren-us-east-1";
    let policies = account.iam().list_role_policies().role_name(role).send().await.unwrap();
    for policy in policies.policy_names {
        let request = account.iam().delete_role_policy().role_name(role).policy_name(policy);
        request.send().await.unwrap();
    }
    account.iam().delete_role().role_name(role).send().await.unwrap();
    assert_eq!(deployment.down(false).await.unwrap().removed.len(), 2);
    assert_eq!(account.everything().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_attached_policy_does_not_prevent_the_removal_of_the_role() {
    let account = Account::new(22).await;
    let deployment = account.named("siren").await;
    let names = deployment.up(&code(1)).await.unwrap().names;
    let attach = account.iam().attach_role_policy().role_name(&names.role);
    attach.policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess").send().await.unwrap();
    deployment.down(false).await.unwrap();
    assert_eq!(account.everything().await, Vec::<String>::new());
}

#[tokio::test]
async fn deployments_live_beside_each_other() {
    let account = Account::new(23).await;
    let (one, two) = (account.named("siren").await, account.named("siren-two").await);
    one.up(&code(1)).await.unwrap();
    two.up(&code(2)).await.unwrap();
    let before = two.status().await.unwrap();
    assert_eq!(one.up(&code(1)).await.unwrap().steps, []);
    one.down(false).await.unwrap();
    assert!(one.status().await.unwrap().is_nothing());
    assert_eq!(two.status().await.unwrap(), before);
    assert_eq!(two.up(&code(2)).await.unwrap().steps, []);
}

#[tokio::test]
async fn kept_data_are_found_again() {
    let account = Account::new(24).await;
    let settings = DeploySettings {
        bucket: Some(format!("siren-kept-{}", account.id)),
        ..DeploySettings::default()
    };
    let named = account.open(settings.clone()).await;
    named.up(&code(1)).await.unwrap();
    // The bucket need not be named again while the role exists.
    let bucket = account.named("siren").await.status().await.unwrap().bucket.unwrap();
    assert_eq!(Some(&bucket.name), settings.bucket.as_ref());

    let key = account.s3().put_object().bucket(&bucket.name).key("data/train");
    key.body(ByteStream::from_static(b"12345")).send().await.unwrap();
    let removal = named.down(true).await.unwrap();
    assert_eq!(removal.kept, [Resource::Bucket(bucket.name.clone())]);
    assert_eq!(account.everything().await, std::slice::from_ref(&bucket.name));
    named.up(&code(1)).await.unwrap();
    assert_eq!(named.status().await.unwrap().bucket.unwrap().objects, 1);
    named.down(false).await.unwrap();
    assert_eq!(account.everything().await, Vec::<String>::new());
}
