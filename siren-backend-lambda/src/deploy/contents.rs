//! The contents of the bucket: measuring and removing them.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use siren_core::{Error, ErrorKind, Result};

use super::answer::{is_busy, unless_absent};
use super::{BucketStatus, Pause};
use crate::aws;

/// The number of attempts to delete the bucket: each fails if an object was written meanwhile.
const ATTEMPTS: u32 = 5;

/// Counts all versions of all objects, with one LIST request per thousand versions.
pub(super) async fn measure(s3: &Client, name: &str, ours: bool) -> Result<BucketStatus> {
    let mut status = BucketStatus { name: name.into(), ours, objects: 0, bytes: 0 };
    if !ours {
        return Ok(status);
    }
    let mut page = Some(Page::default());
    while let Some(at) = page {
        let listed = list(s3, name, &at).await?;
        for version in listed.versions() {
            status.objects += 1;
            status.bytes += u64::try_from(version.size().unwrap_or(0)).unwrap_or(0);
        }
        page = Page::after(&listed);
    }
    Ok(status)
}

/// Removes all versions of all objects, all unfinished uploads and the bucket. Returns the number
/// of removed object versions.
pub(super) async fn remove(s3: &Client, name: &str, pause: &Pause) -> Result<u64> {
    let mut objects = 0;
    let what = &format!("removing the bucket {name}");
    for attempt in 1..=ATTEMPTS {
        objects += empty(s3, name).await?;
        abort(s3, name).await?;
        match s3.delete_bucket().bucket(name).send().await {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => {}
            Err(error) if is_busy(&error) => {
                let says = format!(
                    "{what} failed, since something writes to it: stop the training run, \
                     and try again"
                );
                return Err(Error::new(ErrorKind::Conflict, says).with_source(error));
            }
            answer => {
                unless_absent(answer, &["NoSuchBucket"], what)?;
                return Ok(objects);
            }
        }
        pause.wait(Duration::from_secs(u64::from(attempt))).await;
    }
    Ok(objects)
}

/// The start of the next page of a listing.
#[derive(Default)]
struct Page {
    key: Option<String>,
    version: Option<String>,
}

impl Page {
    fn after(listed: &ListObjectVersionsOutput) -> Option<Self> {
        listed.is_truncated().unwrap_or(false).then(|| Self {
            key: listed.next_key_marker.clone(),
            version: listed.next_version_id_marker.clone(),
        })
    }
}

async fn list(s3: &Client, name: &str, page: &Page) -> Result<ListObjectVersionsOutput> {
    let answer = s3
        .list_object_versions()
        .bucket(name)
        .set_key_marker(page.key.clone())
        .set_version_id_marker(page.version.clone())
        .send()
        .await;
    let what = format!("listing the bucket {name}");
    Ok(unless_absent(answer, &["NoSuchBucket"], &what)?
        .unwrap_or_else(|| ListObjectVersionsOutput::builder().build()))
}

async fn empty(s3: &Client, name: &str) -> Result<u64> {
    let what = &format!("deleting the objects of the bucket {name}");
    let mut objects = 0;
    loop {
        // Always the first page: the objects of earlier pages are deleted.
        let listed = list(s3, name, &Page::default()).await?;
        let versions = listed.versions().iter().map(|one| (one.key(), one.version_id()));
        let markers = listed.delete_markers().iter().map(|one| (one.key(), one.version_id()));
        let doomed: Vec<_> = versions
            .chain(markers)
            .filter_map(|(key, version)| {
                let version = version.map(str::to_owned);
                ObjectIdentifier::builder().key(key?).set_version_id(version).build().ok()
            })
            .collect();
        if doomed.is_empty() {
            return Ok(objects);
        }
        objects += listed.versions().len() as u64;
        let delete = Delete::builder().set_objects(Some(doomed)).quiet(true).build();
        let delete = delete
            .map_err(|error| Error::new(ErrorKind::Other, what.as_str()).with_source(error))?;
        let answer = s3.delete_objects().bucket(name).delete(delete).send().await;
        let answer = answer.map_err(|error| aws::error(what, error))?;
        if let Some(refused) = answer.errors().first() {
            return Err(Error::rejected(format!(
                "{what} failed for {} objects, the first by {}: allow s3:DeleteObject and \
                 s3:DeleteObjectVersion, and remove any object lock",
                answer.errors().len(),
                refused.code().unwrap_or("no code")
            )));
        }
    }
}

async fn abort(s3: &Client, name: &str) -> Result<()> {
    let what = &format!("aborting the uploads to the bucket {name}");
    loop {
        let answer = s3.list_multipart_uploads().bucket(name).send().await;
        let Some(listed) = unless_absent(answer, &["NoSuchBucket"], what)? else { return Ok(()) };
        if listed.uploads().is_empty() {
            return Ok(());
        }
        for upload in listed.uploads() {
            let answer = s3
                .abort_multipart_upload()
                .bucket(name)
                .set_key(upload.key.clone())
                .set_upload_id(upload.upload_id.clone())
                .send()
                .await;
            unless_absent(answer, &["NoSuchUpload", "NoSuchBucket"], what)?;
        }
    }
}
