//! The contract of shared object storage such as S3, which a parameter store can use.

mod decorator;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
pub use decorator::ObjectsDecorator;

use crate::Result;

/// Identifies one state of an object; an ETag in S3.
///
/// Equal tags of one key mean equal bytes. A write of other bytes changes the tag, and no later
/// state with other bytes ever has the old tag again, not even after a deletion. A write of the
/// same bytes may keep the tag, as in S3.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// A tag from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The tag's text.
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
    /// The object still has the known tag.
    Unchanged,
    /// The object has another tag.
    Changed {
        /// All bytes of the object, or its first bytes if only these were requested.
        bytes: Vec<u8>,
        /// The tag of the whole object.
        tag: Tag,
    },
}

/// The answer to a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object was written and now has this tag.
    Done(Tag),
    /// Nothing was written: the condition does not hold, or another write was in progress.
    Refused,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The keys, at most 1,000, in the order of their bytes.
    pub keys: Vec<String>,
    /// `true` if more keys follow. To get them, list again after the last key. Such a page is not
    /// empty.
    pub more: bool,
}

/// Objects under keys: the operations of shared storage that a parameter store needs.
///
/// A key is a path of letters, digits, dots, dashes, underscores and slashes.
///
/// Reads and listings see every write that was answered before they began, as in S3 since 2020. A
/// write replaces an object as a whole: no read sees parts of two states. Each call is one request,
/// which is billed whether its condition holds or not.
///
/// A write whose answer is lost may have happened. A retry may then be refused because of the first
/// attempt.
///
/// To wrap other objects, implement [`ObjectsDecorator`] instead.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Reads an object, unless it still has the tag `known`. One GET.
    ///
    /// # Errors
    ///
    /// May return the transient errors [`ErrorKind::Throttled`](crate::ErrorKind::Throttled) and
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost).
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched>;

    /// Reads the first `length` bytes of an object, or all if it has fewer, unless it still has the
    /// tag `known`. One GET.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched>;

    /// Reads a range of an object's bytes. Returns fewer bytes if the object ends within the range,
    /// and `None` if there is no such object. One GET.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>>;

    /// Writes an object that does not exist yet (If-None-Match). Of several such writes at the same
    /// time one succeeds. One PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written>;

    /// Replaces an object that still has the tag `known` (If-Match). The storage may refuse
    /// although the tag is current, if another write of the object is in progress. One PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written>;

    /// Lists at most 1,000 keys that begin with `prefix` and come after the key `after`, which need
    /// not exist. One LIST, which costs as much as a PUT.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed>;

    /// Deletes objects, and skips those that do not exist. Free in S3.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn delete(&self, keys: &[String]) -> Result<()>;
}
