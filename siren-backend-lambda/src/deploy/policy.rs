//! IAM policy documents.

use serde_json::{Value, json};

use super::names::{DATA, Names, Place, RUNS};

const VERSION: &str = "2012-10-17";

/// The trust policy of the function's role: only Lambda may assume it.
pub(super) fn trust() -> Value {
    json!({
        "Version": VERSION,
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }],
    })
}

/// The function's permissions: read, write and delete objects of runs, read data, write its own
/// log.
pub(super) fn permissions(names: &Names, place: &Place) -> Value {
    let Place { account, partition, region, .. } = place;
    let bucket = format!("arn:{partition}:s3:::{}", names.bucket);
    json!({
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "Runs",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                "Resource": format!("{bucket}/{RUNS}*"),
            },
            {
                "Sid": "Data",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": format!("{bucket}/{DATA}*"),
            },
            {
                // Without it, reading a missing object returns 403 instead of 404.
                "Sid": "List",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket,
                "Condition": {
                    "StringLike": {"s3:prefix": [format!("{RUNS}*"), format!("{DATA}*")]},
                },
            },
            {
                "Sid": "Log",
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": format!(
                    "arn:{partition}:logs:{region}:{account}:log-group:{}:*",
                    names.log_group
                ),
            },
        ],
    })
}

/// The bucket policy that denies requests without TLS.
pub(super) fn tls_only(names: &Names, place: &Place) -> Value {
    let bucket = format!("arn:{}:s3:::{}", place.partition, names.bucket);
    json!({
        "Version": VERSION,
        "Statement": [{
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, format!("{bucket}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }],
    })
}

/// The least permissions that deploying and training need, as an IAM policy document. It covers
/// deployments and buckets whose names begin with `siren`.
pub fn operator() -> Value {
    json!({
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "Bucket",
                "Effect": "Allow",
                "Action": [
                    "s3:CreateBucket", "s3:DeleteBucket", "s3:ListBucket", "s3:ListBucketVersions",
                    "s3:ListBucketMultipartUploads", "s3:TagResource", "s3:GetBucketTagging",
                    "s3:PutBucketTagging", "s3:GetBucketPublicAccessBlock",
                    "s3:PutBucketPublicAccessBlock", "s3:GetBucketOwnershipControls",
                    "s3:PutBucketOwnershipControls", "s3:GetLifecycleConfiguration",
                    "s3:PutLifecycleConfiguration", "s3:GetBucketPolicy", "s3:PutBucketPolicy",
                ],
                "Resource": "arn:aws:s3:::siren*",
            },
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion",
                    "s3:AbortMultipartUpload",
                ],
                "Resource": "arn:aws:s3:::siren*/*",
            },
            {
                "Sid": "Role",
                "Effect": "Allow",
                "Action": [
                    "iam:GetRole", "iam:CreateRole", "iam:TagRole", "iam:DeleteRole",
                    "iam:UpdateAssumeRolePolicy", "iam:GetRolePolicy", "iam:PutRolePolicy",
                    "iam:DeleteRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies",
                    "iam:DetachRolePolicy",
                ],
                "Resource": "arn:aws:iam::*:role/siren*",
            },
            {
                "Sid": "PassRole",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": "arn:aws:iam::*:role/siren*",
                "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
            },
            {
                "Sid": "Function",
                "Effect": "Allow",
                "Action": [
                    "lambda:CreateFunction", "lambda:DeleteFunction", "lambda:GetFunction",
                    "lambda:GetFunctionConfiguration", "lambda:UpdateFunctionCode",
                    "lambda:UpdateFunctionConfiguration", "lambda:TagResource", "lambda:ListTags",
                    "lambda:PublishVersion", "lambda:ListVersionsByFunction", "lambda:CreateAlias",
                    "lambda:UpdateAlias", "lambda:DeleteAlias", "lambda:GetAlias",
                    "lambda:ListAliases", "lambda:GetFunctionConcurrency",
                    "lambda:InvokeFunction",
                ],
                "Resource": "arn:aws:lambda:*:*:function:siren*",
            },
            {
                "Sid": "Limits",
                "Effect": "Allow",
                "Action": "lambda:GetAccountSettings",
                "Resource": "*",
            },
            {
                "Sid": "Log",
                "Effect": "Allow",
                "Action": [
                    "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy",
                    "logs:TagResource", "logs:ListTagsForResource", "logs:DescribeLogStreams",
                    "logs:GetLogEvents", "logs:FilterLogEvents",
                ],
                "Resource": [
                    "arn:aws:logs:*:*:log-group:/aws/lambda/siren*",
                    "arn:aws:logs:*:*:log-group:/aws/lambda/siren*:*",
                ],
            },
            {
                "Sid": "FindLog",
                "Effect": "Allow",
                "Action": "logs:DescribeLogGroups",
                "Resource": "*",
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::{names, place};
    use super::*;

    fn statement<'a>(document: &'a Value, sid: &str) -> &'a Value {
        let statements = document["Statement"].as_array().unwrap();
        statements.iter().find(|statement| statement["Sid"] == sid).unwrap()
    }

    #[test]
    fn the_function_may_touch_its_prefixes_and_its_log_and_nothing_else() {
        let document = permissions(&names(), &place());
        assert_eq!(document["Statement"].as_array().unwrap().len(), 4);
        let bucket = "arn:aws:s3:::siren-123456789012-ap-southeast-1";
        assert_eq!(statement(&document, "Runs")["Resource"], format!("{bucket}/runs/*"));
        let data = statement(&document, "Data");
        assert_eq!(data["Resource"], format!("{bucket}/data/*"));
        assert_eq!(data["Action"], "s3:GetObject");
        let list = statement(&document, "List");
        assert_eq!(list["Resource"], bucket);
        assert_eq!(list["Condition"]["StringLike"]["s3:prefix"], json!(["runs/*", "data/*"]));
        assert_eq!(
            statement(&document, "Log")["Resource"],
            "arn:aws:logs:ap-southeast-1:123456789012:log-group:/aws/lambda/siren:*"
        );
        let text = document.to_string();
        assert!(!text.contains(r#""*""#) && !text.contains(":*:*"), "{text}");
        // The size limit of an inline policy of a role.
        assert!(text.len() < 10_240);
    }

    #[test]
    fn other_partitions_have_their_own_names() {
        let place = Place { partition: "aws-cn".into(), ..place() };
        let text =
            permissions(&names(), &place).to_string() + &tls_only(&names(), &place).to_string();
        assert!(text.contains("arn:aws-cn:s3:::") && !text.contains("arn:aws:"), "{text}");
    }

    #[test]
    fn only_lambda_may_take_the_role() {
        let document = trust();
        assert_eq!(document["Statement"].as_array().unwrap().len(), 1);
        assert_eq!(
            document["Statement"][0]["Principal"],
            json!({"Service": "lambda.amazonaws.com"})
        );
    }

    #[test]
    fn plain_http_is_denied_for_the_bucket_and_its_objects() {
        let document = tls_only(&names(), &place());
        let deny = statement(&document, "TlsOnly");
        assert_eq!(deny["Effect"], "Deny");
        assert_eq!(deny["Resource"].as_array().unwrap().len(), 2);
        assert_eq!(deny["Condition"]["Bool"]["aws:SecureTransport"], "false");
    }

    #[test]
    fn the_guide_shows_the_operators_policy() {
        let guide = include_str!("../../../docs/lambda.md");
        let block = guide.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let shown: Value =
            serde_json::from_str(block.expect("the guide has a block of JSON")).unwrap();
        assert_eq!(shown, operator());
    }
}
