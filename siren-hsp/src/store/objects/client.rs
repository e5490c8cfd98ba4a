//! Requests to the objects, with counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use siren_core::{Clock, Requests, Result, Seed};

use crate::Retry;
use siren_core::objects::{Fetched, Listed, Objects, Tag, Written};

#[derive(Default)]
struct Counter {
    writes: AtomicU64,
    reads: AtomicU64,
}

impl Counter {
    fn requests(&self) -> Requests {
        Requests {
            writes: self.writes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
        }
    }
}

/// Makes requests to the objects and counts them.
pub(super) struct Client {
    objects: Arc<dyn Objects>,
    own: Counter,
    /// The requests of the whole handle.
    total: Arc<Counter>,
    /// If set, transient failures are retried here instead of by the caller.
    retry: Option<(Arc<dyn Clock>, Retry)>,
}

impl Client {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, own: Counter::default(), total: Arc::default(), retry: None }
    }

    /// A client that retries each request, for operations with many requests: they would hardly
    /// ever finish if each failure restarted them. It has its own count, and also adds to the
    /// handle's.
    pub(super) fn retrying(&self, clock: &Arc<dyn Clock>) -> Self {
        Self {
            objects: Arc::clone(&self.objects),
            own: Counter::default(),
            total: Arc::clone(&self.total),
            retry: Some((Arc::clone(clock), Retry::default())),
        }
    }

    /// The requests made through this client.
    pub(super) fn requests(&self) -> Requests {
        self.own.requests()
    }

    /// The requests made through the handle.
    pub(super) fn total_requests(&self) -> Requests {
        self.total.requests()
    }

    /// Makes a request, and retries it if this client retries. All requests use the same jitter,
    /// since concurrent ones come from different processes.
    async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T> {
        match &self.retry {
            None => call().await,
            Some((clock, retry)) => retry.call(&**clock, Seed::new(0), call).await,
        }
    }

    fn read(&self) -> &dyn Objects {
        for counter in [&self.own, &*self.total] {
            counter.reads.fetch_add(1, Ordering::Relaxed);
        }
        &*self.objects
    }

    fn write(&self) -> &dyn Objects {
        for counter in [&self.own, &*self.total] {
            counter.writes.fetch_add(1, Ordering::Relaxed);
        }
        &*self.objects
    }

    pub(super) async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.call(|| self.read().get(key, known)).await
    }

    pub(super) async fn get_start(
        &self,
        key: &str,
        known: Option<&Tag>,
        length: usize,
    ) -> Result<Fetched> {
        self.call(|| self.read().get_start(key, known, length as u64)).await
    }

    /// Reads `length` bytes from `from`.
    pub(super) async fn get_range(
        &self,
        key: &str,
        from: usize,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.call(|| self.read().get_range(key, from as u64..(from + length) as u64)).await
    }

    /// Writes an object if it does not exist. If a write succeeds but its answer is lost, the retry
    /// is refused; callers must then read the object.
    pub(super) async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        self.call(|| self.write().put_if_absent(key, bytes)).await
    }

    /// Replaces an object; refused as by [`put_if_absent`](Self::put_if_absent).
    pub(super) async fn put_if_unchanged(
        &self,
        key: &str,
        known: &Tag,
        bytes: &[u8],
    ) -> Result<Written> {
        self.call(|| self.write().put_if_unchanged(key, known, bytes)).await
    }

    pub(super) async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        self.call(|| self.write().list(prefix, after)).await
    }

    /// All keys that begin with `prefix`, with as many requests as necessary.
    pub(super) async fn list_all(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let listed = self.list(prefix, keys.last().map(String::as_str)).await?;
            let more = listed.more && !listed.keys.is_empty();
            keys.extend(listed.keys);
            if !more {
                return Ok(keys);
            }
        }
    }

    /// Deletes objects. Deletions are free and not counted.
    pub(super) async fn delete(&self, keys: &[String]) -> Result<()> {
        for keys in keys.chunks(1_000) {
            self.call(|| self.objects.delete(keys)).await?;
        }
        Ok(())
    }
}
