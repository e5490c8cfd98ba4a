//! What runs in a function: one workload, served to whoever invokes it.

mod context;
mod handler;
mod machine;

use std::sync::Arc;

use handler::Handler;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use siren_core::{Error, ErrorKind, Result, Workload};

use crate::aws::Aws;
use crate::clock::WallClock;

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
    // A small function has a share of one core, and mathematics runs on a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| other("the function cannot start its runtime", error))?;
    let ended = runtime.block_on(requests(workload, clock));
    // A step that still runs has nobody to report to.
    runtime.shutdown_background();
    ended
}

async fn requests(workload: Arc<dyn Workload>, clock: WallClock) -> Result<()> {
    let config = Aws::default().config().await?;
    let handler = Arc::new(Handler::new(workload, config, clock));
    if let Ok(bucket) = std::env::var("SIREN_BUCKET") {
        handler.connect(&bucket).await;
    }
    handler.started();
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let handler = Arc::clone(&handler);
        async move { handler.answer(event).await.map_err(|error| error.chain()) }
    });
    lambda_runtime::run(service)
        .await
        .map_err(|error| other("the function lost its connection to the platform", error))
}

fn other(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Other, what).with_source(error)
}
