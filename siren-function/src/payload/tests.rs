use std::time::Duration;

use siren_core::{
    Compression, EpochPlan, Noise, Optimizer, Requests, Role, Seed, SyncMode, Usage, WorkerReport,
};

use super::*;

fn run_request() -> RunRequest {
    RunRequest {
        bucket: "bucket".into(),
        store_prefix: "runs/first".into(),
        options: ObjectOptions::default(),
        data_key: "data/digits".into(),
        invocation: Invocation {
            plan: EpochPlan {
                run: "first".into(),
                epoch: u64::MAX,
                seed: Seed::new(u64::MAX - 1),
                layout: u64::MAX - 2,
                examples: 60_000,
                batch_size: 32,
                shards: 400,
                local_steps: 5,
                optimizer: Optimizer::ADAM,
                learning_rate: 0.1,
                weight_decay: 1e-7,
                clip_norm: Some(1.0 / 3.0),
                sync_mode: SyncMode::Hybrid,
                compression: Compression::TopK { share: 0.01 },
                noise: Noise::Rule { tuned_for: 3 },
            },
            role: Role::Aggregator,
            shard: 399,
            position: 7,
            attempt: 2,
            memory_mb: 1_024,
            timeout: Duration::from_nanos(12_345_678_901),
            cycle: Some(Duration::from_micros(1)),
            request_cap: Requests { reads: 1, writes: u64::MAX },
        },
    }
}

#[test]
fn a_request_survives_the_wire_to_the_last_bit() {
    let request = Request::new(RequestKind::Run(Box::new(run_request())));
    let bytes = write(&request, "the request").unwrap();
    assert_eq!(read::<Request>(&bytes, "the request").unwrap(), request);
    assert!(bytes.len() < 4_096, "{} bytes", bytes.len());
}

#[test]
fn a_response_survives_the_wire_to_the_last_bit() {
    let report = WorkerReport {
        position: 1 << 60,
        compute: Duration::from_nanos(999_999_999),
        usage: Usage { cpu: Duration::from_nanos(1), peak_memory_bytes: u64::MAX, shared: false },
        ..WorkerReport::default()
    };
    let timing =
        Timing { init_s: Some(0.1), start_s: 1e-3, handler_s: 1.0 / 3.0, peak_memory_bytes: 1 };
    let response = Response::new(Reply::Report(Box::new(report)), timing);
    let bytes = write(&response, "the answer").unwrap();
    assert_eq!(read::<Response>(&bytes, "the answer").unwrap(), response);
}

#[test]
fn the_kind_of_a_failure_survives() {
    let error = Error::new(ErrorKind::OutOfMemory, "too large").with_source(Error::rejected("why"));
    let failure = Failure::from(&error);
    let bytes = write(&failure, "the failure").unwrap();
    let back = Error::from(serde_json::from_slice::<Failure>(&bytes).unwrap());
    assert_eq!((back.kind(), back.message()), (ErrorKind::OutOfMemory, "too large: why"));
}

#[test]
fn another_format_is_told_apart_from_no_message_at_all() {
    for format in [FORMAT - 1, FORMAT + 1] {
        let text = format!(r#"{{"format":{format},"kind":{{"wonder":1}}}}"#);
        let other = read::<Request>(text.as_bytes(), "the request").unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Rejected);
        assert!(other.message().contains("deploy the function again"), "{other}");
    }
    let [bare, unknown] =
        [format!(r#"{{"format":{FORMAT}}}"#), format!(r#"{{"format":{FORMAT},"kind":"sing"}}"#)];
    for bytes in ["", "{}", "null", "[1]", &bare, &unknown] {
        let error = read::<Request>(bytes.as_bytes(), "the request").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes}");
    }
}
