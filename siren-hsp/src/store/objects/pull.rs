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

/// A part as a pull has it.
struct Found {
    meta: Arc<Meta>,
    stamp: u64,
    /// Its bytes, and where the parameters start, unless the replica has them.
    bytes: Option<(Vec<u8>, usize)>,
}

/// What asking for a part came to.
enum Answer {
    /// It is as it was found before.
    Same,
    Changed(Found),
    Missing,
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
        let mut gathered: Option<(u64, Vec<Option<Found>>)> = None;
        loop {
            if self.options.inline {
                self.step().await?;
            }
            let session = self.session(epoch).await?;
            if session.floor() < progress {
                // The state is smaller than the parts, and goes ahead of them.
                let view = self.read(&self.calls).await?.ok_or_else(|| not_open(epoch))?;
                view.state.current(epoch)?;
                if session.floor() >= progress {
                    continue;
                }
            } else {
                let is_first = since.is_none();
                let found = match &mut gathered {
                    Some((generation, found)) if *generation == session.generation => found,
                    other => &mut other.insert((session.generation, session.have(replica))).1,
                };
                let wants = |found: &Option<Found>, marks: &[u64]| {
                    found.as_ref().is_none_or(|found| {
                        let is_short = is_first || session.reached(&found.meta) < progress;
                        is_short && !session.holds(&found.meta, marks)
                    })
                };
                // Parts of which it is known that they change are asked for together with the state,
                // others only if the state says so.
                let known = self.marks(&session);
                let early: Vec<bool> = found.iter().map(|found| wants(found, &known)).collect();
                let (view, answers) =
                    futures::try_join!(self.read(&self.calls), self.ask(&session, found, &early))?;
                let view = view.ok_or_else(|| not_open(epoch))?;
                let open = view.state.current(epoch)?;
                if open.generation != session.generation {
                    continue;
                }
                take(found, answers)?;
                let late: Vec<bool> = early
                    .iter()
                    .zip(found.iter())
                    .map(|(&early, found)| !early && wants(found, &open.marks))
                    .collect();
                let answers = self.ask(&session, found, &late).await?;
                take(found, answers)?;
                let found = || found.iter().flatten();
                if found().any(|found| found.meta.generation > session.generation) {
                    // Of the next epoch: the state that was read is not the last one.
                    continue;
                }
                if found().any(|found| session.is_of(&found.meta) && found.meta.closed) {
                    return Err(fenced(epoch));
                }
                if found().all(|found| session.reached(&found.meta) >= progress) {
                    let waited = since.map_or(Duration::ZERO, |since| self.clock.now() - since);
                    let found: Vec<&Found> = found().collect();
                    return Ok(Pulled { waited, ..copy(&session, &found, replica)? });
                }
            }
            since.get_or_insert(self.clock.now());
            delays.wait(&*self.clock).await;
        }
    }

    /// Batches of each shard that are known to be applied sooner or later: what the last state said, and
    /// what was pushed through this handle.
    fn marks(&self, session: &Session) -> Vec<u64> {
        let view = self.view.lock().clone();
        let open = view.as_ref().and_then(|view| view.state.open.as_ref());
        let open = open.filter(|open| open.generation == session.generation);
        let marks = |shard: usize| open.map_or(0, |open| open.marks[shard]);
        let pushed = session.shards.iter().map(|pushed| pushed.try_lock().map_or(0, |n| *n));
        pushed.enumerate().map(|(shard, pushed)| pushed.max(marks(shard))).collect()
    }

    /// Asks for the parts that are `wanted`, where they are not as they were found.
    async fn ask(
        &self,
        session: &Session,
        found: &[Option<Found>],
        wanted: &[bool],
    ) -> Result<Vec<(usize, Answer)>> {
        let mut asked = Vec::new();
        for (part, found) in found.iter().enumerate().filter(|&(part, _)| wanted[part]) {
            asked.push((part, found.as_ref().map_or(0, |found| found.stamp)));
        }
        stream::iter(asked)
            .map(|(part, has)| async move { Ok((part, self.find(session, part, has).await?)) })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Asks for a part, if it has changed since it `has` this stamp.
    async fn find(&self, session: &Session, part: usize, has: u64) -> Result<Answer> {
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
        Ok(match fetched {
            Fetched::Changed { bytes, tag } => {
                let Some((meta, at)) = Meta::decode(&bytes)? else { return Err(ends_early(part)) };
                let meta = Arc::new(meta);
                session.seen.lock()[part] = Some(Seen { tag, meta: Arc::clone(&meta) });
                let stamp = session.stamp(&meta);
                match stamp == has {
                    true => Answer::Same,
                    false => Answer::Changed(Found { meta, stamp, bytes: Some((bytes, at)) }),
                }
            }
            Fetched::Unchanged => Answer::Same,
            Fetched::Missing => Answer::Missing,
        })
    }
}

/// Puts what was answered in the place of what was found before.
fn take(found: &mut [Option<Found>], answers: Vec<(usize, Answer)>) -> Result<()> {
    for (part, answer) in answers {
        match answer {
            Answer::Changed(changed) => found[part] = Some(changed),
            Answer::Same => {}
            Answer::Missing => return Err(missing(part)),
        }
    }
    Ok(())
}

impl Session {
    /// Names a state of a part of this lineage among those of all lineages.
    fn stamp(&self, meta: &Meta) -> u64 {
        (self.lineage << 40) + meta.sequence
    }

    /// The parts that a replica has, as far as this handle knows them.
    fn have(&self, replica: &Replica) -> Vec<Option<Found>> {
        let has_all =
            replica.values.len() == self.cuts.dim && replica.versions.len() == self.cuts.parts;
        let seen = self.seen.lock();
        let have = seen.iter().enumerate().map(|(part, seen)| {
            let Seen { meta, .. } = seen.as_ref().filter(|_| has_all)?;
            let stamp = self.stamp(meta);
            let found = Found { meta: Arc::clone(meta), stamp, bytes: None };
            (stamp == replica.versions[part]).then_some(found)
        });
        have.collect()
    }

    /// Whether a part has begun with this epoch.
    fn is_of(&self, meta: &Meta) -> bool {
        meta.generation == self.generation
    }

    /// Updates that a part has of every unfinished shard.
    fn reached(&self, meta: &Meta) -> u64 {
        match self.is_of(meta) {
            true => floor(&self.plan, meta.marks.iter().map(|mark| mark.batches)),
            false => 0,
        }
    }

    /// Whether a part has nothing to do until more than these batches are to be applied.
    fn holds(&self, meta: &Meta, marks: &[u64]) -> bool {
        match self.is_of(meta) {
            true => meta.marks.iter().zip(marks).all(|(held, &mark)| held.batches >= mark),
            false => marks.iter().all(|&mark| mark == 0),
        }
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
fn copy(session: &Session, found: &[&Found], replica: &mut Replica) -> Result<Pulled> {
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
