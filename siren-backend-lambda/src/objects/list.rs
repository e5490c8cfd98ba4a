//! Listing and deleting.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use siren_core::objects::Listed;
use siren_core::{Error, ErrorKind, Result};

use super::S3Objects;
use crate::aws;

/// The largest number of keys in one page of a listing, and in one delete request. Source: S3.
const PAGE: usize = 1_000;

/// The approximate number of bytes around a key in a listing.
const LISTING_BYTES_PER_KEY: usize = 250;

impl S3Objects {
    pub(super) async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        self.counter.write(0);
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(self.key(prefix))
            .set_start_after(after.map(|after| self.key(after)))
            .max_keys(PAGE as i32)
            .send()
            .await
            .map_err(|error| aws::error(&self.what("listing", prefix), error))?;
        let more = answer.is_truncated() == Some(true);
        let mut keys = Vec::with_capacity(answer.contents().len());
        for object in answer.contents() {
            let Some(key) = object.key() else { continue };
            self.counter.receive(key.len() + LISTING_BYTES_PER_KEY);
            keys.extend(key.strip_prefix(&*self.prefix).map(str::to_owned));
        }
        Ok(Listed { keys, more })
    }

    pub(super) async fn delete_all(&self, keys: &[String]) -> Result<()> {
        for keys in keys.chunks(PAGE) {
            self.delete_page(keys).await?;
        }
        Ok(())
    }

    async fn delete_page(&self, keys: &[String]) -> Result<()> {
        let what = || match keys {
            [key] => self.what("deleting", key),
            [key, ..] => format!("{} and {} others", self.what("deleting", key), keys.len() - 1),
            [] => String::new(),
        };
        let cannot = |error| Error::new(ErrorKind::Other, what()).with_source(error);
        let named = keys.iter().map(|key| ObjectIdentifier::builder().key(self.key(key)).build());
        let objects = named.collect::<Result<_, _>>().map_err(cannot)?;
        let delete =
            Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(cannot)?;
        let answer = self
            .client
            .delete_objects()
            .bucket(&*self.bucket)
            .delete(delete)
            .send()
            .await
            .map_err(|error| aws::error(&what(), error))?;
        match answer.errors().iter().find(|error| error.code() != Some("NoSuchKey")) {
            None => Ok(()),
            Some(error) => Err(aws::refusal(
                &what(),
                error.code().unwrap_or_default(),
                error.message().unwrap_or_default(),
            )),
        }
    }
}
