//! The aggregators of an epoch: launched beside its workers, and again when one ends before the epoch
//! does.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use siren_core::{Aggregation, Completion, Error, ErrorKind, Invocation, Result, Role, Usd};

use super::{EpochRun, GRACE, Launch, Running, at, charge};
use crate::trainer::Event;
use crate::trainer::forecast::{Crew, Terms};
use crate::{HistoryEvent, Reservation};

/// The aggregators of an epoch under way.
pub(super) struct CrewRun {
    pub(super) aggregation: Aggregation,
    terms: Terms,
    pub(super) running: FuturesUnordered<Running>,
    aggregators: Vec<AggregatorRun>,
    /// Invocations beyond one for each.
    pub(super) retries: u32,
    /// What they cost, as far as that is settled.
    pub(super) cost: Usd,
    /// What is reserved for those that run.
    held: Usd,
}

/// What is known of an aggregator.
#[derive(Clone, Default)]
struct AggregatorRun {
    attempts: u32,
    /// Attempts in a row that applied nothing.
    failures: u32,
}

impl CrewRun {
    pub(super) fn new(crew: Crew) -> Self {
        let Crew { aggregation, terms } = crew;
        Self {
            aggregation,
            terms,
            running: FuturesUnordered::new(),
            aggregators: vec![AggregatorRun::default(); aggregation.aggregators as usize],
            retries: 0,
            cost: Usd::ZERO,
            held: Usd::ZERO,
        }
    }
}

impl EpochRun<'_> {
    pub(super) fn launch_aggregator(
        &mut self,
        aggregator: u32,
        terms: Terms,
        reservation: Reservation,
        delay: Duration,
    ) {
        let state = &mut self.crew.aggregators[aggregator as usize];
        let invocation = Invocation {
            plan: self.plan.clone(),
            role: Role::Aggregator,
            shard: aggregator,
            position: 0,
            attempt: state.attempts,
            memory_mb: self.crew.aggregation.memory_mb,
            timeout: terms.timeout,
            cycle: None,
            request_cap: terms.request_cap,
        };
        state.attempts += 1;
        self.crew.held += reservation.amount();
        let memory_mb = self.crew.aggregation.memory_mb;
        let request_cap = terms.request_cap;
        let launch = Launch { shard: aggregator, memory_mb, request_cap, reservation, position: 0 };
        let running = self.start(launch, invocation, delay);
        self.crew.running.push(running);
    }

    /// Books an aggregator that ended, and launches it again unless the epoch is over.
    pub(super) async fn collect_aggregator(
        &mut self,
        launch: Launch,
        completion: Option<Completion>,
    ) -> Result<()> {
        let aggregator = launch.shard;
        let memory_mb = launch.memory_mb;
        let result = self.settle_aggregator(launch, completion);
        if self.end.is_some() || self.sealed.is_some() {
            return Ok(());
        }
        let Some(result) = result else { return Ok(()) };
        let state = &mut self.crew.aggregators[aggregator as usize];
        let error = match result {
            Ok(report) if report.updates > 0 && !report.finished => {
                state.failures = 0;
                None
            }
            Ok(_) => Some(Error::new(
                ErrorKind::Worker,
                "the aggregator ended before its epoch, and applied nothing",
            )),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            match error.kind() {
                ErrorKind::Diverged => {
                    let end = (siren_core::StopReason::Diverged, Some(error.chain()));
                    return self.end_early(Ok(Some(end))).await;
                }
                // Trying again would only fail again.
                ErrorKind::Rejected | ErrorKind::Corrupt => return Err(error),
                _ => {}
            }
            if error.kind() == ErrorKind::OutOfMemory
                && memory_mb >= self.crew.aggregation.memory_mb
            {
                let memory_mb = self.trainer.more_than(memory_mb)?;
                self.crew.aggregation.memory_mb = memory_mb;
                self.crew.terms = self.trainer.crew_terms(self.crew.aggregation, self.timeout);
            }
            let state = &mut self.crew.aggregators[aggregator as usize];
            state.failures += 1;
            let (failures, attempt) = (state.failures, state.attempts);
            let epoch = self.plan.epoch;
            if failures >= self.trainer.config.retry.attempts {
                let message = format!(
                    "aggregator {aggregator} of epoch {epoch} failed {failures} times in a row"
                );
                return Err(Error::new(error.kind(), message).with_source(error));
            }
            let line = HistoryEvent::AggregatorRetried {
                epoch,
                aggregator,
                attempt,
                error: error.chain(),
            };
            self.trainer.history.write(&line)?;
            self.trainer.tell(&Event::AggregatorRetried {
                epoch,
                aggregator,
                attempt,
                error: &error,
            });
        }
        self.relaunch(aggregator).await
    }

    /// Launches an aggregator again. Where there is no money for it the epoch ends: what workers push
    /// would be seen by nobody.
    async fn relaunch(&mut self, aggregator: u32) -> Result<()> {
        let terms = self.crew.terms;
        let Ok(reservation) = self.trainer.ledger.reserve(terms.reservation) else {
            return self.end_early(Ok(None)).await;
        };
        let usd = reservation.amount().dollars();
        self.trainer.history.write(&HistoryEvent::Reserved { epoch: self.plan.epoch, usd })?;
        let delay = match self.crew.aggregators[aggregator as usize].failures {
            // Everybody waits for it.
            0 | 1 => Duration::ZERO,
            tried => self.trainer.config.retry.delay(tried, self.seed(aggregator)),
        };
        self.crew.retries += 1;
        self.launch_aggregator(aggregator, terms, reservation, delay);
        Ok(())
    }

    /// Waits a while for the aggregators of a sealed epoch, which end by themselves, and books them.
    pub(super) async fn dismiss(&mut self) {
        let backend = std::sync::Arc::clone(&self.trainer.parts.backend);
        let clock = backend.clock();
        let deadline =
            Some(self.deadline.filter(|_| self.end.is_some()).unwrap_or(clock.now() + GRACE));
        while !self.crew.running.is_empty() {
            tokio::select! {
                biased;
                Some((launch, completion, _)) = self.crew.running.next() => {
                    self.settle_aggregator(launch, completion);
                }
                () = at(clock, deadline) => break,
            }
        }
        // The rest is abandoned, and all that is reserved for it counts: with the epoch's.
        self.crew.running.clear();
        self.crew.cost += self.crew.held.max(Usd::ZERO);
    }

    /// Books an aggregator; what it reported, unless it never began.
    pub(super) fn settle_aggregator(
        &mut self,
        launch: Launch,
        completion: Option<Completion>,
    ) -> Option<Result<siren_core::WorkerReport>> {
        let Launch { memory_mb, request_cap, reservation, .. } = launch;
        self.crew.held = self.crew.held - reservation.amount();
        let Some(Completion { billed, result }) = completion else {
            self.trainer.ledger.settle(reservation, Some(Usd::ZERO));
            return None;
        };
        let actual = charge(&self.trainer.platform, memory_mb, billed, &result, request_cap);
        let spent = self.trainer.ledger.settle(reservation, actual);
        self.cost += spent;
        self.crew.cost += spent;
        Some(result)
    }
}
