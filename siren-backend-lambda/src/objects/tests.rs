//! Answers of S3 that other servers do not give.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use siren_core::objects::{Fetched, Objects, Tag, Written};
use siren_core::{ErrorKind, Requests, Result};

use super::S3Objects;

/// Answers each request with the same status, headers and body, and records the requests.
#[derive(Clone, Debug)]
struct Canned {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    asked: Arc<Mutex<Vec<HttpRequest>>>,
}

impl Canned {
    fn new(status: u16, headers: &'static [(&'static str, &'static str)], body: &str) -> Self {
        Self { status, headers, body: body.to_owned(), asked: Arc::default() }
    }

    /// An error as S3 writes it.
    fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::new(status, &[], &body)
    }

    fn objects(&self) -> S3Objects {
        let connector = SharedHttpConnector::new(self.clone());
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        S3Objects::with_client(aws_sdk_s3::Client::from_conf(config), "bucket", "/siren/")
    }

    fn header(&self, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked.last().and_then(|request| request.headers().get(name).map(str::to_owned))
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.asked.lock().unwrap().push(request);
        let status = StatusCode::try_from(self.status).unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.body.clone()));
        for &(name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn tag() -> Tag {
    Tag::new("\"a\"")
}

/// Only a retry tells if the object exists: the conflicting request may have been a delete.
#[tokio::test]
async fn a_new_object_whose_write_met_another_one_has_to_be_written_again() {
    let canned = Canned::error(409, "ConditionalRequestConflict", "conflict");
    let error = canned.objects().put_if_absent("key", b"new").await.unwrap_err();
    assert!(error.is_transient(), "{}", error.chain());
    assert_eq!(canned.header("if-none-match").as_deref(), Some("*"));
}

#[tokio::test]
async fn replacing_an_object_that_changed_is_refused() {
    for (status, code) in
        [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed"), (404, "NoSuchKey")]
    {
        let canned = Canned::error(status, code, "");
        let written = canned.objects().put_if_unchanged("key", &tag(), b"new").await;
        assert_eq!(written.unwrap(), Written::Refused, "{code}");
        assert_eq!(canned.header("if-match").as_deref(), Some("\"a\""));
    }
    let taken = Canned::error(412, "PreconditionFailed", "").objects();
    assert_eq!(taken.put_if_absent("key", b"new").await.unwrap(), Written::Refused);
}

#[tokio::test]
async fn a_written_object_carries_its_checksum() {
    let canned = Canned::new(200, &[("etag", "\"b\"")], "");
    let objects = canned.objects();
    let written = objects.put_if_absent("key", b"123456789").await.unwrap();
    assert_eq!(written, Written::Done(Tag::new("\"b\"")));
    // The check value of CRC-32, cbf43926, in base 64.
    assert_eq!(canned.header("x-amz-checksum-crc32").as_deref(), Some("y/Q5Jg=="));
    let uri = canned.asked.lock().unwrap()[0].uri().to_owned();
    assert!(uri.contains("/siren/key"), "{uri}");
}

#[tokio::test]
async fn what_was_damaged_on_the_way_is_not_read() {
    let headers = &[("etag", "\"b\""), ("x-amz-checksum-crc32", "y/Q5Jg==")];
    let sound = Canned::new(200, headers, "123456789").objects();
    let expected = Fetched::Changed { bytes: b"123456789".to_vec(), tag: Tag::new("\"b\"") };
    assert_eq!(sound.get("key", None).await.unwrap(), expected);
    let error = Canned::new(200, headers, "123456780").objects().get("key", None).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn reads_that_find_nothing_are_no_errors() {
    let unchanged = Canned::new(304, &[], "").objects();
    assert_eq!(unchanged.get("key", Some(&tag())).await.unwrap(), Fetched::Unchanged);
    let missing = Canned::error(404, "NoSuchKey", "").objects();
    assert_eq!(missing.get("key", None).await.unwrap(), Fetched::Missing);
    assert_eq!(missing.get_start("key", None, 5).await.unwrap(), Fetched::Missing);
    assert_eq!(missing.get_range("key", 0..5).await.unwrap(), None);
    let short = Canned::error(416, "InvalidRange", "").objects();
    assert_eq!(short.get_range("key", 7..9).await.unwrap(), Some(Vec::new()));
    let traffic = missing.traffic();
    assert_eq!(traffic.requests, Requests { reads: 3, writes: 0 });
}

/// Some servers answer a range request with the whole object.
#[tokio::test]
async fn a_range_is_cut_out_where_the_server_does_not() {
    let canned = Canned::new(200, &[("etag", "\"b\"")], "0123456789");
    let objects = canned.objects();
    assert_eq!(objects.get_range("key", 3..6).await.unwrap().unwrap(), b"345");
    assert_eq!(canned.header("range").as_deref(), Some("bytes=3-5"));
    assert_eq!(objects.get_range("key", 8..20).await.unwrap().unwrap(), b"89");
    let start = objects.get_start("key", None, 2).await.unwrap();
    assert_eq!(start, Fetched::Changed { bytes: b"01".to_vec(), tag: Tag::new("\"b\"") });
    assert_eq!(canned.header("range").as_deref(), Some("bytes=0-1"));
    assert_eq!(objects.traffic().received, 30);
}

#[tokio::test]
async fn every_refusal_names_the_object_and_the_remedy() {
    let denied = "User: arn:aws:iam::1:user/a is not authorized to perform: s3:GetObject ";
    let cases = [
        (403, "AccessDenied", "Access Denied", "this role or user and in the bucket's own policy"),
        (403, "AccessDenied", "because no identity-based policy allows it", "of this role or user"),
        (403, "AccessDenied", "with an explicit deny in a resource-based policy", "own policy"),
        (404, "NoSuchBucket", "", "there is no such bucket"),
        (301, "PermanentRedirect", "", "in another region"),
        (400, "AuthorizationHeaderMalformed", "expecting 'eu-west-1'", "in another region"),
        (403, "InvalidAccessKeyId", "", "does not know these credentials"),
        (400, "ExpiredToken", "", "log in again"),
        (403, "RequestTimeTooSkewed", "", "clock is wrong"),
    ];
    for (status, code, message, remedy) in cases {
        let objects = Canned::error(status, code, &format!("{denied}{message}")).objects();
        let one: [Result<()>; 3] = [
            objects.get("key", None).await.map(drop),
            objects.put_if_absent("key", b"").await.map(drop),
            objects.put_if_unchanged("key", &tag(), b"").await.map(drop),
        ];
        for error in one.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Rejected, "{code}");
            assert!(error.message().contains("s3://bucket/siren/key"), "{error}");
            assert!(error.message().contains(remedy), "{error}");
        }
        assert!(
            objects.list("", None).await.is_err_and(|e| e.message().contains(remedy)),
            "{code}"
        );
    }
}

#[tokio::test]
async fn what_may_pass_can_be_tried_again() {
    for (status, code, kind) in [
        (503, "SlowDown", ErrorKind::Throttled),
        (500, "InternalError", ErrorKind::Lost),
        (400, "RequestTimeout", ErrorKind::Lost),
        (400, "BadDigest", ErrorKind::Lost),
    ] {
        let objects = Canned::error(status, code, "").objects();
        assert_eq!(objects.get("key", None).await.unwrap_err().kind(), kind, "{code}");
        assert_eq!(objects.put_if_absent("key", b"").await.unwrap_err().kind(), kind, "{code}");
        assert_eq!(objects.delete(&["key".into()]).await.unwrap_err().kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_is_an_error() {
    let body = "<DeleteResult><Error><Key>siren/key</Key><Code>AccessDenied</Code>\
        <Message>Access Denied</Message></Error></DeleteResult>";
    let objects = Canned::new(200, &[], body).objects();
    let error = objects.delete(&["key".into(), "other".into()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.message().contains("s3://bucket/siren/key and 1 others"), "{error}");
    assert_eq!(objects.traffic().requests, Requests::NONE, "deletes are free");
}

/// An empty list of keys makes no request.
#[tokio::test]
async fn no_keys_are_no_request() {
    let canned = Canned::new(500, &[], "");
    canned.objects().delete(&[]).await.unwrap();
    assert!(canned.asked.lock().unwrap().is_empty());
}
