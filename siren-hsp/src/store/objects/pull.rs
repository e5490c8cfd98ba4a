//! Pulling: the parts that changed.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{Clock, Error, ErrorKind, Pulled, Replica, Result};

use super::ObjectStore;
use super::head::{Meta, pull_len};
use super::part::missing;
use super::session::{Seen, Session};
use super::state::{fenced, floor, not_open};
use crate::objects::Fetched;

/// Parts that are read at the same time.
const AT_ONCE: usize = 16;

/// A part as a pull finds it.
struct Found {
    meta: Arc<Meta>,
    stamp: u64,
    /// Its bytes, and where the parameters start, unless the replica has them.
    bytes: Option<(Vec<u8>, usize)>,
}

impl ObjectStore {
    pub(super) async fn pull_parts(
        &self,
        epoch: u64,
        replica: &mut Replica,
        progress: u64,
    ) -> Result<Pulled> {
        let mut delays = Delays::new(self.options.poll);
        let mut since = None;
        loop {
            if self.options.inline {
                self.step().await?;
            }
            let session = self.session(epoch).await?;
            if session.floor() >= progress {
                let (view, found) =
                    futures::try_join!(self.read(&self.calls), self.find_parts(&session, replica))?;
                let view = view.ok_or_else(|| not_open(epoch))?;
                if view.state.current(epoch)?.generation != session.generation {
                    continue;
                }
                let found = found.into_iter().enumerate();
                let found: Vec<Found> = found
                    .map(|(part, found)| found.ok_or_else(|| missing(part)))
                    .collect::<Result<_>>()?;
                if found.iter().any(|found| found.meta.generation > session.generation) {
                    // Of the next epoch: the state that was read is not the last one.
                    continue;
                }
                let of_epoch = |found: &Found| found.meta.generation == session.generation;
                if found.iter().any(|found| of_epoch(found) && found.meta.closed) {
                    return Err(fenced(epoch));
                }
                let reached = |found: &Found| match of_epoch(found) {
                    true => floor(&session.plan, found.meta.marks.iter().map(|m| m.batches)),
                    false => 0,
                };
                if found.iter().map(reached).min() >= Some(progress) {
                    let waited = since.map_or(Duration::ZERO, |since| self.clock.now() - since);
                    return Ok(Pulled { waited, ..copy(&session, &found, replica)? });
                }
            } else {
                // The state is smaller than the parts, and goes ahead of them.
                let view = self.read(&self.calls).await?.ok_or_else(|| not_open(epoch))?;
                view.state.current(epoch)?;
                if session.floor() >= progress {
                    continue;
                }
            }
            since.get_or_insert(self.clock.now());
            delays.wait(&*self.clock).await;
        }
    }

    /// All parts, with the bytes of those that the replica does not have.
    async fn find_parts(&self, session: &Session, replica: &Replica) -> Result<Vec<Option<Found>>> {
        let has_all =
            replica.values.len() == self.dim && replica.versions.len() == session.cuts.parts;
        stream::iter(0..session.cuts.parts)
            .map(|part| {
                let has = if has_all { replica.versions[part] } else { 0 };
                self.find(session, part, has)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn find(&self, session: &Session, part: usize, has: u64) -> Result<Option<Found>> {
        let key = self.keys.head(session.lineage, part);
        let seen = session.seen.lock()[part].clone();
        // What another replica has cannot be left out.
        let seen = seen.filter(|seen| session.stamp(&seen.meta) == has);
        let known = seen.as_ref().map(|seen| &seen.tag);
        let length = pull_len(session.plan.shards as usize, session.cuts.range(part).len());
        let mut fetched = self.calls.get_start(&key, known, length).await?;
        if let Fetched::Changed { bytes, .. } = &fetched
            && is_short(bytes, session.cuts.range(part).len())?
        {
            // As the last epoch left it, which had more shards.
            fetched = self.calls.get(&key, None).await?;
        }
        Ok(match (fetched, seen) {
            (Fetched::Changed { bytes, tag }, _) => {
                let Some((meta, at)) = Meta::decode(&bytes)? else { return Err(ends_early(part)) };
                let meta = Arc::new(meta);
                session.seen.lock()[part] = Some(Seen { tag, meta: Arc::clone(&meta) });
                let stamp = session.stamp(&meta);
                Some(Found { meta, stamp, bytes: (stamp != has).then_some((bytes, at)) })
            }
            (Fetched::Unchanged, Some(seen)) => {
                Some(Found { stamp: has, meta: seen.meta, bytes: None })
            }
            _ => None,
        })
    }
}

impl Session {
    /// Names a state of a part of this lineage among those of all lineages.
    fn stamp(&self, meta: &Meta) -> u64 {
        (self.lineage << 40) + meta.sequence
    }
}

/// Whether these bytes end before the parameters do.
fn is_short(bytes: &[u8], parameters: usize) -> Result<bool> {
    Ok(match Meta::decode(bytes)? {
        Some((_, at)) => bytes.len() < at + 4 * parameters + 8,
        None => true,
    })
}

fn ends_early(part: usize) -> Error {
    Error::new(ErrorKind::Corrupt, format!("part {part} of the parameters ends early"))
}

/// Copies the parts that the replica does not have.
fn copy(session: &Session, found: &[Found], replica: &mut Replica) -> Result<Pulled> {
    let cuts = session.cuts;
    if replica.versions.len() != cuts.parts {
        replica.forget();
        replica.versions.resize(cuts.parts, 0);
    }
    replica.values.resize(cuts.dim, 0.0);
    let mut copied = 0;
    for (part, found) in found.iter().enumerate() {
        if let Some((bytes, at)) = &found.bytes {
            let range = cuts.range(part);
            let values = &mut replica.values[range.clone()];
            if found.meta.values(bytes, *at, values)?.is_none() {
                return Err(ends_early(part));
            }
            replica.versions[part] = found.stamp;
            copied += range.len();
        }
    }
    let version = found.iter().map(|found| found.meta.version).min().unwrap_or_default();
    Ok(Pulled { version, copied, waited: Duration::ZERO })
}

/// Delays that grow.
pub(super) struct Delays {
    next: Duration,
    longest: Duration,
}

impl Delays {
    pub(super) fn new(first: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { next: first, longest: first * 8 }
    }

    pub(super) async fn wait(&mut self, clock: &dyn Clock) {
        clock.sleep_until(clock.now() + self.next).await;
        self.next = (self.next + self.next / 2).min(self.longest);
    }
}
