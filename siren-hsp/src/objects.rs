//! Shared storage of objects, as S3 has it.

mod memory;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
pub use memory::MemoryObjects;
use siren_core::Result;

/// Names one state of an object: it changes with every write. S3 calls it ETag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// A tag from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a conditional read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// There is no such object.
    Missing,
    /// It has the tag that the reader knows.
    Unchanged,
    /// Its bytes, and the tag of this state.
    Changed {
        /// All of its bytes, or as many as were asked for.
        bytes: Vec<u8>,
        /// The tag.
        tag: Tag,
    },
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was written, and has this tag now.
    Done(Tag),
    /// The condition does not hold: nothing was written.
    Refused,
}

/// Keys that follow one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Keys in the order of their bytes; at most as many as fit one request.
    pub keys: Vec<String>,
    /// Whether more follow: ask again after the last key.
    pub more: bool,
}

/// Objects under keys: the least that shared storage must do for a
/// parameter store to live there. A key is a path of letters, digits, dots,
/// dashes and slashes.
///
/// Reads and listings see every write that was answered before they began, as on S3 since 2020. Each
/// call is one request, and is paid for whether its condition holds or not.
///
/// A write whose answer is lost may have happened: who repeats it may be refused by its own write.
#[async_trait]
pub trait Objects: Send + Sync {
    /// The object, unless it has the tag `known`. A GET.
    ///
    /// # Errors
    ///
    /// Transient ones: throttled, lost.
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched>;

    /// The first `length` bytes of an object, or all if it has fewer, unless it has the tag `known`. A
    /// GET. By default the whole object is read, and the rest thrown away.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        let mut fetched = self.get(key, known).await?;
        if let Fetched::Changed { bytes, .. } = &mut fetched {
            bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        Ok(fetched)
    }

    /// Bytes of an object; fewer if it ends before, nothing if there is none. A GET.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>>;

    /// Writes an object that does not exist yet (If-None-Match). A PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written>;

    /// Replaces an object that still has the tag `known` (If-Match). A PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written>;

    /// Keys that begin with `prefix` and come after `after`, at most 1,000. A LIST, at the price of a
    /// PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed>;

    /// Deletes objects; those that do not exist are skipped. Free on S3.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn delete(&self, keys: &[String]) -> Result<()>;
}
