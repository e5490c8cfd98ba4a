//! The HTTP client for invocations.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use siren_core::{Error, ErrorKind, Result};

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of TCP keep-alive probes. A connection is silent until its invocation ends, and NAT
/// devices drop connections that are silent for some minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The time for which an idle connection is kept for the next epoch.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a client for long calls.
///
/// The SDK's own client has no keep-alive for silent connections and no setting for HTTP/1.1. With
/// HTTP/1.1 each invocation has its own connection. With HTTP/2, invocations beyond the stream
/// limit of a connection would wait for others to end.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] when the system's root certificates cannot be read.
pub(super) fn client() -> Result<SharedHttpClient> {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    tcp.set_keepalive_retries(Some(4));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let https = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)
        .map_err(|error| {
            let why = "the system's root certificates cannot be read: install them";
            Error::new(ErrorKind::Other, why).with_source(error)
        })?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(https);
    let connector = SharedHttpConnector::new(Connector(client));
    Ok(http_client_fn(move |_, _| connector.clone()))
}

#[derive(Clone, Debug)]
struct Connector(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request =
                request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.request(request).await.map_err(|error| {
                // Only a request that was not sent may be repeated without risk.
                match error.is_connect() {
                    true => ConnectorError::io(Box::new(NotSent(error))),
                    false => ConnectorError::io(error.into()),
                }
            })?;
            response
                .map(SdkBody::from_body_1_x)
                .try_into()
                .map_err(|error| ConnectorError::other(Box::new(error), None))
        })
    }
}

/// The connection failed, so nothing was sent.
#[derive(Debug)]
pub(super) struct NotSent(hyper_util::client::legacy::Error);

impl std::fmt::Display for NotSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no connection")
    }
}

impl std::error::Error for NotSent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
