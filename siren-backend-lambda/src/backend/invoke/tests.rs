use aws_sdk_lambda::config::retry::RetryConfig;
use tokio::net::TcpListener;

use super::super::loopback::{self, config, serve};
use super::*;

fn invoker(endpoint: &str) -> Invoker {
    let config = aws_sdk_lambda::config::Builder::from(&config(endpoint))
        .http_client(super::super::http::client().unwrap())
        .retry_config(RetryConfig::disabled())
        .build();
    let client = Client::from_conf(config);
    Invoker { client, clock: WallClock::new(), function: "f".into(), counter: Arc::default() }
}

/// The outcome of an invocation whose server reads the request and sends `answer`.
async fn answered(answer: &str) -> Ended {
    let answer = answer.to_owned();
    let invoker = invoker(&serve(move |_| answer.clone()).await);
    invoker.invoke(Some("m128-t30"), b"the request", Duration::from_secs(1)).await
}

fn refusal(status: u16, code: &str) -> String {
    let body = r#"{"Type":"User","message":"no"}"#;
    loopback::answer(status, &format!("x-amzn-errortype: {code}"), body)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let ended = answered(begun).await;
        let Ended::Lost(error) = ended else { panic!("not lost after {begun:?}") };
        assert_eq!(error.kind(), ErrorKind::Lost);
    }
}

#[tokio::test]
async fn where_nothing_was_sent_it_may_be_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unreachable = invoker(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    let ended = unreachable.invoke(None, b"", Duration::from_secs(1)).await;
    let Ended::Refused(error) = ended else { panic!("not refused") };
    assert_eq!(error.kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn only_refusals_that_pass_are_made_again() {
    for (status, code) in [
        (429, "TooManyRequestsException"),
        (502, "EC2ThrottledException"),
        (409, "ResourceConflictException"),
    ] {
        let ended = answered(&refusal(status, code)).await;
        let Ended::Refused(error) = ended else { panic!("{code} is not refused") };
        assert_eq!(error.kind(), ErrorKind::Throttled);
    }
    for (status, code, remedy) in [
        (403, "AccessDeniedException", "polic"),
        (404, "ResourceNotFoundException", "deploy first"),
        (403, "ExpiredTokenException", "log in again"),
        (413, "RequestTooLargeException", "too large"),
    ] {
        let ended = answered(&refusal(status, code)).await;
        let Ended::Rejected(error) = ended else { panic!("{code} is not rejected") };
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains(remedy), "{error}");
    }
    let ended = answered(&refusal(500, "ServiceException")).await;
    let Ended::Lost(error) = ended else { panic!("an internal error is not lost") };
    assert_eq!(error.kind(), ErrorKind::Lost);
}

#[test]
fn computed_time_is_rounded_up_and_has_the_start_in_it() {
    let timing = Timing { init_s: Some(0.1), handler_s: 0.0201, ..Timing::default() };
    let billed = computed(&Platform::aws_lambda(), &timing);
    assert_eq!(billed, Some(Duration::from_millis(131)));
    let nonsense = Timing { handler_s: -1.0, ..Timing::default() };
    assert_eq!(computed(&Platform::aws_lambda(), &nonsense), None);
}
