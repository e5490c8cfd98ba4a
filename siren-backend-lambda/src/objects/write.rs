//! Conditional writes of objects.

use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use siren_core::objects::{Tag, Written};
use siren_core::{Error, ErrorKind, Result};

use super::{LARGE_WRITE_BYTES, S3Objects, read};
use crate::aws;

impl S3Objects {
    pub(super) async fn write_new(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        let answer = self.put(key, bytes).if_none_match("*").send().await;
        let what = || self.what("writing", key);
        match answer {
            Ok(put) => Ok(Written::Done(read::tag(put.e_tag(), what)?)),
            Err(error) => match status(&error) {
                Some(412) => Ok(Written::Refused),
                // Another request for the same key is in progress. It may be a delete or may fail,
                // so that the object need not exist afterwards. Only a retry tells.
                Some(409) if is_conflict(&error) => {
                    let message = format!("{} conflicted with another write", what());
                    Err(Error::new(ErrorKind::Throttled, message).with_source(error))
                }
                _ => Err(aws::error(&what(), error)),
            },
        }
    }

    pub(super) async fn replace(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        let answer = self.put(key, bytes).if_match(known.as_str()).send().await;
        let what = || self.what("writing", key);
        match answer {
            Ok(put) => Ok(Written::Done(read::tag(put.e_tag(), what)?)),
            Err(error) => match (status(&error), code(&error)) {
                (Some(412), _) => Ok(Written::Refused),
                // Another writer was faster, or the object is gone.
                (Some(409), _) if is_conflict(&error) => Ok(Written::Refused),
                (Some(404), code) if code != "NoSuchBucket" => Ok(Written::Refused),
                _ => Err(aws::error(&what(), error)),
            },
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> PutObjectFluentBuilder {
        self.counter.write(bytes.len());
        let client = if bytes.len() < LARGE_WRITE_BYTES { &self.client } else { &self.slow };
        client
            .put_object()
            .bucket(&*self.bucket)
            .key(self.key(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes.to_vec()))
    }
}

fn status(error: &SdkError<PutObjectError, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn code(error: &SdkError<PutObjectError, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

fn is_conflict(error: &SdkError<PutObjectError, HttpResponse>) -> bool {
    matches!(code(error), "ConditionalRequestConflict" | "OperationAborted" | "")
}
