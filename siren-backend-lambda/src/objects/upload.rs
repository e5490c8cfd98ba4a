//! Uploading packed data.

use std::path::Path;

use siren_core::objects::{Objects as _, Written};
use siren_core::{Error, ErrorKind, Result};
use siren_data::PackedData;

use super::S3Objects;

/// Bytes of a part of an upload, unless the file would then have more parts than S3 takes.
const PART_BYTES: u64 = 16 << 20;

/// The most parts that S3 takes.
const MAX_PARTS: u64 = 10_000;

impl S3Objects {
    /// Uploads a file that [`pack`](siren_data::pack) has written as the data set `name`, and
    /// returns its [key](PackedData::key). If the same content is there already, nothing is
    /// uploaded.
    ///
    /// A file above 16 MiB goes in parts, each of which the SDK tries up to five times.
    ///
    /// # Errors
    ///
    /// As [`PackedData::open`] and [`PackedData::key`]. Returns [`ErrorKind::Conflict`] if there is
    /// another object under this key. Errors of S3 are passed on.
    ///
    /// # Cancellation
    ///
    /// Nothing becomes visible. Parts that were uploaded stay until the bucket's rule for
    /// incomplete uploads removes them.
    pub async fn upload_data(&self, path: impl AsRef<Path>, name: &str) -> Result<String> {
        let path = path.as_ref();
        let data = PackedData::open(path).await?;
        let key = data.key(name)?;
        if data.is_stored(self, &key).await? {
            return Ok(key);
        }
        let length = data.packed_len();
        let part = PART_BYTES.max(length.div_ceil(MAX_PARTS));
        let written = if length <= part {
            let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(path, error))?;
            self.put_if_absent(&key, &bytes).await?
        } else {
            let mut file =
                tokio::fs::File::open(path).await.map_err(|error| unreadable(path, error))?;
            self.put_parts(&key, &mut file, part).await?
        };
        // After a refusal another upload was faster.
        if written == Written::Refused && !data.is_stored(self, &key).await? {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the object at {key} was deleted during the upload: upload again"),
            ));
        }
        Ok(key)
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("cannot read the packed data in {}", path.display()))
        .with_source(error)
}
