//! Objects in a map.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use siren_core::objects::{Fetched, Listed, Objects, Tag, Written};
use siren_core::{Error, Result};

use super::Fault;
use crate::store::yield_now;

const PAGE: usize = 1_000;

/// A correct implementation, or one with a fault.
pub(super) struct Reference {
    state: Mutex<State>,
    fault: Option<Fault>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// The last written object, and the one that it replaced.
    last: Option<(String, Option<Object>)>,
    deleted: Vec<String>,
    writes: u64,
}

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    tag: Tag,
}

impl Reference {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), fault: None }
    }

    pub(super) fn with_fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::new() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The key under which an object is kept.
    fn stored_key(&self, key: &str) -> String {
        match self.fault {
            Some(Fault::KeysIgnoreCase) => key.to_lowercase(),
            Some(Fault::KeysIgnoreSlashes) => key.rsplit('/').next().unwrap_or_default().to_owned(),
            _ => key.to_owned(),
        }
    }

    fn find(&self, key: &str) -> Option<Object> {
        let key = self.stored_key(key);
        let state = self.state.lock().unwrap();
        let late =
            state.last.as_ref().filter(|(last, _)| self.has(Fault::ReadsLate) && *last == key);
        let found = match late {
            Some((_, before)) => before.clone(),
            None => state.objects.get(&key).cloned(),
        };
        found.or_else(|| {
            let empty = || Object { bytes: Vec::new(), tag: Tag::new("none") };
            self.has(Fault::MissingIsEmpty).then(empty)
        })
    }

    /// Writes an object if the existing one satisfies the condition.
    async fn write(
        &self,
        key: &str,
        bytes: &[u8],
        waits: Fault,
        condition: impl Fn(Option<&Object>) -> bool + Send,
    ) -> Written {
        let key = self.stored_key(key);
        yield_now().await;
        let holds = condition(self.state.lock().unwrap().objects.get(&key));
        if self.has(waits) {
            yield_now().await;
        }
        if holds && self.has(Fault::WritesInTwoParts) {
            self.state.lock().unwrap().write(&key, &bytes[..bytes.len() / 2], self.fault);
            yield_now().await;
            return Written::Done(self.state.lock().unwrap().write(&key, bytes, self.fault));
        }
        let mut state = self.state.lock().unwrap();
        let holds = if self.has(waits) { holds } else { condition(state.objects.get(&key)) };
        match holds {
            true => Written::Done(state.write(&key, bytes, self.fault)),
            false => {
                if self.has(Fault::RefusedIsWritten) {
                    state.write(&key, bytes, self.fault);
                }
                Written::Refused
            }
        }
    }
}

impl State {
    fn write(&mut self, key: &str, bytes: &[u8], fault: Option<Fault>) -> Tag {
        self.writes += 1;
        let before = self.objects.get(key).cloned();
        let tag = match (fault, &before) {
            (Some(Fault::TagIsLength), _) => bytes.len().to_string(),
            (Some(Fault::TagsStartAgain), None) => "1".to_owned(),
            (Some(Fault::TagsStartAgain), Some(before)) => format!("{}1", before.tag),
            _ => self.writes.to_string(),
        };
        let tag = Tag::new(tag);
        let mut bytes = bytes.to_vec();
        if fault == Some(Fault::CutsAMegabyte) {
            bytes.truncate(1 << 20);
        }
        self.last = Some((key.to_owned(), before));
        self.objects.insert(key.to_owned(), Object { bytes, tag: tag.clone() });
        tag
    }
}

