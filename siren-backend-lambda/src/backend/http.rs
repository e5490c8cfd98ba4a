//! The connections that invocations wait on.

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

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An invocation says nothing until it ends, and what translates addresses on the way forgets a
/// connection that is silent for some minutes: so it is not left silent so long.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a connection is kept for the next epoch.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A client for calls that are answered late.
///
/// The SDK's own neither keeps silent connections alive nor lets one ask for HTTP/1.1, which is one
/// connection for each invocation: over HTTP/2 those beyond what one connection takes at once would wait
/// for the others to end.
///
/// # Errors
///
/// Other when the system has no certificates of authorities.
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
            let why = "the system's certificates of authorities cannot be read: install them";
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
                // What never was sent is told apart, because only that is harmless to send again.
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

/// There was no connection, so that nothing was sent.
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
