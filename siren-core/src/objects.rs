//! Shared storage of objects, as S3 has it: the contract that a parameter store over objects needs.

mod decorator;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
pub use decorator::ObjectsDecorator;

use crate::Result;

/// Names one state of an object. S3 calls it ETag.
///
/// A write of other bytes changes the tag, and no later state with other bytes has it again, not even
/// after a deletion. A write of the same bytes may keep it, as on S3. So equal tags of one key mean
/// equal bytes.
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

/// The answer to a conditional read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// There is no such object.
    Missing,
    /// The object has the tag that the reader knows.
    Unchanged,
    /// The object has another tag.
    Changed {
        /// All of its bytes, or the first ones that were asked for.
        bytes: Vec<u8>,
        /// The tag of the whole object.
        tag: Tag,
    },
}

/// The answer to a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object was written, and has this tag now.
    Done(Tag),
    /// The condition does not hold, or another write was under way: nothing was written.
    Refused,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Keys in the order of their bytes, at most 1,000.
    pub keys: Vec<String>,
    /// `true` if more keys follow: list again after the last key. Such a page is not empty.
    pub more: bool,
}

/// Objects under keys: the least that shared storage must do for a parameter store to live there.
///
/// A key is a path of letters, digits, dots, dashes, underscores and slashes.
///
/// Reads and listings see every write that was answered before they began, as on S3 since 2020. A write
/// replaces an object as a whole: no read sees parts of two states. Each call is one request, and is
/// paid for whether its condition holds or not.
///
/// A write whose answer is lost may have happened. If it is tried again, its own first attempt may be
/// the reason why it is refused.
///
/// Wrappers implement [`ObjectsDecorator`] instead.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Reads an object, unless it has the tag `known`. A GET.
    ///
    /// # Errors
    ///
    /// Transient ones: throttled, lost.
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched>;

    /// Reads the first `length` bytes of an object, or all if it has fewer, unless it has the tag `known`.
    /// A GET.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched>;

    /// Reads bytes of an object; fewer if it ends before, `None` if there is no such object. A GET.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>>;

    /// Writes an object that does not exist yet (If-None-Match). A PUT. Of several such writes at the
    /// same time one succeeds.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written>;

    /// Replaces an object that still has the tag `known` (If-Match). A PUT. Storage that is still busy
    /// with another write of the object may refuse although the tag is the current one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written>;

    /// Lists keys that begin with `prefix` and come after `after`, at most 1,000. `after` need not exist.
    /// A LIST, at the price of a PUT.
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
