//! Measures hundreds of concurrent invocations: their time, and the driver's memory.
//!
//! A loopback server stands in for the functions and answers after a second, so that only the
//! driver is measured. All invocations should run at the same time, each on its own connection.

#[path = "../tests/emulated/config.rs"]
mod config;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use siren_backend_lambda::payload::{self, Description, Reply, Response, Timing};
use siren_backend_lambda::{LambdaBackend, LambdaSettings};
use siren_backend_local::WallClock;
use siren_core::{
    Backend, Clock, Compression, EpochPlan, Invocation, Noise, Optimizer, Requests, Role, Seed,
    SyncMode, WorkerReport, Workload,
};
use siren_linear::LogisticRegression;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const AT_ONCE: u32 = 256;
const ANSWERS_AFTER: Duration = Duration::from_secs(1);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let server = Arc::new(Server::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serving.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Arc::clone(&serving).serve(stream));
        }
    });
    let config = config::config(&endpoint).await;
    let workload = workload();
    let settings = LambdaSettings::new(config, "function", "bucket", "run", "data", &workload);
    let lambda = LambdaBackend::connect(settings).await.unwrap();
    lambda.publish(128, Duration::from_secs(1)).await.unwrap();
    let held = memory("VmRSS:");
    for round in ["cold", "warm"] {
        let clock = WallClock::new();
        let all = (0..AT_ONCE).map(|shard| lambda.invoke(invocation(&workload, shard)));
        let ended = futures::future::join_all(all).await;
        let took = clock.now().since_origin();
        for completion in ended {
            completion.result.unwrap();
        }
        println!(
            "{round}: {AT_ONCE} invocations of {ANSWERS_AFTER:?} in {took:.2?}, {} at once over {} \
             connections; resident {} MB before, at most {} MB",
            server.most.swap(0, Ordering::Relaxed),
            server.connections.load(Ordering::Relaxed),
            held >> 10,
            memory("VmHWM:") >> 10,
        );
    }
    println!("{:?}", lambda.bills());
}

fn workload() -> LogisticRegression {
    LogisticRegression::new(10).unwrap()
}

fn invocation(workload: &dyn Workload, shard: u32) -> Invocation {
    Invocation {
        plan: EpochPlan {
            run: "bench".into(),
            epoch: 0,
            seed: Seed::new(1),
            layout: workload.layout().hash(),
            examples: 10_000,
            batch_size: 10,
            shards: AT_ONCE,
            local_steps: 1,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.1,
            weight_decay: 0.0,
            clip_norm: None,
            sync_mode: SyncMode::Hybrid,
            compression: Compression::None,
            noise: Noise::Off,
        },
        role: Role::Shard,
        shard,
        position: 0,
        attempt: 0,
        memory_mb: 128,
        timeout: Duration::from_secs(10),
        cycle: None,
        request_cap: Requests::NONE,
    }
}

/// The KiB in a line of `/proc/self/status`.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A server that answers the requests of a driver.
#[derive(Default)]
struct Server {
    connections: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Server {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some((head, body)) = read(&mut stream).await {
            let answer = self.answer(&head, &body).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            let answer = [head.as_bytes(), &answer].concat();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        if path.ends_with("/configuration") || path.contains("/configuration?") {
            let found = r#"{"CodeSha256":"x","MemorySize":128,"Timeout":30,"State":"Active"}"#;
            return found.into();
        }
        if path.contains("/aliases/") {
            return r#"{"FunctionVersion":"1"}"#.into();
        }
        if !path.contains("/invocations") {
            return if head.starts_with("HEAD") { Vec::new() } else { "{}".into() };
        }
        if body.windows(8).any(|bytes| bytes == b"describe") {
            let workload = workload();
            let layout = workload.layout().hash();
            let version = env!("CARGO_PKG_VERSION").into();
            let found = Description { version, layout, dim: workload.dim() as u64 };
            let response = Response::new(Reply::Description(found), Timing::default());
            return payload::write(&response, "the answer").unwrap();
        }
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(running, Ordering::Relaxed);
        let clock = WallClock::new();
        clock.sleep_until(clock.now() + ANSWERS_AFTER).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        let report = Box::new(WorkerReport { finished: true, ..WorkerReport::default() });
        payload::write(&Response::new(Reply::Report(report), Timing::default()), "it").unwrap()
    }
}

/// Reads the head and body of the next request.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes.split_off(end + 4)));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
