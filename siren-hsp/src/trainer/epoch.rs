//! One epoch: launch all workers, collect them, retry failed shards, seal.

mod aggregators;
mod record;
mod seal;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FusedFuture};
use futures::stream::FuturesUnordered;
use siren_core::{
    Aggregation, Allocation, Clock, Completion, DriverUsage, EpochPlan, EpochSummary, Error,
    ErrorKind, Invocation, Platform, RequestCosts, Requests, Result, Role, Seed, StopReason,
    Stream, Time, Usd, WorkerReport,
};

use super::forecast::{InvocationLimits, LaunchPlan, LimitRequest};
use super::{End, Event, StopHandle, Trainer};
use crate::forecast::Forecast;
use crate::{EpochRecord, HistoryEvent, Reservation};
use aggregators::RunningAggregators;

/// The time after the seal in which running invocations may end before they are abandoned.
const GRACE: Duration = Duration::from_secs(2);

/// A sealed epoch.
pub(super) struct SealedEpoch {
    /// The record before the evaluation.
    pub(super) record: EpochRecord,
    pub(super) forecast: Forecast,
    /// The reason to stop after this epoch, if there is one.
    pub(super) end: Option<End>,
}

/// The largest number of progress polls in an epoch, if requests to the store cost money.
#[doc(hidden)]
pub const MAX_PROGRESS_POLLS: i32 = 60;

/// The first delay between two polls, and its growth factor: 60 polls suffice for hours.
const FIRST_POLL: Duration = Duration::from_secs(5);
const POLL_BACKOFF: f64 = 1.1;

/// A running invocation.
struct LaunchedInvocation {
    /// Its shard, or the number of the aggregator.
    shard: u32,
    memory_mb: u32,
    request_cap: Requests,
    reservation: Reservation,
    /// The batch at which it starts.
    position: u64,
}

/// A future that resolves to the completion of an invocation; `None` if the epoch ended before it
/// began.
type Running = BoxFuture<'static, (LaunchedInvocation, Option<Completion>, Time)>;

/// The progress of a shard.
#[derive(Default)]
struct ShardRun {
    /// The memory in MB; more than the allocation's after it ran out of memory.
    memory_mb: u32,
    attempts: u32,
    /// The number of attempts in a row without progress.
    failures: u32,
    reports: Vec<WorkerReport>,
    billed: Duration,
    /// The number of batches in the workers' reports.
    reported_batches: u64,
    ended: Option<Time>,
    /// The batch at which the last attempt started.
    start_position: u64,
    /// The batch at which to continue once there is money for it.
    resume_at: Option<u64>,
}

/// A running epoch.
pub(super) struct EpochRun<'a> {
    trainer: &'a mut Trainer,
    plan: EpochPlan,
    allocation: Allocation,
    shards: Vec<ShardRun>,
    running: FuturesUnordered<Running>,
    /// The aggregators beside the workers.
    aggregators: RunningAggregators,
    launched: Time,
    cost: Usd,
    retries: u32,
    sealed: Option<EpochSummary>,
    /// Set when the epoch has ended early: the reason for the end of the run, or `None` if only the
    /// epoch ends.
    end: Option<Result<Option<End>>>,
    /// Cancels invocations that still wait for their delay.
    cancel: StopHandle,
    /// The reservation for the driver's own part, and its actual usage in the end.
    driver: Option<Reservation>,
    driver_usage: DriverUsage,
    driver_cost: Usd,
    /// The timeout of the first launch of its workers.
    timeout: Duration,
    /// The time at which to cut the epoch short or, after an early end, to abandon running
    /// invocations.
    deadline: Option<Time>,
}

