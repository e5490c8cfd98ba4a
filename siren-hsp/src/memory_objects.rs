//! Objects in this process.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::Result;
use siren_core::objects::{Fetched, Listed, Objects, Tag, Written};

/// Keys in one page of a listing, as on S3.
const PAGE: usize = 1_000;

/// Objects in memory, for tests and simulations. Clones share them.
///
/// ```
/// use siren_core::objects::{Objects, Written};
/// use siren_hsp::MemoryObjects;
///
/// # futures::executor::block_on(async {
/// let objects = MemoryObjects::new();
/// let Written::Done(first) = objects.put_if_absent("runs/a", b"first").await? else {
///     panic!("the key is in use");
/// };
/// // Two writers know the first state: only one of them replaces it.
/// let one = objects.put_if_unchanged("runs/a", &first, b"second").await?;
/// let other = objects.put_if_unchanged("runs/a", &first, b"third").await?;
/// assert!(matches!(one, Written::Done(_)));
/// assert_eq!(other, Written::Refused);
/// assert_eq!(objects.get_range("runs/a", 0..100).await?, Some(b"second".to_vec()));
/// # Ok::<(), siren_core::Error>(())
/// # })?;
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryObjects(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    writes: u64,
}

#[derive(Debug)]
struct Object {
    bytes: Arc<[u8]>,
    tag: u64,
}

impl State {
    fn write(&mut self, key: &str, bytes: &[u8]) -> Written {
        self.writes += 1;
        let object = Object { bytes: bytes.into(), tag: self.writes };
        let tag = object.tag();
        self.objects.insert(key.into(), object);
        Written::Done(tag)
    }
}

impl Object {
    fn tag(&self) -> Tag {
        Tag::new(self.tag.to_string())
    }
}

impl MemoryObjects {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.0.lock().objects.len()
    }

    /// `true` if there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.get_start(key, known, u64::MAX).await
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        let found = {
            let state = self.0.lock();
            state.objects.get(key).map(|object| (Arc::clone(&object.bytes), object.tag()))
        };
        Ok(match found {
            None => Fetched::Missing,
            Some((_, tag)) if known == Some(&tag) => Fetched::Unchanged,
            Some((bytes, tag)) => {
                let length = usize::try_from(length).map_or(bytes.len(), |n| n.min(bytes.len()));
                Fetched::Changed { bytes: bytes[..length].to_vec(), tag }
            }
        })
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let bytes = self.0.lock().objects.get(key).map(|object| Arc::clone(&object.bytes));
        Ok(bytes.map(|bytes| {
            let at =
                |index: u64| usize::try_from(index).map_or(bytes.len(), |i| i.min(bytes.len()));
            bytes[at(range.start)..at(range.end).max(at(range.start))].to_vec()
        }))
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        let mut state = self.0.lock();
        if state.objects.contains_key(key) {
            return Ok(Written::Refused);
        }
        Ok(state.write(key, bytes))
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        let mut state = self.0.lock();
        match state.objects.get(key) {
            Some(object) if object.tag() == *known => Ok(state.write(key, bytes)),
            _ => Ok(Written::Refused),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        let state = self.0.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut keys = state
            .objects
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix));
        let page = keys.by_ref().take(PAGE).cloned().collect();
        Ok(Listed { keys: page, more: keys.next().is_some() })
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let mut state = self.0.lock();
        for key in keys {
            state.objects.remove(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::{objects, objects_tests};

    use super::MemoryObjects;

    objects_tests!(in_memory, objects::Subject::new(|| async { MemoryObjects::new() }));
}
