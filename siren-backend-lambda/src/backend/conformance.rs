//! The facts of remote backends, over loopback: a server stands for the platform, and behind it the handler
//! of a function answers each invocation.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::conformance::backend::{ProbeWorker, RemoteSubject};
use siren_core::conformance::remote_backend_tests;
use siren_core::objects::Objects;
use siren_core::{Clock, Platform, Requests, Result, Workload};
use siren_data::MemorySource;
use siren_function::{Handler, OpenedData, Storage, WallClock};
use siren_hsp::MemoryObjects;
use tokio::runtime::Runtime;

use super::loopback::{answer, config, plan, serve_bodies, workload};
use super::{LambdaBackend, LambdaSettings};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

remote_backend_tests!(
    remote,
    RemoteSubject::driven(|| RUNTIME.block_on(connected()), |_, future| RUNTIME.block_on(future))
        .plan(plan())
);

/// A backend of a function whose worker is the suite's probe.
async fn connected() -> LambdaBackend {
    let environments = Arc::new(Environments::default());
    let endpoint = serve_bodies(move |head, body| {
        let environments = Arc::clone(&environments);
        async move { environments.request(&head, &body).await }
    })
    .await;
    let settings =
        LambdaSettings::new(config(&endpoint), "f", "bucket", "run", "data", &workload());
    LambdaBackend::connect(settings).await.unwrap()
}

/// The environments of one function. Each answers one request at a time; one more starts when all are
/// busy.
#[derive(Default)]
struct Environments {
    idle: Mutex<Vec<Handler>>,
}

impl Environments {
    async fn request(&self, head: &str, body: &str) -> String {
        let line = head.lines().next().unwrap_or_default();
        let ok = |body: &str| answer(200, "x: y", body);
        // Here the name of a version is that of its alias, which says its memory and timeout.
        let (memory, timeout) = size(line);
        match line {
            line if line.starts_with("HEAD") => ok(""),
            line if line.contains("/configuration") => ok(&format!(
                r#"{{"CodeSha256":"x","MemorySize":{memory},"Timeout":{timeout},"State":"Active"}}"#
            )),
            line if line.contains("/aliases/") => {
                let path = line.split(' ').nth(1).unwrap_or_default();
                let alias = path.rsplit('/').next().unwrap_or_default();
                ok(&format!(r#"{{"FunctionVersion":"{alias}"}}"#))
            }
            line if line.contains("/invocations") => {
                ok(&self.invoke(body, Duration::from_secs(timeout)).await)
            }
            _ => answer(403, "x-amzn-errortype: AccessDeniedException", "{}"),
        }
    }

    async fn invoke(&self, body: &str, timeout: Duration) -> String {
        let clock = WallClock::new();
        let idle = self.idle.lock().pop();
        let handler = idle.unwrap_or_else(|| {
            let worker = Arc::new(ProbeWorker);
            let max_payload_bytes = Platform::aws_lambda().limits.payload_bytes;
            let handler = Handler::with_worker(
                worker,
                workload().layout(),
                Memory::default(),
                clock,
                max_payload_bytes,
            );
            handler.started();
            handler
        });
        let request = serde_json::from_str(body).unwrap();
        let deadline = handler.clock().now() + timeout;
        let answer = handler.answer(request, "id", deadline).await.unwrap();
        self.idle.lock().push(handler);
        answer.to_string()
    }
}

/// The memory and timeout in a line that names an alias such as `m1792-t900-1f3c20aa`.
fn size(line: &str) -> (u32, u64) {
    let alias = line.split(['/', '=', ' ']).find_map(|word| {
        let (memory, rest) = word.strip_prefix('m')?.split_once("-t")?;
        let (timeout, _) = rest.split_once('-')?;
        Some((memory.parse().ok()?, timeout.parse().ok()?))
    });
    alias.unwrap_or((128, 30))
}

/// The storage of an environment, with data of as many examples as the plan has.
#[derive(Default)]
struct Memory {
    objects: Arc<MemoryObjects>,
}

#[async_trait]
impl Storage for Memory {
    fn objects(&self, _: &str) -> Arc<dyn Objects> {
        self.objects.clone()
    }

    async fn open_data(&self, _: &str, _: &str) -> Result<OpenedData> {
        let source = MemorySource::new(vec![0; plan().examples as usize], 1)?;
        Ok(OpenedData { source: Arc::new(source), requests: Requests { reads: 1, writes: 0 } })
    }
}
