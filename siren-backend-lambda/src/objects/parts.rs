//! Writing a large object in parts.

use aws_config::retry::RetryConfig;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use siren_core::objects::Written;
use siren_core::{Error, ErrorKind, Result};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::{S3Objects, read};
use crate::aws;

/// The largest number of attempts for a part.
const MAX_TRIES: u32 = 5;

impl S3Objects {
    /// Writes a file as a new object, in parts of `length` bytes. Retries transient errors, and
    /// counts each part once.
    pub(crate) async fn put_parts(
        &self,
        key: &str,
        file: &mut File,
        length: u64,
    ) -> Result<Written> {
        let what = || self.what("writing", key);
        self.counter.write(0);
        let begun = self
            .slow
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(self.key(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .customize()
            .config_override(with_retries())
            .send()
            .await
            .map_err(|error| aws::error(&what(), error))?;
        let Some(id) = begun.upload_id() else {
            return Err(Error::new(
                ErrorKind::Other,
                format!("{} did not start: the answer has no upload id", what()),
            ));
        };
        let written = self.put_all(key, id, file, length).await;
        if !matches!(written, Ok(Written::Done(_))) {
            // Storage of the parts of an unfinished upload is paid for.
            let abort = self.slow.abort_multipart_upload().bucket(&*self.bucket);
            let _ = abort.key(self.key(key)).upload_id(id).send().await;
        }
        written
    }

    async fn put_all(&self, key: &str, id: &str, file: &mut File, length: u64) -> Result<Written> {
        let what = || self.what("writing", key);
        let mut parts = Vec::new();
        loop {
            let mut bytes = Vec::new();
            (&mut *file).take(length).read_to_end(&mut bytes).await.map_err(|error| {
                Error::new(ErrorKind::Other, "the file to upload cannot be read").with_source(error)
            })?;
            if bytes.is_empty() {
                break;
            }
            self.counter.write(bytes.len());
            let number = parts.len() as i32 + 1;
            let part = self
                .slow
                .upload_part()
                .bucket(&*self.bucket)
                .key(self.key(key))
                .upload_id(id)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .body(ByteStream::from(bytes))
                .customize()
                .config_override(with_retries())
                .send()
                .await
                .map_err(|error| aws::error(&what(), error))?;
            let part = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag().map(str::to_owned))
                .set_checksum_crc32(part.checksum_crc32().map(str::to_owned));
            parts.push(part.build());
        }
        self.counter.write(0);
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let ended = self
            .slow
            .complete_multipart_upload()
            .bucket(&*self.bucket)
            .key(self.key(key))
            .upload_id(id)
            .multipart_upload(upload)
            .if_none_match("*")
            .send()
            .await;
        match ended {
            Ok(ended) => Ok(Written::Done(read::tag(ended.e_tag(), what)?)),
            Err(error) => match error.raw_response().map(|raw| raw.status().as_u16()) {
                Some(412) => Ok(Written::Refused),
                _ => Err(aws::error(&what(), error)),
            },
        }
    }
}

fn with_retries() -> Builder {
    Builder::new().retry_config(RetryConfig::standard().with_max_attempts(MAX_TRIES))
}
