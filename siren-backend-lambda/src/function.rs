//! A function on AWS Lambda: its requests, and its objects on S3.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use lambda_runtime::{LambdaEvent, service_fn};
use parking_lot::Mutex;
use serde_json::Value;
use siren_core::objects::Objects;
use siren_core::{Error, ErrorKind, Platform, Result, Workload};
use siren_function::{Handler, OpenedData, Storage, WallClock};

use crate::S3Objects;
use crate::aws::Aws;
use siren_data::PackedData;

/// Serves a workload as long as the platform sends requests. A function's `main` only needs this
/// call.
///
/// Settings and credentials come from the environment that AWS gives to functions. If the
/// environment variable `SIREN_BUCKET` names a bucket, the function connects to it during its
/// start, so that the first request finds an open connection.
///
/// ```no_run
/// # use std::sync::Arc;
/// # fn workload() -> Arc<dyn siren_core::Workload> { unimplemented!() }
/// fn main() -> siren_core::Result<()> {
///     siren_backend_lambda::serve(workload())
/// }
/// ```
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] when the program does not run on AWS Lambda, or has no
/// credentials. Returns [`ErrorKind::Other`] when the platform cannot be reached.
pub fn serve(workload: Arc<dyn Workload>) -> Result<()> {
    let clock = WallClock::new();
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(Error::rejected(
            "this program is a function and runs only on AWS Lambda: deploy it",
        ));
    }
    // A small function has a share of one core, and mathematics runs on another thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| other("the function cannot start its runtime", error))?;
    let ended = runtime.block_on(requests(workload, clock));
    // A step that still runs cannot report any more.
    runtime.shutdown_background();
    ended
}

async fn requests(workload: Arc<dyn Workload>, clock: WallClock) -> Result<()> {
    let config = Aws::default().config().await?;
    let storage = S3Storage { config, last: Mutex::default() };
    let max_payload_bytes = Platform::aws_lambda().limits.payload_bytes;
    let handler = Arc::new(Handler::new(workload, storage, clock, max_payload_bytes));
    if let Ok(bucket) = std::env::var("SIREN_BUCKET") {
        handler.connect(&bucket).await;
    }
    handler.started();
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let handler = Arc::clone(&handler);
        async move {
            let LambdaEvent { payload, context, .. } = event;
            let deadline = clock.at_unix_ms(context.deadline);
            let answer = handler.answer(payload, &context.request_id, deadline).await;
            answer.map_err(|error| error.chain())
        }
    });
    lambda_runtime::run(service)
        .await
        .map_err(|error| other("the function lost its connection to the platform", error))
}

/// Buckets of S3.
struct S3Storage {
    config: SdkConfig,
    /// The bucket of the last request, whose connections are open.
    last: Mutex<Option<S3Objects>>,
}

impl S3Storage {
    fn bucket(&self, name: &str) -> S3Objects {
        let last = &mut *self.last.lock();
        match last {
            Some(objects) if objects.bucket() == name => objects.clone(),
            _ => last.insert(S3Objects::new(&self.config, name, "")).clone(),
        }
    }
}

#[async_trait]
impl Storage for S3Storage {
    fn objects(&self, bucket: &str) -> Arc<dyn Objects> {
        Arc::new(self.bucket(bucket))
    }

    async fn open_data(&self, bucket: &str, key: &str) -> Result<OpenedData> {
        // Counted apart from the requests of earlier workers.
        let objects = Arc::new(self.bucket(bucket).below(""));
        let source = Arc::new(PackedData::open_object(objects.clone(), key).await?);
        Ok(OpenedData { source, requests: objects.traffic().requests })
    }
}

fn other(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Other, what).with_source(error)
}
