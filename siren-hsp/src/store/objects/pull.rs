//! Pulls, which read the parts that changed, and wait for parts that are behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{Clock, Error, ErrorKind, PullOutcome, Replica, Result};

use super::ObjectStore;
use super::part::missing_part;
use super::part_object::{Meta, pull_len};
use super::session::{Seen, Session, View};
use super::state::{fenced, floor, not_open};
use siren_core::objects::Fetched;

/// The number of parts read concurrently.
const CONCURRENT_REQUESTS: usize = 16;

/// A part as found by a pull.
struct Found {
    meta: Arc<Meta>,
    stamp: u64,
    /// Its bytes and the offset of the parameters, unless the replica has them.
    bytes: Option<(Vec<u8>, usize)>,
}

/// The parts that a pull has found so far.
struct Gathering {
    /// The generation of the parts.
    generation: u64,
    found: Vec<Option<Found>>,
    /// `true` if the parts were requested before.
    after_wait: bool,
}

/// The result of reading the parts.
enum Gathered {
    /// All parts have reached the requested progress.
    Complete,
    /// Some parts have not.
    Behind,
    /// They have, but this part lacks too many of the handle's own updates.
    LacksOwn(usize),
    /// The parts belong to another epoch than the session's.
    Outdated,
}

/// The result of requesting a part.
enum Answer {
    /// The part is unchanged.
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
    ) -> Result<PullOutcome> {
        let mut backoff = Backoff::new(self.options.wait_delay);
        let mut since = None;
        let mut gathered: Option<Gathering> = None;
        loop {
            if self.options.inline {
                self.apply_inline().await?;
            }
            let session = self.session(epoch).await?;
            // The state is smaller than the parts, and is ahead of them.
            let ahead = match session.floor() < progress {
                true => Some(self.read(&self.client).await?.ok_or_else(|| not_open(epoch))?),
                false => None,
            };
            if let Some(view) = &ahead {
                view.state.current(epoch)?;
            }
            if session.floor() >= progress {
                let mut gathering = gathered
                    .take()
                    .filter(|gathering| gathering.generation == session.generation)
                    .unwrap_or_else(|| Gathering::from_replica(&session, replica));
                match self.gather(&session, ahead, &mut gathering, progress).await? {
                    Gathered::Complete => {
                        let waited = since.map_or(Duration::ZERO, |since| self.clock.now() - since);
                        return Ok(PullOutcome {
                            waited,
                            ..copy_parts(&session, &gathering.found, replica)?
                        });
                    }
                    Gathered::Outdated => continue,
                    Gathered::LacksOwn(part) => {
                        since.get_or_insert(self.clock.now());
                        self.await_own(&session, part, &mut backoff).await?;
                        // Other parts may have changed meanwhile, too.
                        continue;
                    }
                    Gathered::Behind => {
                        gathered = Some(Gathering { after_wait: true, ..gathering })
                    }
                }
            }
            since.get_or_insert(self.clock.now());
            backoff.wait(&*self.clock).await;
        }
    }

    /// Reads the parts that changed. Parts known to change are read together with the state, unless
    /// it was read `ahead`. Other parts are read only if the state requires it.
    async fn gather(
        &self,
        session: &Session,
        ahead: Option<View>,
        gathering: &mut Gathering,
        progress: u64,
    ) -> Result<Gathered> {
        let epoch = session.plan.epoch;
        let state = async {
            match ahead {
                Some(view) => Ok(Some(view)),
                None => self.read(&self.client).await,
            }
        };
        let early = gathering.wanted(session, &self.marks(session), progress);
        let (view, answers) =
            futures::try_join!(state, self.ask_parts(session, gathering, &early))?;
        let view = view.ok_or_else(|| not_open(epoch))?;
        let open = view.state.current(epoch)?;
        if open.generation != session.generation {
            return Ok(Gathered::Outdated);
        }
        gathering.record(answers)?;
        let mut late = gathering.wanted(session, &open.marks, progress);
        late.retain(|part| early.binary_search(part).is_err());
        let answers = self.ask_parts(session, gathering, &late).await?;
        gathering.record(answers)?;
        let metas = || gathering.found.iter().flatten().map(|found| &found.meta);
        if metas().any(|meta| meta.generation > session.generation) {
            // A part of the next epoch: the state was read too early.
            return Ok(Gathered::Outdated);
        }
        if metas().any(|meta| session.is_current(meta) && meta.closed) {
            return Err(fenced(epoch));
        }
        if metas().any(|meta| session.progress_of(meta) < progress) {
            return Ok(Gathered::Behind);
        }
        let lacking = metas().position(|meta| session.lacks_own(meta, self.options.max_ahead));
        Ok(lacking.map_or(Gathered::Complete, Gathered::LacksOwn))
    }

    /// Polls the head of a part until it lacks few of the updates that were pushed through this
    /// handle, or belongs to an epoch that is over.
    async fn await_own(&self, session: &Session, part: usize, backoff: &mut Backoff) -> Result<()> {
        let key = self.keys.part(session.lineage, part);
        let length = pull_len(session.plan.shards as usize, 0);
        let mut tag = session.seen.lock()[part].as_ref().map(|seen| seen.tag.clone());
        loop {
            backoff.wait(&*self.clock).await;
            match self.client.get_start(&key, tag.as_ref(), length).await? {
                Fetched::Missing => return Err(missing_part(part)),
                Fetched::Unchanged if !self.options.inline => {}
                // Nothing changes unless this handle applies updates.
                Fetched::Unchanged => return Ok(()),
                Fetched::Changed { bytes, tag: changed } => {
                    // The last epoch may have written a longer head, with more shards.
                    let Some((meta, _)) = Meta::decode(&bytes)? else { return Ok(()) };
                    let is_over = meta.generation > session.generation
                        || session.is_current(&meta) && meta.closed;
                    if is_over || !session.lacks_own(&meta, self.options.max_ahead) {
                        return Ok(());
                    }
                    tag = Some(changed);
                }
            }
        }
    }

    /// The batches of each shard that are known to be applied eventually: those in the last state,
    /// and those pushed through this handle.
    fn marks(&self, session: &Session) -> Vec<u64> {
        let view = self.view.lock().clone();
        let open = view.as_ref().and_then(|view| view.state.open.as_ref());
        let open = open.filter(|open| open.generation == session.generation);
        let marks = |shard: usize| open.map_or(0, |open| open.marks[shard]);
        let pushed = session.shards.iter().map(|pushed| pushed.try_lock().map_or(0, |n| *n));
        pushed.enumerate().map(|(shard, pushed)| pushed.max(marks(shard))).collect()
    }

    /// Requests these parts, unless they are unchanged.
    async fn ask_parts(
        &self,
        session: &Session,
        gathering: &Gathering,
        parts: &[usize],
    ) -> Result<Vec<(usize, Answer)>> {
        let stamp = |part: usize| gathering.found[part].as_ref().map_or(0, |found| found.stamp);
        let asked: Vec<(usize, u64)> = parts.iter().map(|&part| (part, stamp(part))).collect();
        stream::iter(asked)
            .map(|(part, has)| async move { Ok((part, self.ask_part(session, part, has).await?)) })
            .buffered(CONCURRENT_REQUESTS)
            .try_collect()
            .await
    }

    /// Requests a part, if it has changed since the stamp `has`.
    async fn ask_part(&self, session: &Session, part: usize, has: u64) -> Result<Answer> {
        let key = self.keys.part(session.lineage, part);
        let seen = session.seen.lock()[part].clone();
        // The tag of a part that only another replica has must not be sent: this replica lacks its
        // bytes.
        let seen = seen.filter(|seen| session.stamp(&seen.meta) == has);
        let known = seen.as_ref().map(|seen| &seen.tag);
        let length = pull_len(session.plan.shards as usize, session.cuts.range(part).len());
        let mut fetched = self.client.get_start(&key, known, length).await?;
        if let Fetched::Changed { bytes, .. } = &fetched
            && is_short(bytes, session.cuts.range(part).len())?
        {
            // The last epoch wrote the part, with more shards.
            fetched = self.client.get(&key, None).await?;
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

impl Gathering {
    /// The parts that a replica contains, as far as this handle knows them.
    fn from_replica(session: &Session, replica: &Replica) -> Self {
        let cuts = session.cuts;
        let has_all = replica.values.len() == cuts.dim && replica.versions.len() == cuts.parts;
        let seen = session.seen.lock();
        let have = seen.iter().enumerate().map(|(part, seen)| {
            let Seen { meta, .. } = seen.as_ref().filter(|_| has_all)?;
            let stamp = session.stamp(meta);
            let found = Found { meta: Arc::clone(meta), stamp, bytes: None };
            (stamp == replica.versions[part]).then_some(found)
        });
        Self { generation: session.generation, found: have.collect(), after_wait: false }
    }

    /// The parts to request when the batches in `marks` are known to be applied eventually. After a
    /// wait, parts that had reached the progress are still good enough.
    fn wanted(&self, session: &Session, marks: &[u64], progress: u64) -> Vec<usize> {
        let is_wanted = |found: &Found| {
            let may_be_old = !self.after_wait || session.progress_of(&found.meta) < progress;
            may_be_old && !session.holds(&found.meta, marks)
        };
        let parts = self.found.iter().enumerate();
        let wanted = parts.filter(|(_, found)| found.as_ref().is_none_or(is_wanted));
        wanted.map(|(part, _)| part).collect()
    }

    /// Records the answers, replacing earlier ones.
    fn record(&mut self, answers: Vec<(usize, Answer)>) -> Result<()> {
        for (part, answer) in answers {
            match answer {
                Answer::Changed(found) => self.found[part] = Some(found),
                Answer::Same if self.found[part].is_some() => {}
                Answer::Same | Answer::Missing => return Err(missing_part(part)),
            }
        }
        Ok(())
    }
}

impl Session {
    /// A number that identifies a version of a part across all lineages.
    fn stamp(&self, meta: &Meta) -> u64 {
        (self.lineage << 40) + meta.sequence
    }

    /// `true` if a part has begun this epoch.
    fn is_current(&self, meta: &Meta) -> bool {
        meta.generation == self.generation
    }

    /// The number of updates of every unfinished shard that a part contains.
    fn progress_of(&self, meta: &Meta) -> u64 {
        match self.is_current(meta) {
            true => floor(&self.plan, meta.marks.iter().map(|mark| mark.batches)),
            false => 0,
        }
    }

    /// `true` if a part lacks more than `max_ahead` updates of a shard that were pushed through this
    /// handle.
    fn lacks_own(&self, meta: &Meta, max_ahead: u64) -> bool {
        if self.plan.sync_mode.merges_rounds() {
            // Workers wait for whole rounds.
            return false;
        }
        let lacks = |shard: usize, pushed: u64| {
            let held = if self.is_current(meta) { meta.marks[shard].batches } else { 0 };
            self.plan.updates(pushed).saturating_sub(self.plan.updates(held))
        };
        let pushed = self.pushed_here.iter().map(|batches| batches.load(Ordering::Relaxed));
        (0..).zip(pushed).any(|(shard, batches)| lacks(shard, batches) > max_ahead)
    }

    /// `true` if a part contains all the batches in `marks`.
    fn holds(&self, meta: &Meta, marks: &[u64]) -> bool {
        match self.is_current(meta) {
            true => meta.marks.iter().zip(marks).all(|(held, &mark)| held.batches >= mark),
            false => marks.iter().all(|&mark| mark == 0),
        }
    }
}

/// `true` if these bytes end before the parameters do.
fn is_short(bytes: &[u8], parameters: usize) -> Result<bool> {
    Ok(match Meta::decode(bytes)? {
        Some((_, at)) => bytes.len() < at + 4 * parameters + 8,
        None => true,
    })
}

fn ends_early(part: usize) -> Error {
    Error::new(ErrorKind::Corrupt, format!("part {part} of the parameters ends early"))
}

/// Copies the parts that the replica lacks.
fn copy_parts(
    session: &Session,
    found: &[Option<Found>],
    replica: &mut Replica,
) -> Result<PullOutcome> {
    let cuts = session.cuts;
    if replica.versions.len() != cuts.parts {
        replica.forget();
        replica.versions.resize(cuts.parts, 0);
    }
    replica.values.resize(cuts.dim, 0.0);
    let mut copied = 0;
    let mut version = u64::MAX;
    for (part, found) in found.iter().enumerate() {
        let Some(found) = found else { return Err(missing_part(part)) };
        version = version.min(found.meta.version);
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
    Ok(PullOutcome { version, copied, waited: Duration::ZERO })
}

/// Growing delays.
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { next: first, longest: first * 8 }
    }

    pub(super) async fn wait(&mut self, clock: &dyn Clock) {
        clock.sleep_until(clock.now() + self.next).await;
        self.next = (self.next + self.next / 2).min(self.longest);
    }
}
