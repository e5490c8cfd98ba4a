//! The log of a function.

use std::time::Duration;

use siren_core::{Requests, Role, Time};

use crate::payload::{Reply, RunRequest, Timing};

/// Facts about a request, in addition to its answer.
pub(super) struct RequestLog {
    pub(super) arrived: Time,
    /// Its task, for the log.
    pub(super) name: String,
    /// Bucket and prefix under which a large answer may be stored.
    pub(super) large: Option<(String, String)>,
    /// From the request until the worker began.
    pub(super) start: Duration,
    /// Requests to the bucket before the worker began.
    pub(super) requests: Requests,
}

pub(super) fn request_name(run_request: &RunRequest) -> String {
    let invocation = &run_request.invocation;
    let role = match invocation.role {
        Role::Shard => "shard",
        Role::Aggregator => "aggregator",
    };
    let (epoch, attempt) = (invocation.plan.epoch, invocation.attempt);
    format!("epoch {epoch} {role} {} attempt {attempt}", invocation.shard)
}

/// A line for the log.
pub(super) fn log_line(name: &str, reply: &Reply, timing: &Timing) -> String {
    let ended = match reply {
        Reply::Description(_) => "described".into(),
        Reply::Stored { .. } => "stored".into(),
        Reply::Failed(failure) => format!("{}: {}", failure.kind, failure.message),
        Reply::Report(report) => format!(
            "{} at {}, {} updates, compute {:.3} s, fetch {:.3} s, update {:.3} s, wait {:.3} s",
            if report.finished { "finished" } else { "stopped" },
            report.position,
            report.updates,
            report.compute.as_secs_f64(),
            report.fetch.as_secs_f64(),
            report.update.as_secs_f64(),
            report.wait.as_secs_f64(),
        ),
    };
    let init = timing.init_s.map_or_else(String::new, |init| format!(", init {init:.3} s"));
    let Timing { start_s, handler_s, peak_memory_bytes, .. } = timing;
    let mib = peak_memory_bytes >> 20;
    format!("{name}: {ended}{init}, start {start_s:.4} s, in all {handler_s:.3} s, {mib} MiB")
}
