//! Objects in simulated storage.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::objects::{Fetched, Listed, Objects, Tag, Written};
use siren_core::{Clock, Result, Time};

use crate::fault::seconds;
use crate::link::{Link, Request};

/// The time of each object's last replacement, since storage needs a minimum time between two
/// conditional writes of an object.
#[derive(Default)]
pub(crate) struct Commits(Mutex<HashMap<String, Time>>);

/// Objects behind a function's connection. A request takes effect halfway between its sending and
/// its answer.
pub(crate) struct SimObjects {
    pub(crate) inner: Arc<dyn Objects>,
    pub(crate) link: Arc<Link>,
    pub(crate) commits: Arc<Commits>,
    /// The shortest time between two conditional writes of one object, in milliseconds.
    pub(crate) commit_ms: f64,
}

impl SimObjects {
    /// Waits for the answer to a read request, and for the transfer of its bytes.
    async fn finish(&self, answered: Time, bytes: usize) -> Result<()> {
        self.link.clock().until(answered).await;
        self.link.receive(bytes as u64).await;
        self.link.receive_answer().await
    }
}

#[async_trait]
impl Objects for SimObjects {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.get_start(key, known, u64::MAX).await
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        let answered = self.link.reach_storage(Request::Get, 0).await?;
        let fetched = self.inner.get_start(key, known, length).await?;
        let bytes = match &fetched {
            Fetched::Changed { bytes, .. } => bytes.len(),
            _ => 0,
        };
        self.finish(answered, bytes).await?;
        Ok(fetched)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let answered = self.link.reach_storage(Request::Get, 0).await?;
        let bytes = self.inner.get_range(key, range).await?;
        self.finish(answered, bytes.as_ref().map_or(0, Vec::len)).await?;
        Ok(bytes)
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        let answered = self.link.reach_storage(Request::Put, bytes.len() as u64).await?;
        let written = self.inner.put_if_absent(key, bytes).await?;
        self.finish(answered, 0).await?;
        Ok(written)
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        let answered = self.link.reach_storage(Request::PutIfUnchanged, bytes.len() as u64).await?;
        let now = self.link.clock().now();
        let free = {
            let commits = self.commits.0.lock();
            let last = commits.get(key).copied();
            last.is_none_or(|last| now.since(last) >= seconds(self.commit_ms / 1e3))
        };
        // Storage is still busy with the last write and refuses, which a client must not take for
        // success.
        let written = match free {
            true => self.inner.put_if_unchanged(key, known, bytes).await?,
            false => Written::Refused,
        };
        if let Written::Done(_) = written {
            self.commits.0.lock().insert(key.into(), now);
        }
        self.finish(answered, 0).await?;
        Ok(written)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        let answered = self.link.reach_storage(Request::Put, 0).await?;
        let listed = self.inner.list(prefix, after).await?;
        self.finish(answered, 0).await?;
        Ok(listed)
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let answered = self.link.reach_storage(Request::Delete, 0).await?;
        self.inner.delete(keys).await?;
        self.finish(answered, 0).await
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::{objects, objects_tests};
    use siren_core::platform::Profile;
    use siren_core::{Seed, Stream};
    use siren_hsp::MemoryObjects;

    use super::*;
    use crate::clock::VirtualClock;

    /// Objects of measured latencies, at the end of one function's connection.
    fn simulated() -> objects::Subject {
        let clock = VirtualClock::new();
        let link_clock = clock.clone();
        let make = move || {
            let rng = |of| Box::new(Seed::new(1).split(Stream::Platform, &[of]).rng());
            let profile = Arc::new(Profile::default());
            let commit_ms = profile.storage.commit_ms;
            let (clock, limits) = (link_clock.clone(), Arc::default());
            let link = Link::new(clock, profile, Arc::default(), limits, rng(0), rng(1));
            let inner = Arc::new(MemoryObjects::new());
            let link = Arc::new(link);
            async move { SimObjects { inner, link, commits: Arc::default(), commit_ms } }
        };
        objects::Subject::new(make)
            .driven(move |future| clock.run(future).expect("nothing waits for ever"))
            .threads(1)
    }

    objects_tests!(simulated_objects, simulated());
}