impl<'a> EpochRun<'a> {
    /// Reserves the money, opens the epoch and launches all workers.
    pub(super) async fn new(trainer: &'a mut Trainer, launch_plan: LaunchPlan) -> Result<Self> {
        let LaunchPlan { asked: _, plan, allocation, limits, aggregators, driver } = launch_plan;
        let mut reserve = |count: u32, limits: InvocationLimits| {
            let reserved = (0..count).map(|_| trainer.ledger.reserve(limits.reservation));
            reserved.collect::<Result<Vec<_>>>()
        };
        let for_aggregators = reserve(aggregators.aggregation.aggregators, aggregators.limits)?;
        let reservations = reserve(allocation.workers, limits)?;
        let driver = trainer.ledger.reserve(driver)?;
        trainer.history.write(&HistoryEvent::Reserved {
            epoch: plan.epoch,
            usd: for_aggregators
                .iter()
                .chain(&reservations)
                .chain([&driver])
                .map(|reservation| reservation.amount().dollars())
                .sum(),
        })?;
        let seed = plan.seed.split(Stream::Retry, &[plan.epoch]);
        let (store, clock) = (&trainer.parts.store, trainer.parts.backend.clock());
        let retry = trainer.config.retry;
        retry.call(clock, seed, || store.open(&plan)).await?;
        trainer.notify(&Event::Launched {
            epoch: plan.epoch,
            allocation,
            batches: plan.batches(),
            learning_rate: plan.learning_rate,
        });
        let launched = trainer.now();
        let limit = trainer.config.stop.time_limit;
        let mut run = Self {
            launched,
            deadline: limit.map(|limit| launched + limit.saturating_sub(trainer.elapsed())),
            shards: (0..plan.shards)
                .map(|_| ShardRun { memory_mb: allocation.memory_mb, ..ShardRun::default() })
                .collect(),
            driver: Some(driver),
            driver_usage: DriverUsage::NONE,
            driver_cost: Usd::ZERO,
            timeout: limits.timeout,
            trainer,
            plan,
            allocation,
            running: FuturesUnordered::new(),
            aggregators: RunningAggregators::new(aggregators),
            cost: Usd::ZERO,
            retries: 0,
            sealed: None,
            end: None,
            cancel: StopHandle::default(),
        };
        for (aggregator, reservation) in (0..).zip(for_aggregators) {
            run.launch_aggregator(aggregator, aggregators.limits, reservation, Duration::ZERO);
        }
        for (shard, reservation) in (0..).zip(reservations) {
            run.launch(shard, 0, limits, reservation, Duration::ZERO);
        }
        Ok(run)
    }

    fn launch(
        &mut self,
        shard: u32,
        position: u64,
        limits: InvocationLimits,
        reservation: Reservation,
        delay: Duration,
    ) {
        let state = &mut self.shards[shard as usize];
        let invocation = Invocation {
            plan: self.plan.clone(),
            role: Role::Shard,
            shard,
            position,
            attempt: state.attempts,
            memory_mb: state.memory_mb,
            timeout: limits.timeout,
            cycle: limits.cycle,
            request_cap: limits.request_cap,
        };
        state.attempts += 1;
        state.start_position = position;
        let launch = LaunchedInvocation {
            shard,
            memory_mb: state.memory_mb,
            request_cap: limits.request_cap,
            reservation,
            position,
        };
        let running = self.start(launch, invocation, delay);
        self.running.push(running);
    }

    /// Starts an invocation after a delay, unless the epoch ends before.
    fn start(
        &self,
        launch: LaunchedInvocation,
        invocation: Invocation,
        delay: Duration,
    ) -> Running {
        let backend = Arc::clone(&self.trainer.parts.backend);
        let cancel = self.cancel.clone();
        Box::pin(async move {
            let clock = backend.clock();
            if !delay.is_zero() {
                tokio::select! {
                    biased;
                    () = cancel.stopped() => return (launch, None, clock.now()),
                    () = clock.sleep_until(clock.now() + delay) => {}
                }
            }
            let completion = backend.invoke(invocation).await;
            (launch, Some(completion), clock.now())
        })
    }

    /// Collects all workers and seals the epoch.
    pub(super) async fn run(mut self) -> Result<SealedEpoch> {
        let interval = self.trainer.observer.as_ref().and_then(|o| o.interval());
        let mut ahead = self.trainer.prepare_ahead(self.plan.epoch + 1, self.timeout);
        // Each poll of a store with paid requests costs about as much as a push, so polls are few.
        let paid = self.trainer.parts.store.request_costs() != RequestCosts::NONE;
        let interval =
            interval.map(|interval| if paid { interval.max(FIRST_POLL) } else { interval });
        let mut tick = interval.map(|interval| self.launched + interval);
        let mut polls = 0;
        let stop = self.trainer.stop.clone();
        let backend = Arc::clone(&self.trainer.parts.backend);
        let clock = backend.clock();
        loop {
            tokio::select! {
                biased;
                done = self.running.next() => match done {
                    Some((launch, completion, now)) => {
                        if let Err(error) = self.collect(launch, completion, now).await {
                            self.end_early(Err(error)).await?;
                        }
                    }
                    None if self.end.is_some() || self.is_complete().await? => break,
                    None => self.launch_missing().await?,
                },
                Some((launch, completion, _)) = self.aggregators.running.next() => {
                    if let Err(error) = self.collect_aggregator(launch, completion).await {
                        self.end_early(Err(error)).await?;
                    }
                }
                () = stop.stopped(), if self.end.is_none() => {
                    self.end_early(Ok(Some((StopReason::Interrupted, None)))).await?;
                }
                () = sleep_until(clock, self.deadline) => {
                    if self.end.is_some() {
                        break;
                    }
                    self.end_early(Ok(Some((StopReason::TimeLimit, None)))).await?;
                }
                () = &mut ahead, if !ahead.is_terminated() => {}
                () = sleep_until(clock, tick) => {
                    self.progress().await;
                    polls += 1;
                    let later = match paid {
                        true if polls >= MAX_PROGRESS_POLLS => None,
                        true => interval.map(|interval| interval.mul_f64(POLL_BACKOFF.powi(polls))),
                        false => interval,
                    };
                    tick = later.map(|later| clock.now() + later);
                }
            }
        }
        self.seal().await
    }

