//! Putting a packed file where functions read it.

use std::path::Path;

use siren_core::objects::{Objects as _, Written};
use siren_core::{Error, ErrorKind, Result};

use super::PackedData;
use super::format::HEADER;
use crate::S3Objects;

/// Bytes of a part of an upload, unless the file has more of them than S3 takes.
const PART_BYTES: u64 = 16 << 20;

/// The most parts that S3 takes.
const MAX_PARTS: u64 = 10_000;

impl PackedData {
    /// Uploads a packed file as the data set `name`, and returns its [key](Self::key). The same content is
    /// uploaded once: afterwards a look shows that it is there.
    ///
    /// A file above 16 MiB goes in parts, each of which the SDK tries up to five times.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`key`](Self::key); conflict when there is something else under this
    /// key; whatever S3 answers.
    ///
    /// # Cancellation
    ///
    /// Nothing becomes visible. Parts that were uploaded stay until the bucket's rule for incomplete
    /// uploads removes them.
    pub async fn upload(path: impl AsRef<Path>, objects: &S3Objects, name: &str) -> Result<String> {
        let path = path.as_ref();
        let data = Self::open(path).await?;
        let key = data.key(name)?;
        if let Some(there) = objects.get_range(&key, 0..HEADER as u64).await? {
            return same(&data, &there, key);
        }
        let length = data.index.end();
        let part = PART_BYTES.max(length.div_ceil(MAX_PARTS));
        let written = if length <= part {
            let bytes = tokio::fs::read(path).await.map_err(|e| super::unreadable(path, e))?;
            objects.put_if_absent(&key, &bytes).await?
        } else {
            let mut file =
                tokio::fs::File::open(path).await.map_err(|e| super::unreadable(path, e))?;
            objects.put_parts(&key, &mut file, part).await?
        };
        if written == Written::Refused {
            // Somebody else was quicker.
            let there = objects.get_range(&key, 0..HEADER as u64).await?;
            return same(&data, &there.unwrap_or_default(), key);
        }
        Ok(key)
    }
}

/// The key, if what stands there begins as the data does: its head holds the hash of all examples.
fn same(data: &PackedData, there: &[u8], key: String) -> Result<String> {
    if there == data.header.encode() {
        return Ok(key);
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("there is something else at {key}: delete it, or give the data set another name"),
    ))
}
