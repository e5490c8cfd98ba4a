//! The work of an aggregator.

use std::time::Duration;

use futures::future::try_join_all;
use siren_core::{Context, Error, Invocation, Requests, Result, Time, WorkerReport};

use super::ObjectStore;
use super::client::Client;
use super::part::{Advance, Executor, Part, missing_part};
use super::session::View;
use super::state::{Open, not_open};
use crate::Retry;

/// An aggregator stops when fewer than this many of its longest cycles fit into the time left.
const MARGIN: f64 = 1.5;

/// The number of cycles in a row that may fail with a transient error.
const MAX_FAILURES: u32 = 8;

/// An aggregator at work.
struct Aggregator<'a> {
    store: &'a ObjectStore,
    invocation: &'a Invocation,
    context: &'a dyn Context,
    client: Client,
    /// The indices of its parts, with the parts that are loaded.
    parts: Vec<(usize, Option<Part>)>,
    /// The number of updates in the last listing.
    listed: usize,
    report: WorkerReport,
}

/// The result of a cycle.
enum Cycle {
    /// The cycle changed something.
    Changed,
    /// There was nothing to do.
    Idle,
    /// All its parts contain the cut, or the epoch is over.
    Done,
    /// The requests left do not suffice for another cycle.
    RequestLimit,
}

impl ObjectStore {
    pub(super) async fn run_aggregator(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        let epoch = invocation.plan.epoch;
        let mut aggregator = Aggregator {
            store: self,
            invocation,
            context,
            client: self.client.retrying(&self.clock),
            parts: Vec::new(),
            listed: 0,
            report: WorkerReport::default(),
        };
        let view = aggregator.read_state().await?.ok_or_else(|| not_open(epoch))?;
        let Some(open) = view.state.open.as_ref().filter(|open| open.plan == invocation.plan)
        else {
            if epoch < view.state.sealed_epochs {
                return Ok(aggregator.end(true));
            }
            return Err(not_open(epoch));
        };
        let (parts, aggregators) = (view.state.cuts().parts, open.aggregators as usize);
        let index = invocation.shard as usize;
        if index >= aggregators {
            return Err(Error::rejected(format!(
                "aggregator {index} of {aggregators}: they are numbered from 0"
            )));
        }
        let own = index * parts / aggregators..(index + 1) * parts / aggregators;
        aggregator.parts = own.map(|part| (part, None)).collect();
        let generation = open.generation;
        let finished = aggregator.work(generation).await?;
        Ok(aggregator.end(finished))
    }

    /// Applies all pushed updates, for handles that aggregate inline. Returns at once if another
    /// task is already doing so.
    pub(super) async fn apply_inline(&self) -> Result<()> {
        let Ok(mut parts) = self.parts.try_lock() else { return Ok(()) };
        let Some(view) = self.read(&self.client).await? else { return Ok(()) };
        let sequenced = self.sequence(&self.client, &view, false).await?;
        let Some(view) = sequenced.view else { return Ok(()) };
        let state = &view.state;
        let Some(open) = state.open.as_ref().filter(|open| !open.closed) else { return Ok(()) };
        parts.resize_with(state.cuts().parts, || None);
        for (index, slot) in parts.iter_mut().enumerate() {
            let mut lost_races = 0;
            loop {
                let part = match slot.take().filter(|part| part.belongs_to(state)) {
                    Some(part) => part,
                    None => Part::load(&self.client, &self.keys, state, index)
                        .await?
                        .ok_or_else(|| missing_part(index))?,
                };
                let at = (&**state, open);
                let advanced =
                    part.advance(&self.client, &self.keys, at, &Executor::Inline, u64::MAX);
                match advanced.await? {
                    (part, Advance::Applied) => *slot = Some(part),
                    (part, Advance::Idle) => {
                        *slot = Some(part);
                        break;
                    }
                    // This happens after a seal, which loads its own copies of the parts.
                    (_, Advance::LostRace) if lost_races < 3 => lost_races += 1,
                    // Other processes advance this part.
                    (_, Advance::LostRace | Advance::ReadLimit) => break,
                }
            }
        }
        self.delete_applied(&self.client, &view, &sequenced.keys).await
    }
}

