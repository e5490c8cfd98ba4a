use aws_sdk_s3::types::ObjectOwnership;
use serde_json::Value;
use siren_backend_lambda::deploy::{DeploySettings, Step};

use super::clients::{Account, code};

#[tokio::test]
async fn up_twice_is_the_same() {
    let account = Account::new(1).await;
    let deployment = account.named("siren").await;
    assert!(deployment.status().await.unwrap().is_nothing());

    let planned = deployment.plan(&code(1)).await.unwrap();
    assert!(account.everything().await.is_empty(), "a plan changes nothing");
    let done = deployment.up(&code(1)).await.unwrap();
    assert_eq!(done, planned);
    let bucket = format!("siren-{}-us-east-1", account.id);
    let parts = ["/aws/lambda/siren", "siren", &bucket, "siren-us-east-1"];
    let mut parts = parts.map(str::to_owned).to_vec();
    parts.sort();
    assert_eq!(account.everything().await, parts);

    let revision = || async {
        let request = account.lambda().get_function().function_name("siren").send();
        request.await.unwrap().configuration.unwrap().revision_id.unwrap()
    };
    let before = revision().await;
    assert_eq!(deployment.up(&code(1)).await.unwrap().steps, []);
    assert_eq!(revision().await, before);
}

#[tokio::test]
async fn only_changed_code_is_uploaded() {
    let account = Account::new(2).await;
    let deployment = account.named("siren").await;
    deployment.up(&code(1)).await.unwrap();
    let hash = || async {
        deployment.status().await.unwrap().function.expect("the function is there").code_sha256
    };
    assert_eq!(hash().await, code(1).code_sha256());

    let (from, to) = (code(1).code_sha256().to_owned(), code(2).code_sha256().to_owned());
    let done = deployment.up(&code(2)).await.unwrap();
    assert_eq!(done.steps, [Step::UpdateCode { from, to: to.clone() }]);
    assert_eq!(hash().await, to);
}

#[tokio::test]
async fn versions_of_other_sizes_are_not_undone() {
    let account = Account::new(3).await;
    let deployment = account.named("siren").await;
    deployment.up(&code(1)).await.unwrap();
    let lambda = account.lambda();
    let name = "siren";
    let change = lambda.update_function_configuration().function_name(name);
    change.memory_size(512).timeout(120).send().await.unwrap();
    use aws_sdk_lambda::client::Waiters;
    let waiter = lambda.wait_until_function_updated_v2().function_name(name);
    waiter.wait(std::time::Duration::from_secs(20)).await.unwrap();
    lambda.publish_version().function_name(name).send().await.unwrap();
    let alias = lambda.create_alias().function_name(name).name("m512-t120");
    alias.function_version("1").send().await.unwrap();

    assert_eq!(deployment.up(&code(1)).await.unwrap().steps, []);
    let function = deployment.status().await.unwrap().function.unwrap();
    assert_eq!(function.memory_mb, 512);
    assert_eq!((function.versions[0].memory_mb, function.versions[0].current), (512, true));
    assert_eq!(function.aliases[0].name, "m512-t120");

    deployment.up(&code(2)).await.unwrap();
    let function = deployment.status().await.unwrap().function.unwrap();
    assert!(!function.versions[0].current, "the version has the earlier code");
}

