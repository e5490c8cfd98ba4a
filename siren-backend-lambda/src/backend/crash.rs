//! Interpreting function errors: the platform reports one when a worker did not answer.

use serde::Deserialize;
use siren_core::{Error, ErrorKind};

use super::Report;

/// A function that used this share of its memory when it crashed ran out of memory.
const FULL: f64 = 0.97;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FunctionError {
    error_type: String,
    error_message: String,
}

/// Converts a function error, with the report of the invocation if there is one.
pub(super) fn judge(payload: &[u8], report: Option<&Report>) -> Error {
    let FunctionError { error_type, error_message } =
        serde_json::from_slice(payload).unwrap_or_default();
    let says = match (error_type.as_str(), error_message.as_str()) {
        ("", "") => "the platform does not say why".to_owned(),
        ("", why) | (why, "") => why.to_owned(),
        (kind, why) => format!("{kind}, {why}"),
    };
    let full = report.is_some_and(|report| {
        f64::from(report.max_memory_mb) >= FULL * f64::from(report.memory_mb)
    });
    let timed_out =
        error_type == "Sandbox.Timedout" || error_message.contains("Task timed out after");
    let exited = error_type == "Runtime.ExitError" || error_message.contains("Runtime exited");
    let killed = error_type == "Runtime.OutOfMemory" || error_message.contains("signal: killed");
    if timed_out {
        let why = format!("the platform ended the function: {says}");
        return Error::new(ErrorKind::DeadlineExceeded, why);
    }
    if killed || (exited && full) {
        let memory =
            report.map_or_else(String::new, |report| format!(" of {} MB", report.memory_mb));
        let why = format!("the function{memory} ran out of memory ({says}): give it more");
        return Error::new(ErrorKind::OutOfMemory, why);
    }
    if error_type == "Runtime.InvalidEntrypoint" {
        return Error::rejected(format!(
            "the function's program cannot be started ({says}): deploy it again, built for the \
             function's architecture"
        ));
    }
    let why = match exited {
        true => format!("the function crashed: {says}"),
        false => format!("the function failed: {says}"),
    };
    Error::new(ErrorKind::Worker, why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kind(payload: &str, used_mb: u32) -> ErrorKind {
        let report = Report {
            billed: Duration::from_millis(1),
            memory_mb: 256,
            max_memory_mb: used_mb,
            init: None,
        };
        judge(payload.as_bytes(), Some(&report)).kind()
    }

    #[test]
    fn crashes_are_told_apart() {
        use ErrorKind::{DeadlineExceeded, OutOfMemory, Rejected, Worker};
        let exit = |how| {
            format!(
                r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 8f5 Error: Runtime exited with error: {how}"}}"#
            )
        };
        for (payload, used_mb, expected) in [
            (exit("exit status 1"), 60, Worker),
            (exit("signal: segmentation fault"), 60, Worker),
            (exit("signal: killed"), 60, OutOfMemory),
            (exit("signal: aborted"), 256, OutOfMemory),
            (r#"{"errorType":"Runtime.OutOfMemory","errorMessage":"out"}"#.into(), 60, OutOfMemory),
            (
                r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8f5 Error: Task timed out after 30.00 seconds"}"#.into(),
                256,
                DeadlineExceeded,
            ),
            (
                r#"{"errorMessage":"2026-01-02T03:04:05.678Z 8f5 Task timed out after 3.00 seconds"}"#.into(),
                60,
                DeadlineExceeded,
            ),
            (
                r#"{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"exec format error"}"#.into(),
                60,
                Rejected,
            ),
            (r#"{"errorType":"alloc::string::String","errorMessage":"no"}"#.into(), 60, Worker),
            ("<html>".into(), 60, Worker),
            ("".into(), 60, Worker),
        ] {
            assert_eq!(kind(&payload, used_mb), expected, "{payload}");
        }
    }

    #[test]
    fn the_remedy_of_too_little_memory_is_named() {
        let error = judge(br#"{"errorType":"Runtime.OutOfMemory"}"#, None);
        assert!(error.message().ends_with("give it more"), "{error}");
    }
}