impl Aggregator<'_> {
    fn now(&self) -> Time {
        self.context.clock().now()
    }

    fn end(self, finished: bool) -> WorkerReport {
        WorkerReport {
            finished,
            requests: self.client.requests(),
            usage: self.context.usage(),
            ..self.report
        }
    }

    async fn read_state(&self) -> Result<Option<View>> {
        self.store.read(&self.client).await
    }

    /// Runs cycles until the epoch is cut and applied. Returns `false` if time or requests run out
    /// first.
    async fn work(&mut self, generation: u64) -> Result<bool> {
        let poll_interval = self.store.options.poll_interval.max(Duration::from_millis(1));
        let seed = self.invocation.plan.seed.child(self.invocation.shard.into());
        let mut failures = 0;
        loop {
            let left = self.context.time_left();
            if left.is_zero() || left < self.report.cycle.mul_f64(MARGIN) {
                return Ok(false);
            }
            let started = self.now();
            let cycle = match self.cycle(generation).await {
                Ok(Cycle::Done) => return Ok(true),
                Ok(Cycle::RequestLimit) => return Ok(false),
                Ok(cycle) => cycle,
                Err(error) if error.is_transient() && failures + 1 < MAX_FAILURES => {
                    // Parts in an unknown state are loaded again.
                    self.parts.iter_mut().for_each(|(_, part)| *part = None);
                    failures += 1;
                    let delay = Retry::default().delay(failures, seed);
                    self.context.clock().sleep_until(self.now() + delay).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            failures = 0;
            let took = self.now() - started;
            if let Cycle::Changed = cycle {
                let billed = left.saturating_sub(self.context.time_left());
                self.report.cycle = self.report.cycle.max(billed);
                self.report.update += took;
            } else {
                self.report.wait += took;
            }
            let rest = poll_interval.saturating_sub(took);
            if !rest.is_zero() {
                self.report.wait += rest;
                self.context.clock().sleep_until(started + poll_interval).await;
            }
        }
    }

    /// Reads the state and the pushed updates once, and advances the parts.
    async fn cycle(&mut self, generation: u64) -> Result<Cycle> {
        let store = self.store;
        if self.reads_left().is_none() {
            return Ok(Cycle::RequestLimit);
        }
        let Some(mut view) = self.read_state().await? else { return Ok(Cycle::Done) };
        let is_open = |view: &View| {
            view.state.open.as_ref().is_some_and(|open| open.generation == generation)
        };
        if !is_open(&view) {
            return Ok(Cycle::Done);
        }
        let mut changed = false;
        let mut keys = Vec::new();
        if self.invocation.shard == 0 {
            let sequenced = store.sequence(&self.client, &view, false).await?;
            let Some(next) = sequenced.view else { return Ok(Cycle::Changed) };
            (view, changed, keys) = (next, sequenced.changed, sequenced.keys);
            self.listed = keys.len();
        }
        let Some(open) = &view.state.open else { return Ok(Cycle::Done) };
        let Some(reads) = self.reads_left() else { return Ok(Cycle::RequestLimit) };
        let reads = reads / self.parts.len().max(1) as u64;
        let advances = self.advance(&view, open, reads).await?;
        if advances.contains(&Advance::ReadLimit) {
            return Ok(Cycle::RequestLimit);
        }
        changed |= advances.iter().any(|&advance| advance != Advance::Idle);
        self.report.updates += u64::from(advances.contains(&Advance::Applied));
        if self.parts.iter().all(|(_, part)| part.as_ref().is_some_and(|p| p.is_closed(open))) {
            return Ok(Cycle::Done);
        }
        store.delete_applied(&self.client, &view, &keys).await?;
        Ok(if changed { Cycle::Changed } else { Cycle::Idle })
    }

    /// The number of reads left for updates; `None` when the requests left do not suffice for a
    /// cycle.
    fn reads_left(&self) -> Option<u64> {
        let parts = self.parts.len() as u64;
        // The number of failed requests that may be repeated.
        const RETRIES: u64 = 4;
        // Reads of the state, of all parts to find deletable updates, and of parts to be loaded.
        let reads = RETRIES + 1 + self.store.cuts().parts as u64 + parts;
        // Pages of the listing (which may grow), and writes of the state and of the parts.
        let pages = self.listed as u64 / 1_000 + 3;
        let cycle = Requests { writes: RETRIES + pages + 1 + parts, reads };
        let (used, cap) = (self.client.requests(), self.invocation.request_cap);
        (used + cycle).within(cap).then(|| cap.reads - used.reads - reads)
    }

    /// Brings all parts up to date with the state, concurrently.
    async fn advance(&mut self, view: &View, open: &Open, reads: u64) -> Result<Vec<Advance>> {
        let (store, client, context) = (self.store, &self.client, self.context);
        // Parts that fail are loaded again.
        let taken = self.parts.iter_mut().map(|(index, part)| (*index, part.take()));
        let advancing = taken.collect::<Vec<_>>().into_iter().map(|(index, part)| async move {
            let keys = &store.keys;
            let part = match part {
                Some(part) => part,
                None => match Part::load(client, keys, &view.state, index).await? {
                    Some(part) => part,
                    None => return Err(missing_part(index)),
                },
            };
            let at = (&*view.state, open);
            let (part, advance) =
                part.advance(client, keys, at, &Executor::Context(context), reads).await?;
            let part = (advance != Advance::LostRace).then_some(part);
            Ok(((index, part), advance))
        });
        let advanced = try_join_all(advancing).await?;
        let (parts, advances) = advanced.into_iter().unzip();
        self.parts = parts;
        Ok(advances)
    }
}
