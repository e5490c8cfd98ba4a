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

/// Serves a workload for as long as the platform sends requests: the whole main function of a
/// function's binary.
///
/// Settings and credentials come from where AWS puts them for functions. A bucket named by the
/// environment variable `SIREN_BUCKET` is connected to before the first request, while starting: an
/// ordinary request then finds the connection open.
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
/// Rejected where no platform of functions runs this, or there are no credentials; other when the
/// platform cannot be reached.
pub fn serve(workload: Arc<dyn Workload>) -> Result<()> {
    let clock = WallClock::new();
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(Error::rejected(
            "this program is a function: it runs on AWS Lambda and nowhere else; deploy it",
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
        .map_err(|error| other("the function lost the platform that runs it", error))
}

fn other(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Other, what).with_source(error)
}