    /// Settles an invocation, and launches the rest of its shard.
    async fn collect(
        &mut self,
        launch: LaunchedInvocation,
        completion: Option<Completion>,
        now: Time,
    ) -> Result<()> {
        let LaunchedInvocation { shard, memory_mb, request_cap, reservation, position } = launch;
        let Some(Completion { billed, result }) = completion else {
            self.trainer.ledger.settle(reservation, Some(Usd::ZERO));
            return Ok(());
        };
        let platform = &self.trainer.platform;
        let actual = charge(platform, memory_mb, billed, &result, request_cap);
        self.cost += self.trainer.ledger.settle(reservation, actual);
        let state = &mut self.shards[shard as usize];
        state.ended = Some(now);
        let mut rest = match result {
            Ok(report) => {
                let (finished, reached) = (report.finished, report.position);
                let waited = report.waiting;
                state.billed += billed.unwrap_or_default();
                state.reported_batches += reached.saturating_sub(position);
                state.reports.push(report);
                if waited {
                    // Waits add to the time that the rest of the shard may take.
                    self.trainer.forecast = self.forecast();
                }
                let state = &mut self.shards[shard as usize];
                // A worker that claims to have finished is checked first, and counts as progress
                // later.
                if reached > position && !finished {
                    state.failures = 0;
                }
                // Under hybrid mode no other worker can be the reason.
                let is_excused = waited && self.plan.sync_mode.waits();
                let stuck = (reached <= position && !is_excused).then(no_progress);
                (!finished).then_some((reached, stuck))
            }
            Err(error) => Some((position, Some(error))),
        };
        if self.end.is_none() {
            // The last shard is one of the longest.
            if rest.is_none() && self.awaited_by(self.plan.shards - 1) > 0 {
                // Other workers would wait for the missing batches, so they must be found now, not
                // at the end.
                let counted = self.counted().await?[shard as usize];
                let missing = counted < self.plan.shard_len(shard);
                rest = missing.then(|| (counted, Some(not_finished())));
            }
            if let Some((reached, error)) = rest {
                self.retry_shard(shard, reached, error).await?;
            }
        }
        self.launch_waiting().await
    }

    /// Updates that the other shards must have pushed before the last one of `shard`.
    fn awaited_by(&self, shard: u32) -> u64 {
        let last = self.plan.rounds(shard).saturating_sub(1);
        self.plan.sync_mode.progress(last)
    }

    /// `true` if workers wait, and are billed, for the rounds of a shard that there is no money
    /// for.
    fn is_stuck(&self) -> bool {
        let plan = &self.plan;
        let mut waiting = (0..plan.shards).zip(&self.shards).filter_map(|(shard, state)| {
            state.resume_at.map(|position| (shard, plan.updates(position)))
        });
        self.end.is_none()
            && waiting.any(|(shard, pushed)| {
                (0..plan.shards).any(|other| other != shard && self.awaited_by(other) > pushed)
            })
    }

    /// Decides how to continue with an unfinished shard.
    async fn retry_shard(&mut self, shard: u32, reached: u64, error: Option<Error>) -> Result<()> {
        let mut position = reached;
        if let Some(error) = error {
            match error.kind() {
                ErrorKind::Diverged => {
                    let why = error.chain();
                    return self.end_early(Ok(Some((StopReason::Diverged, Some(why))))).await;
                }
                // A retry would fail again.
                ErrorKind::Rejected | ErrorKind::Corrupt => return Err(error),
                _ => {}
            }
            // The store knows the progress that the worker could not report.
            position = self.counted().await?[shard as usize];
            if position >= self.plan.shard_len(shard) {
                return Ok(());
            }
            if error.kind() == ErrorKind::OutOfMemory {
                self.trainer.raise_least_memory(self.shards[shard as usize].memory_mb)?;
            }
            let state = &mut self.shards[shard as usize];
            state.memory_mb = state.memory_mb.max(self.trainer.least_memory_mb);
            state.failures = if position > state.start_position { 1 } else { state.failures + 1 };
            let attempt = state.attempts;
            if state.failures >= self.trainer.config.retry.attempts {
                let message = format!(
                    "shard {shard} of epoch {} failed {} times in a row",
                    self.plan.epoch, state.failures
                );
                return Err(Error::new(error.kind(), message).with_source(error));
            }
            let epoch = self.plan.epoch;
            let line = HistoryEvent::Retried { epoch, shard, attempt, error: error.chain() };
            self.trainer.history.write(&line)?;
            self.trainer.notify(&Event::Retried { epoch, shard, attempt, error: &error });
        }
        self.shards[shard as usize].resume_at = Some(position);
        Ok(())
    }

