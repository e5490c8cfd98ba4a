use super::super::loopback::{answer, config, described, serve, workload};
use super::*;

/// The result of connecting, with these answers for the bucket, the function and its description.
async fn connected(bucket: &str, function: &str, described: &str) -> Result<Platform> {
    let (bucket, function) = (bucket.to_owned(), function.to_owned());
    let described = described.to_owned();
    let endpoint = serve(move |head| {
        let line = head.lines().next().unwrap_or_default();
        match line {
            line if line.starts_with("HEAD") => bucket.clone(),
            line if line.contains("/configuration") => function.clone(),
            line if line.contains("/invocations") => described.clone(),
            _ => answer(403, "x-amzn-errortype: AccessDeniedException", "{}"),
        }
    })
    .await;
    let settings =
        LambdaSettings::new(config(&endpoint), "f", "bucket", "run", "data", &workload());
    connect(&settings, WallClock::new()).await.map(|found| found.platform)
}

fn ok(body: &str) -> String {
    answer(200, "x: y", body)
}

const FUNCTION: &str = r#"{"FunctionName":"f","CodeSha256":"x","Architectures":["arm64"]}"#;

#[tokio::test]
async fn the_function_says_its_architecture_and_unknown_limits_are_the_usual_ones() {
    let platform = connected(&ok(""), &ok(FUNCTION), &described(|_| {})).await.unwrap();
    assert_eq!((platform.name.as_str(), platform.limits.memory_step_mb), ("aws-lambda-arm64", 64));
    assert_eq!(platform.limits.concurrency, 1_000);
    let x86 = connected(&ok(""), &ok(r#"{"CodeSha256":"x"}"#), &described(|_| {})).await.unwrap();
    assert_eq!(x86.name, "aws-lambda-x86");
}

#[tokio::test]
async fn each_thing_that_does_not_fit_has_a_remedy() {
    let refused = |status, code: &str| answer(status, &format!("x-amzn-errortype: {code}"), "{}");
    let crashed = answer(
        200,
        "x-amz-function-error: Unhandled",
        r#"{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"exec format error"}"#,
    );
    let panicked = answer(200, "x-amz-function-error: Unhandled", r#"{"errorType":"no"}"#);
    let older = described(|found| found.version = "0.0.9".into());
    let other = described(|found| found.layout ^= 1);
    let (bucket, function, good) = (ok(""), ok(FUNCTION), described(|_| {}));
    for (bucket, function, described, remedy) in [
        (&answer(404, "x: y", ""), &function, &good, "no bucket bucket: deploy first"),
        (&answer(301, "x-amz-bucket-region: eu-west-1", ""), &function, &good, "another region"),
        (&answer(403, "x: y", ""), &function, &good, "polic"),
        (&bucket, &refused(404, "ResourceNotFoundException"), &good, "no function f in us-east-1"),
        (&bucket, &refused(403, "AccessDeniedException"), &good, "polic"),
        (&bucket, &function, &refused(403, "AccessDeniedException"), "polic"),
        (&bucket, &function, &crashed, "built for the function's architecture"),
        (&bucket, &function, &panicked, "built with this version of siren"),
        (&bucket, &function, &ok(r#"{"hello":1}"#), "built with this version of siren"),
        (&bucket, &function, &older, "version 0.0.9 of siren"),
        (&bucket, &function, &other, "deploy the run's workload again"),
    ] {
        let error = connected(bucket, function, described).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.chain());
        assert!(error.message().contains(remedy), "{} has no {remedy}", error.chain());
    }
}