#[async_trait]
impl Objects for Reference {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        yield_now().await;
        let Some(mut object) = self.find(key) else { return Ok(Fetched::Missing) };
        if object.bytes.is_empty() && self.has(Fault::EmptyIsMissing) {
            return Ok(Fetched::Missing);
        }
        let is_known = match self.fault {
            Some(Fault::KnownIsIgnored) => false,
            Some(Fault::KnownIsTrusted) => known.is_some(),
            _ => known == Some(&object.tag),
        };
        if is_known {
            return Ok(Fetched::Unchanged);
        }
        if self.has(Fault::ReadsTwice) {
            yield_now().await;
            let now = self.find(key).map_or_else(Vec::new, |object| object.bytes);
            let half = object.bytes.len() / 2;
            object.bytes.truncate(half);
            object.bytes.extend(now.into_iter().skip(half));
        }
        Ok(Fetched::Changed { bytes: object.bytes, tag: object.tag })
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        let known = known.filter(|_| !self.has(Fault::StartIgnoresKnown));
        let mut fetched = self.get(key, known).await?;
        if let Fetched::Changed { bytes, tag } = &mut fetched {
            if !self.has(Fault::StartIsWhole) {
                bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            }
            if self.has(Fault::StartHasItsOwnTag) {
                *tag = Tag::new(format!("{tag} from 0 to {length}"));
            }
        }
        Ok(fetched)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        yield_now().await;
        let Some(Object { bytes, .. }) = self.find(key) else { return Ok(None) };
        let (Range { start, mut end }, len) = (range, bytes.len() as u64);
        if self.has(Fault::RangeHasItsEnd) {
            end += 1;
        }
        let fails = (start == end && self.has(Fault::EmptyRangeFails))
            || (end > len && self.has(Fault::RangeMustFit));
        if fails {
            return Err(Error::rejected(format!("{start}..{end} of {len} bytes")));
        }
        Ok(Some(bytes[start.min(len) as usize..end.min(len) as usize].to_vec()))
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Written> {
        let again = self.has(Fault::CreatesAgain);
        let is_absent = |object: Option<&Object>| again || object.is_none();
        Ok(self.write(key, bytes, Fault::CreatesAfterAWait, is_absent).await)
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Result<Written> {
        let (missing, any) = (self.has(Fault::ReplacesMissing), self.has(Fault::AnyTagReplaces));
        let is_unchanged = |object: Option<&Object>| match object {
            Some(object) => any || object.tag == *known,
            None => missing,
        };
        Ok(self.write(key, bytes, Fault::ReplacesAfterAWait, is_unchanged).await)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listed> {
        yield_now().await;
        let state = self.state.lock().unwrap();
        if self.has(Fault::AfterMustExist) && after.is_some_and(|a| !state.objects.contains_key(a))
        {
            return Ok(Listed::default());
        }
        let begins = |key: &str| match key.strip_prefix(prefix) {
            Some(rest) if self.has(Fault::PrefixIsADirectory) => {
                prefix.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
            }
            rest => rest.is_some(),
        };
        let follows = |key: &str| match after {
            Some(after) if self.has(Fault::AfterIsIncluded) => key >= after,
            after => after.is_none_or(|after| key > after),
        };
        let mut new = state.last.iter().filter(|(_, before)| before.is_none()).map(|(key, _)| key);
        let late = new.next_back().filter(|_| self.has(Fault::ListsLate));
        let mut keys: Vec<_> = state.objects.keys().filter(|key| Some(*key) != late).collect();
        if self.has(Fault::ListsDeleted) {
            keys.extend(&state.deleted);
            keys.sort();
        }
        keys.retain(|key| begins(key) && follows(key));
        if self.has(Fault::ListsByLength) {
            keys.sort_by_key(|key| key.len());
        }
        if self.has(Fault::ListsDirectoriesFirst) {
            keys.sort_by_key(|key| key.replace('/', "\0"));
        }
        let page = if self.has(Fault::ListsTooMany) { usize::MAX } else { PAGE };
        let more = match self.fault {
            Some(Fault::ListsOnePage) => false,
            Some(Fault::MoreAfterAFullPage) => keys.len() >= page,
            _ => keys.len() > page,
        };
        Ok(Listed { keys: keys.into_iter().take(page).cloned().collect(), more })
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        yield_now().await;
        let mut state = self.state.lock().unwrap();
        let most = if self.has(Fault::DeletesOnlyTheFirst) { 1 } else { usize::MAX };
        for key in keys.iter().take(most) {
            let key = self.stored_key(key);
            if self.has(Fault::DeletesWhatBeginsAlike) {
                state.objects.retain(|other, _| !other.starts_with(&key));
            }
            if self.has(Fault::DeletesNothing) {
                continue;
            }
            state.last = None;
            if state.objects.remove(&key).is_some() {
                state.deleted.push(key);
            } else if self.has(Fault::DeletionFailsForMissing) {
                return Err(Error::rejected(format!("there is no {key}")));
            }
        }
        Ok(())
    }
}
