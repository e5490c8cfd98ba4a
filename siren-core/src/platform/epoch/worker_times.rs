//! The times of the parts of a worker's loop.

use super::{EpochShape, Profile};
use crate::platform::delay_distribution::DelayDistribution;
use crate::platform::{Distribution, StepTime};
use crate::{Requests, Work};

/// A random delay, in seconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Delay {
    pub(super) mean: f64,
    variance: f64,
}

impl Delay {
    /// The delay of requests, without transfers and without the rare long delays.
    fn of(profile: &Profile, requests: Requests) -> Self {
        let one = |ms: &Distribution| (ms.mean() / 1e3, ms.variance() / 1e6);
        let ((get, gets), (put, puts)) =
            (one(&profile.storage.get_ms), one(&profile.storage.put_ms));
        let (reads, writes) = (requests.reads as f64, requests.writes as f64);
        Self { mean: reads * get + writes * put, variance: reads * gets + writes * puts }
    }
}

/// The times of the parts of a worker's loop.
pub(super) struct WorkerTimes<'a> {
    profile: &'a Profile,
    shape: &'a EpochShape,
    /// The gradient of one batch, in seconds.
    pub(super) batch: f64,
    /// The latencies of a pull and a push.
    latency: Delay,
    /// A pull and a push in seconds: latencies, and the transfers of the mean function.
    pub(super) update_s: f64,
    /// The fetch of a batch.
    pub(super) fetch: Delay,
    /// The part of a fetch that remains after the computation of the batch before.
    pub(super) exposed_fetch: Delay,
    /// The rare long delays, in seconds, as a mean over all requests.
    tail: f64,
}

impl<'a> WorkerTimes<'a> {
    pub(super) fn new(
        profile: &'a Profile,
        shape: &'a EpochShape,
        step: &StepTime,
        memory_mb: u32,
    ) -> Self {
        let vcpus = profile.platform.vcpus(memory_mb);
        let batch =
            step.seconds(Work::Gradient { examples: shape.batch_size }, vcpus, &profile.cpu);
        let tail = profile.storage.tail_ms.mean() / 1e3;
        let one = Requests { reads: 1, writes: 0 };
        let (mut fetch, mut exposed_fetch) = (Delay::default(), Delay::default());
        let bytes = (shape.example_bytes * shape.batch_size as f64) as u64;
        if shape.example_bytes > 0.0 {
            let read = profile.network.read_slowdown.mean();
            let transfer = profile.network.read_seconds(bytes, read);
            fetch = Delay::of(profile, one);
            fetch.mean += tail + transfer;
            let (mean, variance) = profile.storage.get_ms.excess((batch - transfer) * 1e3);
            exposed_fetch = Delay { mean: mean / 1e3 + tail, variance: variance / 1e6 };
        }
        let latency = Delay::of(profile, shape.pull + shape.push);
        let mut times =
            Self { profile, shape, batch, latency, update_s: 0.0, fetch, exposed_fetch, tail };
        let requests = shape.pull + shape.push;
        times.update_s = latency.mean
            + tail * (requests.reads + requests.writes) as f64
            + times.reads(1.0).mean()
            + times.writes(1.0).mean();
        times
    }

    /// The mean time of a handler with this number of updates and batches, in seconds.
    pub(super) fn seconds(&self, updates: f64, batches: f64) -> f64 {
        updates * self.update_s
            + batches * self.batch
            + self.fetch.mean
            + (batches - 1.0).max(0.0) * self.exposed_fetch.mean
    }

    /// The distribution of a handler's time with this number of updates and batches. The fetches of
    /// the `first` batches (0 or 1) do not overlap with a computation.
    pub(super) fn handler_time(&self, updates: f64, batches: f64, first: f64) -> DelayDistribution {
        let (cpu, later) = (&self.profile.cpu, (batches - first).max(0.0));
        let fetches = if self.shape.example_bytes > 0.0 { batches } else { 0.0 };
        let requests = self.shape.pull + self.shape.push;
        let requests = updates * (requests.reads + requests.writes) as f64 + fetches;
        // The rare long delays are added below.
        let later_s = later * (self.exposed_fetch.mean - self.tail).max(0.0);
        let first_s = first * (self.fetch.mean - self.tail).max(0.0);
        let latency = DelayDistribution::lognormal(
            updates * self.latency.mean + first_s + later_s,
            updates * self.latency.variance
                + first * self.fetch.variance
                + later * self.exposed_fetch.variance,
        );
        let compute = batches * self.batch;
        let compute = match cpu.deviation > 0.0 {
            true => DelayDistribution::from_quantiles(|z| compute * cpu.slowdown(z)),
            false => DelayDistribution::constant(compute),
        };
        let tail = &self.profile.storage.tail_ms;
        let rare =
            DelayDistribution::rare(requests * tail.probability, tail.delays().map(|ms| ms / 1e3));
        let moved = self.reads(updates).plus(&self.writes(updates));
        latency.plus(&compute).plus(&moved).plus(&rare)
    }

    /// The time of the transfers of this number of pulls.
    fn reads(&self, pulls: f64) -> DelayDistribution {
        let (network, bytes) = (&self.profile.network, self.shape.pull_bytes);
        let slow = &network.read_slowdown;
        DelayDistribution::from_quantiles(|z| pulls * network.read_seconds(bytes, slow.at(z)))
    }

    /// The time of the transfers of this number of pushes.
    fn writes(&self, pushes: f64) -> DelayDistribution {
        let (network, bytes) = (&self.profile.network, self.shape.push_bytes);
        let slow = &network.write_slowdown;
        DelayDistribution::from_quantiles(|z| pushes * network.write_seconds(bytes, slow.at(z)))
    }
}