#[tokio::test]
async fn versions_of_earlier_code_are_removed_unless_they_have_a_foreign_alias() {
    let account = Account::new(9).await;
    let deployment = account.named("siren").await;
    let refused = deployment.prune().await.unwrap_err();
    assert!(refused.message().contains("no function siren"), "{}", refused.chain());
    let publish = async |number: u8, alias: &str| {
        deployment.up(&code(number)).await.unwrap();
        let publish = account.lambda().publish_version().function_name("siren");
        let version = publish.send().await.unwrap().version.unwrap();
        let create = account.lambda().create_alias().function_name("siren").name(alias);
        create.function_version(version).send().await.unwrap();
    };
    publish(1, "m512-t120-0123abcd").await;
    publish(2, "live").await;
    publish(3, "m512-t120-89abcdef").await;
    assert_eq!(deployment.prune().await.unwrap(), (1, 1));
    let function = deployment.status().await.unwrap().function.unwrap();
    let mut left: Vec<_> = function.aliases.iter().map(|alias| alias.name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["live", "m512-t120-89abcdef"]);
    assert_eq!(function.versions.len(), 2);
    assert_eq!(deployment.prune().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn the_bucket_is_private_and_runs_expire() {
    let account = Account::new(4).await;
    let settings = DeploySettings { expire_days: 9, ..DeploySettings::default() };
    let done = account.open(settings).await.up(&code(1)).await.unwrap();
    let (s3, bucket) = (account.s3(), done.names.bucket);

    let block = s3.get_public_access_block().bucket(&bucket).send().await.unwrap();
    let block = block.public_access_block_configuration.unwrap();
    let all = [
        block.block_public_acls,
        block.ignore_public_acls,
        block.block_public_policy,
        block.restrict_public_buckets,
    ];
    assert_eq!(all, [Some(true); 4]);
    let owners = s3.get_bucket_ownership_controls().bucket(&bucket).send().await.unwrap();
    let rules = owners.ownership_controls.unwrap().rules;
    assert_eq!(rules[0].object_ownership, ObjectOwnership::BucketOwnerEnforced);
    let rules = s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await.unwrap();
    let rules = rules.rules.unwrap();
    let runs = rules.iter().find(|rule| rule.expiration.is_some()).unwrap();
    assert_eq!(runs.filter.as_ref().unwrap().prefix.as_deref(), Some("runs/"));
    assert_eq!(runs.expiration.as_ref().unwrap().days, Some(9));
    assert!(rules.iter().any(|rule| rule.abort_incomplete_multipart_upload.is_some()));

    // A setting that was changed from outside is restored, and nothing else changes.
    s3.delete_public_access_block().bucket(&bucket).send().await.unwrap();
    let deployment = account.named("siren").await;
    let done = deployment.up(&code(1)).await.unwrap();
    assert_eq!(done.steps, [Step::BlockPublicAccess, Step::SetLifecycle { days: 30 }]);
    assert_eq!(deployment.up(&code(1)).await.unwrap().steps, []);
}

#[tokio::test]
async fn the_role_may_use_its_prefixes_and_nothing_else() {
    let account = Account::new(5).await;
    let names = account.named("siren").await.up(&code(1)).await.unwrap().names;
    let iam = account.iam();
    let listed = iam.list_role_policies().role_name(&names.role).send().await.unwrap();
    assert_eq!(listed.policy_names.len(), 1);
    let attached = iam.list_attached_role_policies().role_name(&names.role).send().await.unwrap();
    assert!(attached.attached_policies.unwrap_or_default().is_empty());

    let policy = iam.get_role_policy().role_name(&names.role).policy_name(&listed.policy_names[0]);
    let text = policy.send().await.unwrap().policy_document;
    let document: Value = serde_json::from_str(&percent(&text)).unwrap();
    let bucket = format!("arn:aws:s3:::{}", names.bucket);
    for statement in document["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let resource = statement["Resource"].as_str().expect("one resource in each statement");
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        };
        for action in actions {
            let action = action.as_str().unwrap();
            assert!(!action.contains('*'), "{action}");
            match action {
                "s3:PutObject" | "s3:DeleteObject" => {
                    assert_eq!(resource, format!("{bucket}/runs/*"));
                }
                "s3:GetObject" => {
                    assert!(
                        ["runs/*", "data/*"]
                            .map(|end| format!("{bucket}/{end}"))
                            .contains(&resource.into())
                    );
                }
                "s3:ListBucket" => {
                    assert_eq!(resource, bucket);
                    assert!(statement["Condition"]["StringLike"]["s3:prefix"].is_array());
                }
                "logs:CreateLogStream" | "logs:PutLogEvents" => {
                    assert!(resource.ends_with("log-group:/aws/lambda/siren:*"), "{resource}");
                }
                other => panic!("the role may do {other}"),
            }
        }
    }
}

/// Decodes a policy document. IAM returns documents percent-encoded.
fn percent(text: &str) -> String {
    let mut plain = text.to_owned();
    for (code, sign) in [
        ("%22", "\""),
        ("%7B", "{"),
        ("%7D", "}"),
        ("%5B", "["),
        ("%5D", "]"),
        ("%3A", ":"),
        ("%2C", ","),
        ("%2F", "/"),
        ("%2A", "*"),
        ("%20", " "),
        ("+", " "),
    ] {
        plain = plain.replace(code, sign);
    }
    plain
}

#[tokio::test]
async fn the_function_is_told_where_the_emulator_is() {
    let account = Account::new(6).await;
    account.named("siren").await.up(&code(1)).await.unwrap();
    let function = account.lambda().get_function().function_name("siren").send().await.unwrap();
    let found = function.configuration.unwrap();
    let variables = found.environment.unwrap().variables.unwrap();
    assert_eq!(
        variables.get("AWS_ENDPOINT_URL").map(String::as_str),
        account.config.endpoint_url()
    );
    assert_eq!(found.runtime.unwrap().as_str(), "provided.al2023");
    assert_eq!((found.memory_size, found.timeout), (Some(1_792), Some(900)));
    assert_eq!(function.tags.unwrap().get("project").map(String::as_str), Some("siren"));
}

#[tokio::test]
async fn another_region_has_a_deployment_of_its_own() {
    let home = Account::new(7).await;
    let away = Account::in_region(7, "eu-west-1").await;
    home.named("siren").await.up(&code(1)).await.unwrap();
    let done = away.named("siren").await.up(&code(1)).await.unwrap();
    assert_eq!(done.names.bucket, format!("siren-{}-eu-west-1", away.id));
    away.named("siren").await.down(false).await.unwrap();
    assert_eq!(home.named("siren").await.up(&code(1)).await.unwrap().steps, []);
}
