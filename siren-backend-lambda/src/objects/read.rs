//! Reading whole objects and ranges of them.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use siren_core::objects::{Fetched, Tag};
use siren_core::{Error, ErrorKind, Result};

use super::S3Objects;
use crate::aws;

/// A length above that of any object, and within the number range of every server.
const MAX_OBJECT_BYTES: u64 = 1 << 50;

/// An answer of S3, including those errors that are expected.
enum Answer {
    Object(Box<GetObjectOutput>),
    Unchanged,
    Missing,
    /// The range begins past the end of the object.
    Beyond,
}

impl S3Objects {
    pub(super) async fn read_whole(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        let answer = self.ask(key, known, None).await?;
        self.fetched(key, answer, usize::MAX).await
    }

    pub(super) async fn read_start(
        &self,
        key: &str,
        known: Option<&Tag>,
        length: u64,
    ) -> Result<Fetched> {
        // A range in HTTP cannot be empty.
        let answer = self.ask(key, known, Some(0..length.clamp(1, MAX_OBJECT_BYTES))).await?;
        if matches!(answer, Answer::Beyond) {
            // An empty object has no ranges, but it has a tag.
            return self.read_whole(key, known).await;
        }
        self.fetched(key, answer, usize::try_from(length).unwrap_or(usize::MAX)).await
    }

    pub(super) async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let length = range.end.saturating_sub(range.start);
        let asked = range.start..range.end.max(range.start.saturating_add(1));
        Ok(match self.ask(key, None, Some(asked)).await? {
            Answer::Missing => None,
            Answer::Beyond | Answer::Unchanged => Some(Vec::new()),
            Answer::Object(object) => {
                let whole = object.content_range().is_none();
                let mut bytes = self.body(key, *object).await?;
                if whole {
                    // The server does not support ranges.
                    bytes.drain(
                        ..usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len()),
                    );
                }
                bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                Some(bytes)
            }
        })
    }

    async fn ask(
        &self,
        key: &str,
        known: Option<&Tag>,
        range: Option<Range<u64>>,
    ) -> Result<Answer> {
        self.counter.read();
        let request = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(self.key(key))
            .set_if_none_match(known.map(|tag| tag.as_str().to_owned()));
        let request = match range {
            Some(range) => request.range(format!("bytes={}-{}", range.start, range.end - 1)),
            None => request.checksum_mode(ChecksumMode::Enabled),
        };
        match request.send().await {
            Ok(object) => Ok(Answer::Object(Box::new(object))),
            Err(error) => answer(error, || self.what("reading", key)),
        }
    }

    async fn fetched(&self, key: &str, answer: Answer, length: usize) -> Result<Fetched> {
        Ok(match answer {
            Answer::Missing | Answer::Beyond => Fetched::Missing,
            Answer::Unchanged => Fetched::Unchanged,
            Answer::Object(object) => {
                let tag = tag(object.e_tag(), || self.what("reading", key))?;
                let mut bytes = self.body(key, *object).await?;
                bytes.truncate(length);
                Fetched::Changed { bytes, tag }
            }
        })
    }

    /// Reads the body, and copies it only once.
    async fn body(&self, key: &str, object: GetObjectOutput) -> Result<Vec<u8>> {
        let length = object.content_length().and_then(|length| usize::try_from(length).ok());
        let mut bytes = Vec::new();
        // The cap protects memory against a wrong Content-Length.
        bytes.reserve_exact(length.unwrap_or_default().min(1 << 30));
        let mut body = object.body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                let what = self.what("reading", key);
                Error::new(
                    ErrorKind::Lost,
                    format!("{what} broke off, or its checksum does not match"),
                )
                .with_source(error)
            })?;
            self.counter.receive(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        if length.is_some_and(|length| length != bytes.len()) {
            let what = self.what("reading", key);
            return Err(Error::new(ErrorKind::Lost, format!("{what} ended early")));
        }
        Ok(bytes)
    }
}

fn answer(
    error: SdkError<GetObjectError, HttpResponse>,
    what: impl FnOnce() -> String,
) -> Result<Answer> {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match (status, code) {
        (Some(304), _) => Ok(Answer::Unchanged),
        (Some(416), _) => Ok(Answer::Beyond),
        (Some(404), code) if code != Some("NoSuchBucket") => Ok(Answer::Missing),
        _ => Err(aws::error(&what(), error)),
    }
}

/// The tag from an answer's ETag header.
pub(super) fn tag(tag: Option<&str>, what: impl FnOnce() -> String) -> Result<Tag> {
    tag.map(Tag::new).ok_or_else(|| {
        Error::new(
            ErrorKind::Other,
            format!("{} got an answer without an ETag: is the endpoint an S3?", what()),
        )
    })
}
