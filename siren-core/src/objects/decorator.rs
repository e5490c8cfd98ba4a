//! Wrappers around objects.

use std::ops::Range;

use async_trait::async_trait;

use super::{Fetched, Listed, Objects, Tag, Written};
use crate::Result;

/// A wrapper around other [`Objects`]. Every method that is not overridden passes its request to
/// [`inner`](Self::inner). Every decorator is also an [`Objects`].
///
/// To treat all requests alike, for instance to count or delay them or to let some fail, override
/// only [`around`](Self::around).
///
/// # Examples
///
/// ```
/// use std::future::Future;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use async_trait::async_trait;
/// use siren_core::Result;
/// use siren_core::objects::{Objects, ObjectsDecorator};
///
/// /// Counts requests.
/// struct Counted<O> {
///     inner: O,
///     requests: AtomicU64,
/// }
///
/// #[async_trait]
/// impl<O: Objects> ObjectsDecorator for Counted<O> {
///     fn inner(&self) -> &dyn Objects {
///         &self.inner
///     }
///
///     async fn around<T, F>(&self, request: F) -> Result<T>
///     where
///         T: Send,
///         F: Future<Output = Result<T>> + Send,
///     {
///         self.requests.fetch_add(1, Ordering::Relaxed);
///         request.await
///     }
/// }
/// ```
#[async_trait]
pub trait ObjectsDecorator: Send + Sync {
    /// The wrapped objects.
    fn inner(&self) -> &dyn Objects;

    /// Makes a request to the wrapped objects. The default of each method below makes its request
    /// through this method.
    ///
    /// # Errors
    ///
    /// The default returns the errors of the request.
    async fn around<T, F>(&self, request: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        request.await
    }

    /// See [`Objects::get`].
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.around(self.inner().get(key, known)).await
    }

    /// See [`Objects::get_start`].
    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        self.around(self.inner().get_start(key, known, length)).await
    }

    /// See [`Objects::get_range`].
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.around(self.inner().get_range(key, range)).await
    }

    /// See [`Objects::put_if_absent`].
    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        self.around(self.inner().put_if_absent(key, bytes)).await
    }

    /// See [`Objects::put_if_unchanged`].
    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        self.around(self.inner().put_if_unchanged(key, known, bytes)).await
    }

    /// See [`Objects::list`].
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        self.around(self.inner().list(prefix, after)).await
    }

    /// See [`Objects::delete`].
    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.around(self.inner().delete(keys)).await
    }
}

#[async_trait]
impl<D: ObjectsDecorator> Objects for D {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        ObjectsDecorator::get(self, key, known).await
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        ObjectsDecorator::get_start(self, key, known, length).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        ObjectsDecorator::get_range(self, key, range).await
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        ObjectsDecorator::put_if_absent(self, key, bytes).await
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        ObjectsDecorator::put_if_unchanged(self, key, known, bytes).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        ObjectsDecorator::list(self, prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        ObjectsDecorator::delete(self, keys).await
    }
}
