//! The platform's own report on an invocation, at the end of its log.

use std::time::Duration;

use base64::Engine;
use serde::Deserialize;

/// The platform's measurements of an invocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// The billed time.
    pub billed: Duration,
    /// The memory of the function, in MB.
    pub memory_mb: u32,
    /// The largest memory used, in MB.
    pub max_memory_mb: u32,
    /// The start time of the environment, if this invocation started one.
    pub init: Option<Duration>,
}

impl Report {
    /// The report in a base64-encoded log tail, or `None` if it has none.
    pub(super) fn in_tail(tail: &str) -> Option<Self> {
        let log = base64::engine::general_purpose::STANDARD.decode(tail).ok()?;
        Self::in_log(&String::from_utf8_lossy(&log))
    }

    /// Returns the last report in a log, in either of the platform's formats, text or JSON.
    pub fn in_log(log: &str) -> Option<Self> {
        log.lines().rev().find_map(|line| match line.trim_start().starts_with('{') {
            true => Self::from_json(line),
            false => Self::from_text(line),
        })
    }

    fn from_text(line: &str) -> Option<Self> {
        let at = line.find("REPORT RequestId:")?;
        let line = &line[at..];
        let number = |label: &str| -> Option<f64> {
            let (_, rest) = line.split_once(label)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let whole = |label| number(label).map(|number| number as u32);
        Some(Self {
            billed: ms(number("Billed Duration:")?)?,
            memory_mb: whole("Memory Size:")?,
            max_memory_mb: whole("Max Memory Used:")?,
            init: number("Init Duration:").and_then(ms),
        })
    }

    fn from_json(line: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(line).ok()?;
        let metrics = line.record.metrics;
        (line.kind == "platform.report").then_some(())?;
        Some(Self {
            billed: ms(metrics.billed_duration_ms)?,
            memory_mb: metrics.memory_size_mb,
            max_memory_mb: metrics.max_memory_used_mb,
            init: metrics.init_duration_ms.and_then(ms),
        })
    }
}

fn ms(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1e3).ok()
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    metrics: Metrics,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    billed_duration_ms: f64,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: u32,
    #[serde(rename = "maxMemoryUsedMB")]
    max_memory_used_mb: u32,
    init_duration_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8f507cfc-example-4697-b07a-ac58fc914c95";

    fn report(billed: u64, memory_mb: u32, max_memory_mb: u32, init_us: Option<u64>) -> Report {
        let init = init_us.map(Duration::from_micros);
        Report { billed: Duration::from_millis(billed), memory_mb, max_memory_mb, init }
    }

    #[test]
    fn a_warm_invocation_is_read() {
        let log = format!(
            "START RequestId: {ID} Version: 7\nepoch 0 shard 1: finished\nEND RequestId: {ID}\n\
             REPORT RequestId: {ID}\tDuration: 12.34 ms\tBilled Duration: 13 ms\t\
             Memory Size: 512 MB\tMax Memory Used: 61 MB\t\n"
        );
        assert_eq!(Report::in_log(&log), Some(report(13, 512, 61, None)));
    }

    #[test]
    fn a_start_is_read() {
        let log = format!(
            "REPORT RequestId: {ID}\tDuration: 79.67 ms\tBilled Duration: 202 ms\t\
             Memory Size: 128 MB\tMax Memory Used: 73 MB\tInit Duration: 121.75 ms\t\n\
             XRAY TraceId: 1-5e34a614-10bdxmpl\tSegmentId: 07f05bxmpl\tSampled: true\t\n"
        );
        assert_eq!(Report::in_log(&log), Some(report(202, 128, 73, Some(121_750))));
    }

    #[test]
    fn a_timeout_and_a_crash_are_read() {
        let log = format!(
            "2026-01-02T03:04:05.678Z {ID} Task timed out after 30.03 seconds\n\nEND RequestId: {ID}\n\
             REPORT RequestId: {ID}\tDuration: 30030.51 ms\tBilled Duration: 30000 ms\t\
             Memory Size: 256 MB\tMax Memory Used: 99 MB\tStatus: timeout\n"
        );
        assert_eq!(Report::in_log(&log), Some(report(30_000, 256, 99, None)));
        let log = format!(
            "RequestId: {ID} Error: Runtime exited with error: signal: killed\n\
             REPORT RequestId: {ID}\tDuration: 512.00 ms\tBilled Duration: 512 ms\t\
             Memory Size: 128 MB\tMax Memory Used: 128 MB\tStatus: error\t\
             Error Type: Runtime.OutOfMemory\n"
        );
        assert_eq!(Report::in_log(&log), Some(report(512, 128, 128, None)));
    }

    #[test]
    fn blanks_for_tabs_make_no_difference() {
        let log = format!(
            "REPORT RequestId: {ID}  Duration: 1.05 ms  Billed Duration: 2 ms  Memory Size: 1024 MB  \
             Max Memory Used: 20 MB"
        );
        assert_eq!(Report::in_log(&log), Some(report(2, 1_024, 20, None)));
    }

    #[test]
    fn logs_of_json_are_read() {
        let log = format!(
            "{{\"time\":\"2026-01-02T03:04:05.678Z\",\"type\":\"platform.start\",\"record\":\
             {{\"requestId\":\"{ID}\",\"version\":\"7\"}}}}\n\
             {{\"time\":\"2026-01-02T03:04:05.978Z\",\"type\":\"platform.report\",\"record\":\
             {{\"requestId\":\"{ID}\",\"metrics\":{{\"durationMs\":300.2,\"billedDurationMs\":420,\
             \"memorySizeMB\":512,\"maxMemoryUsedMB\":64,\"initDurationMs\":119.25}},\
             \"status\":\"success\"}}}}\n"
        );
        assert_eq!(Report::in_log(&log), Some(report(420, 512, 64, Some(119_250))));
    }

    #[test]
    fn what_is_no_report_is_none() {
        for log in
            ["", "REPORT", "REPORT RequestId: 1\tBilled Duration: many ms", "{\"type\":1}", "{"]
        {
            assert_eq!(Report::in_log(log), None, "{log}");
        }
        assert_eq!(Report::in_tail("not base64!"), None);
        let cut = format!("REPORT RequestId: {ID}\tDuration: 12.34 ms\tBilled Dur");
        assert_eq!(Report::in_log(&cut), None);
    }

    #[test]
    fn a_tail_is_base64() {
        let line = "REPORT RequestId: 1\tBilled Duration: 5 ms\tMemory Size: 128 MB\tMax Memory Used: 9 MB";
        let tail = base64::engine::general_purpose::STANDARD.encode(line);
        assert_eq!(Report::in_tail(&tail), Some(report(5, 128, 9, None)));
    }
}
