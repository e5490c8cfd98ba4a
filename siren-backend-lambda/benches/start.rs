//! Measures the times in a function: the start of its process, the time from a request until its
//! worker begins, and a step of that worker, which pulls and pushes.
//!
//! Deploys a small function to the server at `SIREN_TEST_MINISTACK`, and removes it afterwards;
//! `tests/emulators.sh` shows how to start the server. On AWS a start also includes the creation of
//! the sandbox and the download of the code, which are not measured here.

#[path = "../tests/emulated/config.rs"]
mod config;
#[path = "../tests/emulated/problem.rs"]
mod problem;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_lambda::primitives::Blob;
use problem::{LeastSquares, WIDTH};
use siren_backend_lambda::deploy::{self, Architecture, Artefact, Deployment};
use siren_backend_lambda::payload::{self, Reply, Request, RequestKind, Response, RunRequest};
use siren_backend_lambda::{LambdaBackend, LambdaSettings};
use siren_core::{
    Compression, EpochPlan, Error, Invocation, Noise, Optimizer, ParameterStore as _, Requests,
    Result, Role, Seed, SyncMode, WorkerReport, Workload as _,
};
use siren_data::{MemorySource, PackedData, pack};

/// The number of environments, started one after another, each with a different memory size.
const COLD: u32 = 8;

/// The number of requests to the last environment.
const WARM: u32 = 40;

const EXAMPLES: usize = 16_384;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::var("SIREN_TEST_MINISTACK").expect("set SIREN_TEST_MINISTACK");
    let config = config::config(&address).await;
    let name = format!("siren-bench-{}", std::process::id());
    let settings = deploy::DeploySettings { name, ..deploy::DeploySettings::default() };
    let deployment = Deployment::open(&config, settings).await?;
    let measured = measure(&config, &deployment).await;
    deployment.down(false).await?;
    measured
}

async fn measure(config: &SdkConfig, deployment: &Deployment) -> Result<()> {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => Architecture::Arm64,
        _ => Architecture::X86_64,
    };
    let binary = std::fs::read(env!("CARGO_BIN_EXE_emulated_function")).expect("cargo built it");
    let names = deployment.up(&Artefact::package(&binary, architecture)?).await?.names;
    let workload = LeastSquares::new();
    let (function, bucket, run) = (&names.function, &names.bucket, "runs/bench");
    let folder = tempfile::tempdir().expect("a temporary folder is created");
    let packed = folder.path().join("data");
    pack(&MemorySource::from_floats(&vec![0.5; EXAMPLES * WIDTH], WIDTH)?, &packed).await?;
    let key = PackedData::open(&packed).await?.key("bench")?;
    let settings = LambdaSettings::new(config.clone(), function, bucket, run, &key, &workload);
    let options = settings.options.clone();
    let lambda = LambdaBackend::connect(settings).await?;
    lambda.objects().upload_data(&packed, "bench").await?;
    let store = lambda.store()?;
    store.initialise(&workload, 1).await?;
    let plan = plan(workload.layout().hash());
    store.open(&plan).await?;

    let client = aws_sdk_lambda::Client::new(config);
    let invoke = async |alias: &str, position: u64| {
        let invocation = invocation(&plan, position);
        let (bucket, store_prefix, options, data_key) =
            (bucket.clone(), run.to_owned(), options.clone(), key.clone());
        let run_request = RunRequest { bucket, store_prefix, options, data_key, invocation };
        let request =
            payload::write(&Request::new(RequestKind::Run(Box::new(run_request))), "the request")?;
        let sent = client.invoke().function_name(function).qualifier(alias);
        let answer = sent.payload(Blob::new(request)).send().await;
        let answer = answer.map_err(|error| Error::rejected("cannot invoke").with_source(error))?;
        let answer = answer.payload.unwrap_or_default();
        let Response { reply, timing, .. } = payload::read(answer.as_ref(), "the answer")?;
        match reply {
            Reply::Report(report) => Ok::<_, Error>((report, timing)),
            other => Err(Error::rejected(format!("no report: {other:?}"))),
        }
    };
    let (mut alias, mut position) = (String::new(), 0);
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for number in 1..=COLD {
        alias = lambda.publish(128 * number, Duration::from_secs(30)).await?;
        let (report, timing) = invoke(&alias, position).await?;
        position = report.position;
        cold.push(timing);
    }
    for _ in 0..WARM {
        let (report, timing) = invoke(&alias, position).await?;
        position = report.position;
        warm.push((report, timing));
    }
    say("INIT, clients and connection", cold.iter().filter_map(|timing| timing.init_s));
    say("request to worker, cold, with the data's index", cold.iter().map(|cold| cold.start_s));
    say("request to worker, warm", warm.iter().map(|(_, timing)| timing.start_s));
    let step = |report: &WorkerReport| {
        (report.fetch + report.compute + report.update).as_secs_f64() / report.updates as f64
    };
    say("a step, warm: pull, batch, gradient, push", warm.iter().map(|(report, _)| step(report)));
    Ok(())
}

/// Prints the median and the extremes, in milliseconds.
fn say(what: &str, seconds: impl Iterator<Item = f64>) {
    let mut all: Vec<f64> = seconds.map(|seconds| 1e3 * seconds).collect();
    all.sort_by(f64::total_cmp);
    let (least, median, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
    println!("{what}: {median:.2} ms, {least:.2} to {most:.2} of {}", all.len());
}

/// A plan of an epoch with more batches than the benchmark runs.
fn plan(layout: u64) -> EpochPlan {
    EpochPlan {
        run: "bench".into(),
        epoch: 0,
        seed: Seed::new(1),
        layout,
        examples: EXAMPLES as u64,
        batch_size: 1,
        shards: 1,
        local_steps: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode: SyncMode::Hybrid,
        compression: Compression::None,
        noise: Noise::Off,
    }
}

/// An invocation of a few steps, limited by its request cap.
fn invocation(plan: &EpochPlan, position: u64) -> Invocation {
    Invocation {
        plan: plan.clone(),
        role: Role::Shard,
        shard: 0,
        position,
        attempt: 0,
        memory_mb: 1_792,
        timeout: Duration::from_secs(30),
        cycle: None,
        request_cap: Requests { reads: 40, writes: 20 },
    }
}
