//! Error messages for refusals of AWS, tested against a local server with one fixed answer.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use siren_core::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const SECRET: &str = "hunter2hunter2hunter2";

async fn config(endpoint: String) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIA", SECRET, None, None, "this test"))
        .endpoint_url(endpoint)
        .load()
        .await
}

/// A server that answers each request with `status` and `code`. If `identity` is set, it answers
/// GetCallerIdentity with an account.
async fn refusing(status: u16, code: &'static str, identity: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                let mut read = 0;
                while let Ok(more @ 1..) = stream.read(&mut request[read..]).await {
                    read += more;
                    let text = String::from_utf8_lossy(&request[..read]);
                    let who = text.contains("GetCallerIdentity");
                    if !whole(&text) {
                        continue;
                    }
                    let (status, body) = if who && identity {
                        let says = "<Arn>arn:aws:iam::123456789012:user/u</Arn><Account>123456789012</Account>";
                        (
                            200,
                            format!(
                                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                             <GetCallerIdentityResult>{says}</GetCallerIdentityResult>\
                             </GetCallerIdentityResponse>"
                            ),
                        )
                    } else {
                        (
                            status,
                            format!(
                                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                             <Message>no</Message></Error></ErrorResponse>"
                            ),
                        )
                    };
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\
                         connection: close\r\n\r\n{body}",
                        body.len()
                    );
                    _ = stream.write_all(answer.as_bytes()).await;
                    break;
                }
            });
        }
    });
    format!("http://{address}")
}

/// `true` if the request has arrived with its whole body.
fn whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length =
        head.to_lowercase().split_once("content-length: ").map(|(_, rest)| rest.to_owned());
    let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn without_secret(error: &Error) {
    for text in [error.chain(), format!("{error:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn credentials_that_aws_refuses_are_explained() {
    for (code, says) in [
        ("InvalidClientTokenId", "AWS does not know these credentials"),
        ("SignatureDoesNotMatch", "does not belong to the access key"),
        ("ExpiredToken", "log in again"),
        ("AccessDenied", "allow it in the policy"),
    ] {
        let config = config(refusing(403, code, false).await).await;
        let error = Deployment::open(&config, DeploySettings::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.message().contains(says), "{error}");
        without_secret(&error);
    }
}

#[tokio::test]
async fn what_may_not_be_done_is_named_with_the_remedy() {
    let config = config(refusing(403, "AccessDenied", true).await).await;
    let deployment = Deployment::open(&config, DeploySettings::default()).await.unwrap();
    assert!(!format!("{deployment:?}").contains(SECRET));
    let error = deployment.status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let says = error.message();
    assert!(
        says.contains("the role siren-us-east-1") && says.contains("allow it in the policy"),
        "{says}"
    );
    without_secret(&error);
}

#[tokio::test]
async fn an_address_without_an_answer_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Deployment::open(&config(endpoint.clone()).await, DeploySettings::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    assert!(
        error.message().contains(&endpoint) && error.message().contains("check the network"),
        "{error}"
    );
    without_secret(&error);
}

#[tokio::test]
async fn a_region_that_does_not_exist_is_refused_before_anything_is_asked() {
    let config = config("http://127.0.0.1:1".into()).await;
    let config = config.into_builder().region(Region::new("mars")).build();
    let error = Deployment::open(&config, DeploySettings::default()).await.unwrap_err();
    assert!(error.message().contains("there is no region `mars`"), "{error}");
}

/// The environment of this process may have credentials, so the test runs in a process without any.
#[test]
fn without_credentials_the_remedy_is_named() {
    let home = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(["--exact", "deploy::tests::from_an_empty_environment", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("there are no AWS credentials: run `aws configure`"), "{text}");
}

#[tokio::test]
#[ignore = "run by the test above in its own process"]
async fn from_an_empty_environment() {
    let error = crate::aws::Aws::default().config().await.unwrap_err();
    println!("{}", error.message());
}