    /// The batches of each shard that the store has counted.
    async fn counted(&self) -> Result<Vec<u64>> {
        let (store, clock) = (&self.trainer.parts.store, self.trainer.parts.backend.clock());
        let (retry, seed) = (self.trainer.config.retry, self.seed(0));
        let status = retry.call(clock, seed, || store.status()).await?;
        let marks = status.open.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "another process sealed or restored the store's epoch")
        })?;
        Ok(marks.iter().map(|mark| mark.batches).collect())
    }

    /// `true` if all batches are counted, according to the store, not to the workers' reports.
    async fn is_complete(&self) -> Result<bool> {
        let counted = self.counted().await?;
        Ok((0..).zip(&counted).all(|(shard, &batches)| batches >= self.plan.shard_len(shard)))
    }

    /// Called when no invocation runs and the epoch is not complete: either there was no money for
    /// the rest, or a worker wrongly reported that it had finished.
    async fn launch_missing(&mut self) -> Result<()> {
        if self.shards.iter().all(|shard| shard.resume_at.is_none()) {
            for (shard, counted) in (0..).zip(self.counted().await?) {
                if counted < self.plan.shard_len(shard) {
                    let error = Some(not_finished());
                    if let Err(error) = self.retry_shard(shard, counted, error).await {
                        return self.end_early(Err(error)).await;
                    }
                }
            }
        }
        if let Err(error) = self.launch_waiting().await {
            return self.end_early(Err(error)).await;
        }
        if self.running.is_empty() && self.end.is_none() {
            let why = "the money left does not pay for the rest of the epoch".into();
            self.end_early(Ok(Some((StopReason::Budget, Some(why))))).await?;
        }
        Ok(())
    }

    /// Launches waiting shards, as far as the money suffices. If other workers wait for a shard
    /// that there is no money for, the epoch ends, so that their reservations pay for the next one.
    async fn launch_waiting(&mut self) -> Result<()> {
        if self.end.is_some() {
            return Ok(());
        }
        for shard in 0..self.plan.shards {
            let ShardRun { resume_at: Some(position), failures, .. } = self.shards[shard as usize]
            else {
                continue;
            };
            let batches = self.plan.shard_len(shard) - position;
            let memory_mb = self.shards[shard as usize].memory_mb;
            let driver = self.driver.as_ref().map_or(Usd::ZERO, Reservation::amount);
            let request = LimitRequest { batches, invocations: 1, driver, failures };
            let limits =
                self.trainer.invocation_limits(&self.plan, memory_mb, request, Aggregation::NONE);
            let Some(limits) = limits else { continue };
            let Ok(reservation) = self.trainer.ledger.reserve(limits.reservation) else { continue };
            let usd = reservation.amount().dollars();
            self.trainer.history.write(&HistoryEvent::Reserved { epoch: self.plan.epoch, usd })?;
            let delay = match failures {
                0 => Duration::ZERO,
                // Other workers wait for it.
                1 if self.plan.sync_mode.waits() => Duration::ZERO,
                tried => self.trainer.config.retry.delay(tried, self.seed(shard)),
            };
            self.shards[shard as usize].resume_at = None;
            self.retries += 1;
            self.launch(shard, position, limits, reservation, delay);
        }
        if self.is_stuck() {
            self.end_early(Ok(None)).await?;
        }
        Ok(())
    }

    fn seed(&self, shard: u32) -> Seed {
        let path = [self.plan.epoch, u64::from(shard)];
        self.plan.seed.split(Stream::Retry, &path)
    }
}

/// Waits until `time`, or for ever if it is `None`.
async fn sleep_until(clock: &dyn Clock, time: Option<Time>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn not_finished() -> Error {
    let lied = "the worker reported its shard as finished, but batches are missing";
    Error::new(ErrorKind::Worker, lied)
}

fn no_progress() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the invocation ended before its first update")
}

/// The cost of an invocation, if it is known. A failed invocation may have made as many requests as
/// its cap allows.
fn charge(
    platform: &Platform,
    memory_mb: u32,
    billed: Option<Duration>,
    result: &Result<WorkerReport>,
    request_cap: Requests,
) -> Option<Usd> {
    let billed = billed?;
    let requests = match result {
        // The invocation was refused before it began.
        Err(_) if billed.is_zero() => return Some(Usd::ZERO),
        Err(_) => request_cap,
        Ok(report) => report.requests,
    };
    Some(platform.invocation_cost(memory_mb, billed, requests))
}
