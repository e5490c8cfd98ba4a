//! Shared objects on S3.
//!
//! # Where objects stand
//!
//! | key | object | from |
//! | --- | --- | --- |
//! | `<prefix>/<run>/state`, `…/part/…`, `…/update/…` | what a run keeps | [`ObjectStore`](siren_hsp::ObjectStore) |
//! | `<prefix>/data/<name>-<hash>` | packed examples | [`S3Objects::upload_data`] |
//!
//! A run's name is in all its keys, so that runs share a bucket, at the same time too, and neither lists
//! nor deletes what is another's. Without a prefix keys begin with the run's name.
//!
//! No hash is mixed into the keys to spread them. S3 cuts a bucket by load wherever keys differ, and runs
//! differ in their names. One run stays below what one such piece takes, 3,500 writes and 5,500 reads a
//! second, up to some 1,000 workers that push every second and read four parts; above that S3 says slow
//! down, which is an error that passes, until it has cut further. A hash would make it impossible to list
//! what a generation has in the order of its numbers, which is how an aggregator finds updates with one
//! request.
//!
//! # What is checked
//!
//! S3 checks a CRC32 of what is written before it keeps it, and what is read whole is checked against the
//! one that was kept. Parts of an object cannot be: updates, parameters and packed examples carry
//! checksums of their own.

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

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an answer may take to begin: the slowest of a million small ones took 10 s (hpides/skyrise,
/// arXiv 2501.07771).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The same where so much is written that sending it may take longer; what stalls on the way is
/// noticed by the SDK.
const LARGE_WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes from which a write may take that long.
const LARGE_WRITE_BYTES: usize = 4 << 20;

/// Objects in a bucket of S3, below a prefix. Clones share connections and counters.
///
/// The role or user needs `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject` on the objects and
/// `s3:ListBucket` on the bucket; without the last one, an object that does not exist reads as forbidden.
///
/// Each call is one request and is not made again here: whoever calls counts and pays.
#[derive(Clone)]
pub struct S3Objects {
    client: Client,
    /// For large writes.
    slow: Client,
    bucket: Arc<str>,
    /// With a slash at its end, or empty.
    prefix: Arc<str>,
    counter: Arc<Counter>,
}

impl S3Objects {
    /// Objects below `prefix`, which may be empty, in a bucket; over a client of its own that waits at
    /// most 3 s for a connection and 20 s for an answer.
    pub fn new(config: &SdkConfig, bucket: &str, prefix: &str) -> Self {
        let settings = aws_sdk_s3::config::Builder::from(config)
            // Others than AWS seldom have a name for each bucket.
            .force_path_style(config.endpoint_url().is_some())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(ANSWER_TIMEOUT))
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self::with_client(Client::from_conf(settings), bucket, prefix)
    }

    /// The same over a client that there is already. Disable its retries, or requests are made that
    /// nobody counts; and let it validate checksums when required, or what some servers send with a part
    /// of an object, the checksum of the whole, makes reads fail.
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

    /// The same bucket over the same connections, below another prefix; counted apart.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        Self { prefix: slashed(prefix), counter: Arc::default(), ..self.clone() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What was asked for and transferred so far, by all clones.
    pub fn traffic(&self) -> Traffic {
        self.counter.traffic()
    }

    /// The whole key.
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What is done to an object, in words.
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
