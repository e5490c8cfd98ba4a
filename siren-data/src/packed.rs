//! Packed data: a data set as one file or one object of shared storage, read by ranges.
//!
//! [`pack`] writes the file, and [`PackedData`] reads it there or in an object with the same bytes.
//!
//! Format 1, all numbers little-endian, without gaps:
//!
//! | field | type |
//! | --- | --- |
//! | `SIRENDAT` | 8 bytes |
//! | format, 1 | u32 |
//! | form: 0 if all examples have one length, 1 otherwise | u32 |
//! | number of examples | u64 |
//! | length in bytes: of one example in form 0, of all together in form 1 | u64 |
//! | content: XXH3 of all examples, 64 bits, and of their lengths | u64 |
//! | XXH3 of the index, 64 bits | u64 |
//! | XXH3 of all fields above, 64 bits | u64 |
//! | index, in form 1 only: the length of each example | u32 |
//! | for each example its bytes, then the lower half of their XXH3, 64 bits | bytes, u32 |
//!
//! A batch is one read, and each of its examples is checked. Examples of one length need no index.
//! Otherwise opening the data reads four bytes for each example, once.
//!
//! The worker fetches the next batch while it computes, so one request at a time is enough here.

mod format;
mod pack;

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use format::{HEADER, Header, Index};
pub use pack::pack;
use parking_lot::Mutex;
use siren_core::objects::Objects;
use siren_core::{DataSource, Error, ErrorKind, Requests, Result};

/// The number of bytes in the first request for an object. They include the index of about 16,000
/// examples; a second request would take longer.
const FIRST_READ_BYTES: u64 = 1 << 16;

/// A data set that [`pack`] has packed, in a file or in an object of shared storage. It is cheap to
/// clone: clones share the index.
///
/// Reading a file needs a tokio runtime.
///
/// ```
/// use siren_core::DataSource;
/// use siren_data::{MemorySource, PackedData, pack};
///
/// # async fn example(path: &std::path::Path) -> siren_core::Result<()> {
/// let source = MemorySource::from_floats(&[0.0, 1.0, 2.0, 3.0], 2)?;
/// pack(&source, path).await?;
/// let packed = PackedData::open(path).await?;
/// assert_eq!(packed.fetch(1..2).await?, source.fetch(1..2).await?);
/// # Ok(())
/// # }
/// # let folder = tempfile::tempdir()?;
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(example(&folder.path().join("data")))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PackedData {
    place: Place,
    header: Header,
    index: Arc<Index>,
}

#[derive(Clone)]
enum Place {
    File { path: PathBuf, file: Arc<Mutex<File>> },
    Object { objects: Arc<dyn Objects>, key: String },
}

