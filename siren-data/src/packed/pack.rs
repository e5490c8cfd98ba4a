//! Packing a data set into a file.

use std::path::{Path, PathBuf};

use siren_core::{DataSource, Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt as _;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::PackedData;
use super::format::{Header, Lengths, check};

/// Packs all examples of a source, in their order, into a file, and opens it. The new file is
/// written to `<path>.partial` and replaces an old file only when it is complete.
///
/// Batches are contiguous ranges, so shuffle the source once, before packing. Each example is
/// fetched twice and singly, so pack from memory or from local files.
///
/// # Errors
///
/// Returns the errors of the source; [`ErrorKind::Rejected`] if it is empty, or if an example has
/// no bytes or 4 GiB or more; [`ErrorKind::Conflict`] if the examples differ when they are read
/// again; and [`ErrorKind::Other`] if the file cannot be written.
///
/// # Cancellation
///
/// An old file at the path stays. A part of the new file may be left beside it.
pub async fn pack(source: &dyn DataSource, path: impl AsRef<Path>) -> Result<PackedData> {
    let path = path.as_ref();
    let (header, index) = survey(source).await?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write(source, header, &index, &partial).await;
    let moved = match written {
        Ok(()) => tokio::fs::rename(&partial, path).await.map_err(|error| unwritable(path, error)),
        Err(error) => Err(error),
    };
    if let Err(error) = moved {
        // The file may not exist.
        let _ = tokio::fs::remove_file(&partial).await;
        return Err(error);
    }
    PackedData::open(path).await
}

/// The header and the index of the file to be written.
async fn survey(source: &dyn DataSource) -> Result<(Header, Vec<u8>)> {
    if source.is_empty() {
        return Err(Error::rejected("the source has no examples to pack: give at least one"));
    }
    let mut index = Vec::new();
    let (mut content, mut first, mut all, mut even) = (Content::default(), None, 0, true);
    for at in 0..source.len() {
        let example = source.fetch(at..at + 1).await?;
        let length = u32::try_from(example.len()).ok().filter(|&length| length > 0);
        let length = length.ok_or_else(|| {
            Error::rejected(format!(
                "example {at} has {} bytes: give each at least one, and less than 4 GiB",
                example.len()
            ))
        })?;
        content.add(&example);
        index.extend(length.to_le_bytes());
        even &= *first.get_or_insert(length) == length;
        all += u64::from(length);
    }
    if even {
        index.clear();
    }
    let header = Header {
        examples: source.len(),
        lengths: match first {
            Some(length) if even => Lengths::Even(length.into()),
            _ => Lengths::Ragged(all),
        },
        content: content.hash(),
        index: xxh3_64(&index),
    };
    Ok((header, index))
}

async fn write(source: &dyn DataSource, header: Header, index: &[u8], path: &Path) -> Result<()> {
    let cannot = |error| unwritable(path, error);
    let file = tokio::fs::File::create(path).await.map_err(cannot)?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 18, file);
    file.write_all(&header.encode()).await.map_err(cannot)?;
    file.write_all(index).await.map_err(cannot)?;
    let mut content = Content::default();
    for at in 0..header.examples {
        let example = source.fetch(at..at + 1).await?;
        content.add(&example);
        file.write_all(&example).await.map_err(cannot)?;
        file.write_all(&check(&example)).await.map_err(cannot)?;
    }
    file.flush().await.map_err(cannot)?;
    file.get_ref().sync_all().await.map_err(cannot)?;
    match content.hash() == header.content {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Conflict,
            "the examples changed while they were packed: pack them again",
        )),
    }
}

/// The hash of the content.
#[derive(Default)]
struct Content(Xxh3);

impl Content {
    fn add(&mut self, example: &[u8]) {
        self.0.update(&(example.len() as u64).to_le_bytes());
        self.0.update(example);
    }

    fn hash(&self) -> u64 {
        self.0.digest()
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Other,
        format!(
            "cannot write {}: choose a folder that can be written to and has space",
            path.display()
        ),
    )
    .with_source(error)
}
