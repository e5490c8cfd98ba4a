//! A server on loopback for tests. Its answer depends on the head of the request.

use std::sync::Arc;

use siren_core::{
    Batch, Compression, EpochPlan, Layout, Metrics, Noise, Optimizer, Result, Seed, SyncMode,
    Workload,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::payload::{Description, Reply, Response, Timing, VERSION};

/// Starts a server that sends `answer(head)` for the only request of each connection. Returns its
/// address.
pub(super) async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    serve_bodies(move |head, _| std::future::ready(answer(&head))).await
}

/// Starts a server that sends `answer(head, body)` for each request, even if its client hangs up
/// meanwhile.
pub(super) async fn serve_bodies<F: Future<Output = String> + Send>(
    answer: impl Fn(String, String) -> F + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let (head, body) = request(&mut stream).await;
                let answer = answer(head, body).await;
                // The client may have hung up.
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// The head and the body of a request; nothing if the client hangs up before its end.
async fn request(stream: &mut TcpStream) -> (String, String) {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return (head.to_owned(), body.to_owned());
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return Default::default();
        }
    }
}

fn length(head: &str) -> usize {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// An answer with a header field, such as `x-amzn-errortype: …`, and a body.
pub(super) fn answer(status: u16, field: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\n{field}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn config(endpoint: &str) -> aws_config::SdkConfig {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_lambda::config::{Credentials, SharedCredentialsProvider};
    let credentials = Credentials::new("key", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A workload that learns nothing.
pub(super) fn workload() -> impl Workload {
    Nothing(Layout::flat("nothing", 3).unwrap())
}

struct Nothing(Layout);

impl Workload for Nothing {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.dim()])
    }

    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(0.0);
        Ok(0.0)
    }

    fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> {
        Ok(())
    }
}

/// A plan of that workload.
pub(super) fn plan() -> EpochPlan {
    EpochPlan {
        run: "test".into(),
        epoch: 0,
        seed: Seed::new(1),
        layout: workload().layout().hash(),
        examples: 10,
        batch_size: 1,
        shards: 1,
        local_steps: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 0.1,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode: SyncMode::Hybrid,
        compression: Compression::None,
        noise: Noise::Off,
    }
}

/// The answer of a function that describes [`workload`], with a change.
pub(super) fn described(change: impl Fn(&mut Description)) -> String {
    let layout = workload().layout().hash();
    let version = VERSION.into();
    let mut description = Description { version, layout, dim: 3 };
    change(&mut description);
    let response = Response::new(Reply::Description(description), Timing::default());
    answer(200, "x: y", &serde_json::to_string(&response).unwrap())
}
