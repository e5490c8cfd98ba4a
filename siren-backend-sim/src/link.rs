//! A function's connection to shared storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand_distr::{Distribution as _, StandardNormal};
use siren_core::platform::{Distribution, Profile};
use siren_core::{Clock, Error, ErrorKind, Requests, Result, Time};

use crate::clock::VirtualClock;
use crate::fault::{Faults, happens, seconds};

/// The requests per second that storage answers to all functions together.
#[derive(Default)]
pub(crate) struct RateLimiter(Mutex<[TokenBucket; 2]>);

#[derive(Clone, Copy, Default)]
struct TokenBucket {
    used: f64,
    at: Time,
}

impl RateLimiter {
    /// `true` if one more request of a kind is answered, at `rate` requests per second.
    fn admits(&self, kind: usize, rate: f64, now: Time) -> bool {
        let bucket = &mut self.0.lock()[kind];
        bucket.used = (bucket.used - now.since(bucket.at).as_secs_f64() * rate).max(0.0);
        bucket.at = now;
        if bucket.used + 1.0 > rate.max(1.0) {
            return false;
        }
        bucket.used += 1.0;
        true
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Get,
    Put,
    PutIfUnchanged,
    Delete,
}

/// The direction of a transfer, as seen from the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The requests and transfers of one function. Each function draws from its own random stream,
/// independent of those of others.
pub(crate) struct Link {
    clock: VirtualClock,
    profile: Arc<Profile>,
    faults: Arc<Faults>,
    rate_limiter: Arc<RateLimiter>,
    rng: Mutex<Box<dyn Rng + Send + Sync>>,
    /// Faults have a separate stream, so that they do not change the other draws.
    fault_rng: Mutex<Box<dyn Rng + Send + Sync>>,
    read_slowdown: f64,
    write_slowdown: f64,
    /// The end of the last transfer. All transfers of a function share its network.
    free_at: Mutex<Time>,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Link {
    pub(crate) fn new(
        clock: VirtualClock,
        profile: Arc<Profile>,
        faults: Arc<Faults>,
        rate_limiter: Arc<RateLimiter>,
        mut rng: Box<dyn Rng + Send + Sync>,
        fault_rng: Box<dyn Rng + Send + Sync>,
    ) -> Self {
        let read_slowdown = profile.network.read_slowdown.draw(&mut rng);
        let write_slowdown = profile.network.write_slowdown.draw(&mut rng);
        Self {
            clock,
            profile,
            faults,
            rate_limiter,
            rng: Mutex::new(rng),
            fault_rng: Mutex::new(fault_rng),
            read_slowdown,
            write_slowdown,
            free_at: Mutex::new(Time::ORIGIN),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// The billed requests so far, with every outcome.
    pub(crate) fn requests(&self) -> Requests {
        Requests {
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// A draw from the standard normal distribution.
    pub(crate) fn normal(&self) -> f64 {
        StandardNormal.sample(&mut *self.rng.lock())
    }

    /// Waits for the answer to a request that sends `bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Throttled`] when there are too many requests, and [`ErrorKind::Lost`]
    /// when this one is lost.
    pub(crate) async fn request(&self, request: Request, bytes: u64) -> Result<()> {
        let answered = self.answer_time(request, bytes).await?;
        self.clock.until(answered).await;
        Ok(())
    }

    /// Waits until a request that sends `bytes` takes effect, halfway between its sending and its
    /// answer. Returns the time of the answer.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub(crate) async fn reach_storage(&self, request: Request, bytes: u64) -> Result<Time> {
        let answered = self.answer_time(request, bytes).await?;
        let now = self.clock.now();
        let sent = (*self.free_at.lock()).clamp(now, answered);
        self.clock.until(sent + (answered - sent) / 2).await;
        Ok(answered)
    }

    /// The time of the answer to a request that is sent now.
    async fn answer_time(&self, request: Request, bytes: u64) -> Result<Time> {
        let now = self.clock.now();
        let storage = &self.profile.storage;
        let (kind, rate) = match request {
            Request::Get => (0, storage.reads_per_s),
            _ => (1, storage.writes_per_s),
        };
        match request {
            Request::Get => self.reads.fetch_add(1, Ordering::Relaxed),
            Request::Put | Request::PutIfUnchanged => self.writes.fetch_add(1, Ordering::Relaxed),
            // A DELETE is free.
            Request::Delete => 0,
        };
        let lost = happens(self.faults.request_lost, &mut *self.fault_rng.lock());
        let latency = {
            let rng = &mut *self.rng.lock();
            let base: &Distribution = match request {
                Request::Get => &storage.get_ms,
                Request::Put | Request::Delete => &storage.put_ms,
                Request::PutIfUnchanged => &storage.put_if_unchanged_ms,
            };
            let ms = base.draw(rng) + storage.tail_ms.draw(rng).unwrap_or(0.0);
            seconds(ms / 1e3 * self.faults.slowness(now))
        };
        if !self.rate_limiter.admits(kind, rate, now) {
            self.clock.sleep(latency).await;
            return Err(Error::new(ErrorKind::Throttled, "storage asks for fewer requests"));
        }
        if lost {
            self.time_out().await?;
        }
        Ok(self.transfer_end(Direction::Write, bytes) + latency)
    }

    /// Ends a request that has taken effect. Its answer may be lost at random.
    pub(crate) async fn receive_answer(&self) -> Result<()> {
        if happens(self.faults.request_answer_lost, &mut *self.fault_rng.lock()) {
            return self.time_out().await;
        }
        Ok(())
    }

    async fn time_out(&self) -> Result<()> {
        self.clock.sleep(seconds(self.faults.request_timeout_s)).await;
        Err(Error::new(ErrorKind::Lost, "storage does not answer"))
    }

    /// Waits for the transfer of `bytes` that were read.
    pub(crate) async fn receive(&self, bytes: u64) {
        let end = self.transfer_end(Direction::Read, bytes);
        self.clock.until(end).await;
    }

    /// The end of a transfer that begins now and follows those in progress.
    fn transfer_end(&self, direction: Direction, bytes: u64) -> Time {
        if bytes == 0 {
            return self.clock.now();
        }
        let network = &self.profile.network;
        let takes = match direction {
            Direction::Read => network.read_seconds(bytes, self.read_slowdown),
            Direction::Write => network.write_seconds(bytes, self.write_slowdown),
        };
        let mut free_at = self.free_at.lock();
        // Whole microseconds, so that shorter times do not become separate events.
        let takes = Duration::from_micros((takes * 1e6).round() as u64);
        *free_at = (*free_at).max(self.clock.now()) + takes;
        *free_at
    }
}