impl PackedData {
    /// Opens the data set in a file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] if the file cannot be read, [`ErrorKind::Rejected`] if it has
    /// another version of the format, and [`ErrorKind::Corrupt`] if it was not written by [`pack`]
    /// or is not complete.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let cannot = |error| unreadable(&path, error);
        let file = tokio::fs::File::open(&path).await.map_err(cannot)?;
        let length = file.metadata().await.map_err(cannot)?.len();
        let file = Arc::new(Mutex::new(file.into_std().await));
        let place = Place::File { path: path.clone(), file };
        let data = Self::read(place, HEADER as u64).await?;
        let expected = data.index.end();
        if length != expected {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} has {length} bytes, not {expected}: pack the data again", data.place),
            ));
        }
        Ok(data)
    }

    /// Opens the data set in an object. This takes one request, or two for a large index.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] if there is no such object or it has another version of the
    /// format, [`ErrorKind::Corrupt`] as [`open`](Self::open), and the errors of `objects`.
    pub async fn open_object(objects: Arc<dyn Objects>, key: &str) -> Result<Self> {
        Self::read(Place::Object { objects, key: key.to_owned() }, FIRST_READ_BYTES).await
    }

    async fn read(place: Place, first: u64) -> Result<Self> {
        let mut bytes = place.read(0..first).await?;
        let header = Header::decode(&bytes).map_err(|error| of(&place, error))?;
        let end = header.index_end();
        if (bytes.len() as u64) < end {
            let more = place.read(bytes.len() as u64..end).await?;
            bytes.extend(more);
        }
        let index = header.index(bytes.get(HEADER..).unwrap_or_default());
        let index = index.map_err(|error| of(&place, error))?;
        Ok(Self { place, header, index: Arc::new(index) })
    }

    /// The hash of the content. Other examples, or another order of them, give another hash.
    pub fn hash(&self) -> u64 {
        self.header.content
    }

    /// The number of bytes of the packed data.
    pub fn packed_len(&self) -> u64 {
        self.index.end()
    }

    /// The key of a data set with this name and content: `data/<name>-<hash>`. Because of the hash,
    /// different data sets have different keys.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] if the name is empty or has other characters than letters,
    /// digits, dots, dashes and underscores.
    pub fn key(&self, name: &str) -> Result<String> {
        let sound = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || !name.chars().all(sound) {
            return Err(Error::rejected(format!(
                "the data set cannot be named '{name}': use letters, digits, dots, dashes and \
                 underscores"
            )));
        }
        Ok(format!("data/{name}-{:016x}", self.hash()))
    }

    /// `true` if the object under `key` is this data set, and `false` if there is no object. It
    /// compares the headers, which contain the hash of all examples. This takes one request.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Conflict`] if the object is another one, and the errors of `objects`.
    pub async fn is_stored(&self, objects: &dyn Objects, key: &str) -> Result<bool> {
        match objects.get_range(key, 0..HEADER as u64).await? {
            None => Ok(false),
            Some(bytes) if bytes == self.header.encode() => Ok(true),
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "there is something else at {key}: delete it, or give the data set another name"
                ),
            )),
        }
    }
}

impl fmt::Debug for PackedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedData({}, {} examples)", self.place, self.header.examples)
    }
}

#[async_trait]
impl DataSource for PackedData {
    fn len(&self) -> u64 {
        self.header.examples
    }

    fn request_costs(&self) -> Requests {
        match self.place {
            Place::File { .. } => Requests::NONE,
            Place::Object { .. } => Requests { reads: 1, writes: 0 },
        }
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::rejected(format!(
                "examples {} to {} of {}: ask for a range within the data",
                range.start,
                range.end,
                self.len()
            )));
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = self.place.read(self.index.place(range.clone())).await?;
        self.index.unpack(range, &mut bytes).map_err(|error| of(&self.place, error))?;
        Ok(bytes)
    }
}

impl Place {
    /// Reads these bytes, or fewer if the data ends before.
    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        match self {
            Self::File { path, file } => {
                let file = Arc::clone(file);
                let read = tokio::task::spawn_blocking(move || {
                    let file = &mut *file.lock();
                    file.seek(SeekFrom::Start(range.start))?;
                    let mut bytes = Vec::new();
                    file.take(range.end - range.start).read_to_end(&mut bytes)?;
                    Ok(bytes)
                });
                match read.await {
                    Ok(read) => read.map_err(|error| unreadable(path, error)),
                    Err(error) => Err(unreadable(path, std::io::Error::other(error))),
                }
            }
            Self::Object { objects, key } => {
                objects.get_range(key, range).await?.ok_or_else(|| {
                    Error::rejected(format!("there is no data set at {key}: upload it first"))
                })
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Object { key, .. } => f.write_str(key),
        }
    }
}

/// Adds the place of the data to an error.
fn of(place: &Place, error: Error) -> Error {
    Error::new(error.kind(), format!("the data set at {place} cannot be used")).with_source(error)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("cannot read the packed data in {}", path.display()))
        .with_source(error)
}

#[cfg(test)]
mod tests;
