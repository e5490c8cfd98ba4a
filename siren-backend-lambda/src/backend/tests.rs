use base64::Engine;
use siren_core::{ErrorKind, Requests, WorkerReport};

use super::loopback::{answer, config, described, plan, serve, workload};
use super::*;
use crate::payload::Timing;

/// A backend whose function has a version of 128 MB and 30 s, which answers with `answers`.
async fn backend(answers: &str, launch_retry_time: Duration) -> LambdaBackend {
    let answers = answers.to_owned();
    let endpoint = serve(move |head| {
        let line = head.lines().next().unwrap_or_default();
        let ok = |body| answer(200, "x: y", body);
        match line {
            line if line.starts_with("HEAD") => ok(""),
            line if line.contains("/configuration") => {
                ok(r#"{"CodeSha256":"x","MemorySize":128,"Timeout":30,"State":"Active"}"#)
            }
            line if line.contains("/aliases/m128-t30") => ok(r#"{"FunctionVersion":"1"}"#),
            line if line.contains("/invocations?Qualifier=m128-t30") => answers.clone(),
            line if line.contains("/invocations ") => described(|_| {}),
            _ => answer(403, "x-amzn-errortype: AccessDeniedException", "{}"),
        }
    })
    .await;
    let settings =
        LambdaSettings::new(config(&endpoint), "f", "bucket", "run", "data", &workload());
    LambdaBackend::connect(LambdaSettings { launch_retry_time, ..settings }).await.unwrap()
}

fn invocation() -> Invocation {
    Invocation {
        plan: plan(),
        role: Role::Shard,
        shard: 0,
        position: 0,
        attempt: 0,
        memory_mb: 128,
        timeout: Duration::from_secs(7),
        cycle: None,
        request_cap: Requests::NONE,
    }
}

fn log(billed_ms: u32, field: &str) -> String {
    let line = format!(
        "REPORT RequestId: 8f5\tDuration: 1.00 ms\tBilled Duration: {billed_ms} ms\t\
         Memory Size: 128 MB\tMax Memory Used: 127 MB\n"
    );
    format!("x-amz-log-result: {}{field}", base64::engine::general_purpose::STANDARD.encode(line))
}

fn report(timing: Timing) -> String {
    let report = WorkerReport { position: 10, finished: true, ..WorkerReport::default() };
    serde_json::to_string(&Response::new(Reply::Report(Box::new(report)), timing)).unwrap()
}

#[tokio::test]
async fn the_platforms_own_report_is_the_bill() {
    let timing = Timing { handler_s: 0.5, ..Timing::default() };
    let lambda = backend(&answer(200, &log(13, ""), &report(timing)), Duration::ZERO).await;
    let completion = lambda.invoke(invocation()).await;
    assert!(completion.result.unwrap().finished);
    assert_eq!(completion.billed, Some(Duration::from_millis(13)));
    let bills = lambda.bills();
    assert_eq!((bills.invocations, bills.reported, bills.computed), (1, 1, 0));
}

#[tokio::test]
async fn without_a_report_the_bill_is_what_the_function_measured() {
    let timing = Timing { init_s: Some(0.25), handler_s: 0.5001, ..Timing::default() };
    let lambda = backend(&answer(200, "x: y", &report(timing)), Duration::ZERO).await;
    let completion = lambda.invoke(invocation()).await;
    assert_eq!(completion.billed, Some(Duration::from_millis(761)));
    let bills = lambda.bills();
    assert_eq!((bills.invocations, bills.reported, bills.computed), (1, 0, 1));
}

#[tokio::test]
async fn a_crash_is_billed_where_it_is_reported_and_unknown_where_it_is_not() {
    let body = r#"{"errorType":"Runtime.ExitError","errorMessage":"Runtime exited with error: signal: aborted"}"#;
    let full = log(900, "\r\nx-amz-function-error: Unhandled");
    let lambda = backend(&answer(200, &full, body), Duration::ZERO).await;
    let completion = lambda.invoke(invocation()).await;
    assert_eq!(completion.billed, Some(Duration::from_millis(900)));
    assert_eq!(completion.result.unwrap_err().kind(), ErrorKind::OutOfMemory);

    let silent = answer(200, "x-amz-function-error: Unhandled", body);
    let lambda = backend(&silent, Duration::ZERO).await;
    let completion = lambda.invoke(invocation()).await;
    assert_eq!((completion.billed, lambda.bills().unknown()), (None, 1));
    assert_eq!(completion.result.unwrap_err().kind(), ErrorKind::Worker);
}

#[tokio::test]
async fn a_launch_that_is_refused_for_long_fails_and_costs_nothing() {
    let refusal = answer(429, "x-amzn-errortype: TooManyRequestsException", "{}");
    let lambda = backend(&refusal, Duration::from_millis(300)).await;
    let before = lambda.clock().now();
    let completion = lambda.invoke(invocation()).await;
    let waited = lambda.clock().now() - before;
    assert_eq!(completion.billed, Some(Duration::ZERO));
    assert_eq!(completion.result.unwrap_err().kind(), ErrorKind::Throttled);
    let bills = lambda.bills();
    assert!(bills.invocations == 0 && bills.refused > 1, "{bills:?}");
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
}

#[tokio::test]
async fn the_drivers_own_mathematics_may_panic() {
    let lambda = backend("", Duration::ZERO).await;
    let work = Work::Parameters { count: 1 };
    let error = lambda.compute(work, Box::new(|| panic!("no"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Worker);
    lambda.compute(work, Box::new(|| ())).await.unwrap();
    assert!(
        lambda.expected_exchange_time() > Duration::from_millis(50),
        "{:?}",
        lambda.expected_exchange_time()
    );
    assert_eq!(lambda.platform().enforced(Duration::from_secs(31)), Duration::from_secs(120));
}
