//! Shared objects on S3.
//!
//! # Layout of a bucket
//!
//! | key | object | written by |
//! | --- | --- | --- |
//! | `<prefix>/<run>/state`, `…/part/…`, `…/update/…` | the state of a run | [`ObjectStore`](siren_hsp::ObjectStore) |
//! | `<prefix>/data/<name>-<hash>` | packed examples | [`S3Objects::upload_data`] |
//!
//! All keys of a run contain its name. So runs can share a bucket at the same time, and none lists
//! or deletes objects of another. Without a prefix, keys begin with the run's name.
//!
//! Keys contain no hash to spread the load. S3 partitions a bucket by load and key, and the names
//! of runs differ. One partition takes 3,500 writes and 5,500 reads per second. A run stays below
//! this with up to about 1,000 workers that push every second and read four parts. Above that, S3
//! answers SlowDown, a transient error, until it has partitioned further. With a hash, an
//! aggregator could no longer list the updates of a generation in the order of their numbers with
//! one request.
//!
//! # Checksums
//!
//! S3 checks the CRC32 of an object before it stores it. A read of a whole object is checked
//! against the stored CRC32. S3 has no checksum for a range of an object: updates, parameters and
//! packed examples contain their own.

mod list;
mod parts;
mod read;
mod traffic;
mod upload;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::ResponseChecksumValidation;
use siren_core::Result;
use siren_core::objects::{Fetched, Listed, Objects, Tag, Written};
use traffic::Counter;
pub use traffic::Traffic;

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The timeout until an answer begins. The slowest of a million small answers took 10 s
/// (hpides/skyrise, arXiv 2501.07771).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The timeout for large writes, which take longer to send. The SDK detects stalled transfers.
const LARGE_WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// The size from which a write is large, in bytes.
const LARGE_WRITE_BYTES: usize = 4 << 20;

/// Objects in a bucket of S3, below a prefix. Clones share connections and counters.
///
/// The role or user needs `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject` on the objects and
/// `s3:ListBucket` on the bucket. Without the last one, a read of a missing object is answered as
/// forbidden.
///
/// Each call makes one request and does not retry: the caller retries, and counts the requests.
#[derive(Clone)]
pub struct S3Objects {
    client: Client,
    /// For large writes.
    slow: Client,
    bucket: Arc<str>,
    /// Ends with a slash, or is empty.
    prefix: Arc<str>,
    counter: Arc<Counter>,
}

impl S3Objects {
    /// Objects below `prefix`, which may be empty, in a bucket. The new client waits at most 3 s
    /// for a connection and 20 s for an answer, or 300 s for the answer to a write of at least 4
    /// MiB.
    pub fn new(config: &SdkConfig, bucket: &str, prefix: &str) -> Self {
        let settings = aws_sdk_s3::config::Builder::from(config)
            // Servers other than AWS seldom have a host name for each bucket.
            .force_path_style(config.endpoint_url().is_some())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(ANSWER_TIMEOUT))
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self::with_client(Client::from_conf(settings), bucket, prefix)
    }

    /// As [`new`](Self::new), with an existing client. Disable its retries: retried requests would
    /// not be counted. Set its response checksum validation to `WhenRequired`: some servers send
    /// the checksum of the whole object with a range, and reads would fail.
    pub fn with_client(client: Client, bucket: &str, prefix: &str) -> Self {
        let slow =
            client.config().to_builder().timeout_config(timeouts(LARGE_WRITE_TIMEOUT)).build();
        Self {
            client,
            slow: Client::from_conf(slow),
            bucket: bucket.into(),
            prefix: slashed(prefix),
            counter: Arc::default(),
        }
    }

    /// Objects of the same bucket over the same connections, below another prefix and with new
    /// counters.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        Self { prefix: slashed(prefix), counter: Arc::default(), ..self.clone() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Requests and bytes so far, of all clones.
    pub fn traffic(&self) -> Traffic {
        self.counter.traffic()
    }

    /// The key with the prefix.
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A description of an operation on an object, for error messages.
    fn what(&self, verb: &str, key: &str) -> String {
        format!("{verb} s3://{}/{}{key}", self.bucket, self.prefix)
    }
}

impl fmt::Debug for S3Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Objects(s3://{}/{})", self.bucket, self.prefix)
    }
}

fn slashed(prefix: &str) -> Arc<str> {
    match prefix.trim_matches('/') {
        "" => "".into(),
        prefix => format!("{prefix}/").into(),
    }
}

fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(answer).build()
}

#[async_trait]
impl Objects for S3Objects {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.read_whole(key, known).await
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        self.read_start(key, known, length).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.read_range(key, range).await
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        self.write_new(key, bytes).await
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        self.replace(key, known, bytes).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        self.list_page(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.delete_all(keys).await
    }
}

#[cfg(test)]
mod tests;
