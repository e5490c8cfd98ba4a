//! The behaviour of a platform, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Platform;
use super::distribution::{Distribution, Tail};
use crate::{Error, Result};

/// The limits, prices and behaviour of a platform of functions with shared storage. Previews,
/// schedulers and simulations use it. A file may give any of its fields; the others have their
/// values for AWS Lambda and S3.
///
/// The source of each constant is given in the code, at its default. A constant without a published
/// measurement is marked there as an assumption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Limits and prices.
    pub platform: Platform,
    /// The start of functions.
    pub starts: Starts,
    /// The latency and the throughput of shared storage.
    pub storage: Storage,
    /// The speed of transfers.
    pub network: Network,
    /// The computing speed of functions.
    pub cpu: Cpu,
}

/// The start of functions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Starts {
    /// The time from the call to the handler in a new environment, INIT included, in milliseconds.
    pub cold_ms: Distribution,
    /// The time from the call to the handler in an environment that ran before, in milliseconds.
    pub warm_ms: Distribution,
    /// The INIT phase of a new environment, in milliseconds. It is billed.
    pub init_ms: Distribution,
    /// The time that an environment is kept after its last invocation, in seconds. Each memory size
    /// has its own environments.
    pub keep_s: f64,
    /// The number of new environments that may start at once.
    pub burst: u32,
    /// The seconds after which another `burst` of new environments may start. Unused starts do not
    /// accumulate.
    pub burst_s: f64,
    /// The driver's time for each call, in milliseconds. It makes one call after the other.
    pub dispatch_ms: f64,
    /// The time to publish a version with another memory size, in seconds. The first memory size of
    /// a job counts as already published.
    pub publish_s: f64,
}

impl Default for Starts {
    /// AWS Lambda, Rust on x86.
    fn default() -> Self {
        Self {
            // danielBCN/faas-parallelism-benchmark: medians of 220 to 290, p99 of 309 to 730.
            cold_ms: Distribution::lognormal(255.0, 520.0),
            // The same source: medians of 69 to 80, p99 of 105 to 152.
            warm_ms: Distribution::lognormal(75.0, 128.0),
            // maxday/lambda-perf 2025, zip on x86.
            init_ms: Distribution {
                p90: Some(19.4),
                p99: Some(30.0),
                max: Some(72.0),
                ..Distribution::constant(15.2)
            },
            // An assumption: AWS documents no figure. Five minutes are at the lower end of
            // observations.
            keep_s: 300.0,
            // Lambda docs, lambda-concurrency: 1,000 environments every 10 s for a function, not
            // accrued.
            burst: 1_000,
            burst_s: 10.0,
            // Lithops: 1,000 warm calls from one driver take 330 ms, and a single one takes 75 ms.
            dispatch_ms: 0.25,
            // An assumption. Publishing must wait until the new configuration is active.
            publish_s: 5.0,
        }
    }
}

/// The latency and the throughput of shared storage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The latency of a GET without the transfer, in milliseconds.
    pub get_ms: Distribution,
    /// The latency of a PUT that creates an object, and of a LIST, without the transfer, in
    /// milliseconds.
    pub put_ms: Distribution,
    /// The latency of a PUT that replaces an unchanged object, in milliseconds.
    pub put_if_unchanged_ms: Distribution,
    /// A rare long delay of any request, in milliseconds.
    pub tail_ms: Tail,
    /// The number of writes that are answered per second. Storage throttles further ones.
    pub writes_per_s: f64,
    /// The number of reads that are answered per second.
    pub reads_per_s: f64,
    /// The shortest time between two conditional writes of one object that both succeed, in
    /// milliseconds.
    pub commit_ms: f64,
}

impl Default for Storage {
    /// S3 Standard, from functions in its region.
    fn default() -> Self {
        Self {
            // hpides/skyrise (arXiv 2501.07771), GET and PUT of 1 KB.
            get_ms: Distribution {
                p50: 26.7,
                p90: Some(58.0),
                p95: Some(72.0),
                p99: Some(102.0),
                p999: Some(172.0),
                max: Some(10_000.0),
            },
            put_ms: Distribution {
                p50: 40.7,
                p90: Some(74.0),
                p95: Some(89.0),
                p99: Some(122.0),
                p999: Some(203.0),
                max: Some(5_200.0),
            },
            // cdouglas.github.io 2026-01.
            put_if_unchanged_ms: Distribution {
                p95: Some(78.5),
                p99: Some(103.0),
                ..Distribution::constant(61.0)
            },
            // skyrise: the forms fitted there have a tail of 0.4 to 10 s with probability 1e-4.
            tail_ms: Tail { probability: 1e-4, from: 400.0, to: 10_000.0 },
            // S3 docs, for a partitioned prefix.
            writes_per_s: 3_500.0,
            reads_per_s: 5_500.0,
            // cdouglas.github.io 2026-01: one object takes 14.7 to 16.7 conditional writes per
            // second, for any number of writers.
            commit_ms: 60.0,
        }
    }
}

impl Storage {
    /// S3 Express One Zone. It also bills transferred bytes, which [`Prices`](crate::Prices) does
    /// not contain.
    pub fn express() -> Self {
        Self {
            get_ms: Distribution {
                p95: Some(5.5),
                p99: Some(6.4),
                p999: Some(46.0),
                max: Some(163.0),
                ..Distribution::constant(4.8)
            },
            put_ms: Distribution {
                p95: Some(8.7),
                p99: Some(9.7),
                p999: Some(49.0),
                max: Some(784.0),
                ..Distribution::constant(7.5)
            },
            put_if_unchanged_ms: Distribution {
                p95: Some(8.7),
                p99: Some(9.7),
                ..Distribution::constant(7.5)
            },
            tail_ms: Tail::NONE,
            // cdouglas.github.io 2026-01: 68 to 75 conditional writes per second.
            commit_ms: 14.0,
            ..Self::default()
        }
    }
}

/// The speed of transfers between a function and shared storage. Each function draws its slowdowns
/// when it starts and keeps them, so that some functions are stragglers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The speed of one reading stream, in MB (10^6 bytes) per second.
    pub read_mb_s: f64,
    /// The speed of one writing stream, in MB per second.
    pub write_mb_s: f64,
    /// The time of a function's reads, as a multiple of the time in a typical function.
    pub read_slowdown: Distribution,
    /// The time of a function's writes, as a multiple of the time in a typical function.
    pub write_slowdown: Distribution,
    /// The speed of all streams of a function together, in MB per second.
    pub function_mb_s: f64,
}

impl Default for Network {
    /// AWS Lambda and S3.
    fn default() -> Self {
        Self {
            // Lithops, 1,000 functions: about 100 MB/s read (5 % below 98, the slowest 41), 91 to
            // 94 MB/s written.
            read_mb_s: 100.0,
            write_mb_s: 92.5,
            read_slowdown: Distribution {
                p95: Some(100.0 / 98.0),
                p999: Some(2.4),
                max: Some(2.44),
                ..Distribution::constant(1.0)
            },
            // Lithops, 512 MiB by 1,000 functions: p50 5.7 s, p99 13.0, the slowest 22.2.
            write_slowdown: Distribution {
                p99: Some(13.0 / 5.7),
                p999: Some(22.2 / 5.7),
                max: Some(22.2 / 5.7),
                ..Distribution::constant(1.0)
            },
            // hpides/skyrise: the speed after a function's burst of 283 MB is used up.
            function_mb_s: 77.6,
        }
    }
}

impl Network {
    /// The seconds in which a function with this slowdown reads `bytes`.
    pub fn read_seconds(&self, bytes: u64, slowdown: f64) -> f64 {
        bytes as f64 / ((self.read_mb_s / slowdown).min(self.function_mb_s) * 1e6)
    }

    /// The seconds in which a function with this slowdown writes `bytes`.
    pub fn write_seconds(&self, bytes: u64, slowdown: f64) -> f64 {
        bytes as f64 / ((self.write_mb_s / slowdown).min(self.function_mb_s) * 1e6)
    }
}

/// The computing speed of functions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cpu {
    /// The floating-point operations of one vCPU, in 10^9 per second.
    pub gflops_per_vcpu: f64,
    /// The standard deviation of the functions' speeds, divided by their mean.
    pub deviation: f64,
    /// The memory that a function needs without any data, in MB.
    pub base_memory_mb: f64,
}

impl Default for Cpu {
    /// AWS Lambda.
    fn default() -> Self {
        Self {
            // lithops-cloud/applications, double precision; over 1,000 functions the coefficient of
            // variation is 0.02, and the slowest takes 1.07 times as long as most.
            gflops_per_vcpu: 33.8,
            deviation: 0.02,
            // An assumption: a Rust binary with the AWS SDK.
            base_memory_mb: 30.0,
        }
    }
}

impl Cpu {
    /// The time of a function's computing, as a multiple of the mean, for a function that is
    /// `normal` standard deviations slower than the mean. Between 0.5 and 2.
    pub fn slowdown(&self, normal: f64) -> f64 {
        (1.0 + self.deviation * normal).clamp(0.5, 2.0)
    }

    /// The memory that a function needs, in MB: the base, `vectors` vectors of `parameters`
    /// entries, and `data_bytes`.
    pub fn memory_mb(&self, parameters: u64, vectors: u32, data_bytes: u64) -> f64 {
        let bytes = parameters as f64 * 4.0 * f64::from(vectors) + data_bytes as f64;
        self.base_memory_mb + bytes / (1024.0 * 1024.0)
    }
}

impl Profile {
    /// AWS Lambda on x86 with S3 Standard: the default.
    pub fn aws_lambda() -> Self {
        Self::default()
    }

    /// The mean time that a function needs to read its data and `parameters` parameters and to
    /// write an update: two GETs and a PUT, and one transfer of the parameters in each direction.
    pub fn expected_exchange_time(&self, parameters: u64) -> Duration {
        let Self { storage, network, .. } = self;
        let ms = 2.0 * storage.get_ms.mean() + storage.put_ms.mean() + 3.0 * storage.tail_ms.mean();
        let bytes = parameters * 4;
        let read = network.read_seconds(bytes, network.read_slowdown.mean());
        let write = network.write_seconds(bytes, network.write_slowdown.mean());
        let seconds = ms / 1e3 + read + write;
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }

    /// A platform without delays and randomness, for tests and for bounds. Starts, requests,
    /// transfers and publishing take no time. Limits and prices are those of AWS Lambda.
    pub fn instant() -> Self {
        let zero = Distribution::constant(0.0);
        let one = Distribution::constant(1.0);
        Self {
            starts: Starts {
                cold_ms: zero,
                warm_ms: zero,
                init_ms: zero,
                dispatch_ms: 0.0,
                publish_s: 0.0,
                ..Starts::default()
            },
            storage: Storage {
                get_ms: zero,
                put_ms: zero,
                put_if_unchanged_ms: zero,
                tail_ms: Tail::NONE,
                writes_per_s: f64::MAX,
                reads_per_s: f64::MAX,
                commit_ms: 0.0,
            },
            network: Network {
                read_mb_s: f64::MAX / 1e7,
                write_mb_s: f64::MAX / 1e7,
                function_mb_s: f64::MAX / 1e7,
                read_slowdown: one,
                write_slowdown: one,
            },
            cpu: Cpu { deviation: 0.0, base_memory_mb: 0.0, ..Cpu::default() },
            platform: Platform::default(),
        }
    }

    /// Checks that the profile is possible.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the field.
    pub fn check(&self) -> Result<()> {
        self.platform.check()?;
        let Self { starts, storage, network, cpu, .. } = self;
        starts.cold_ms.check("starts.cold_ms")?;
        starts.warm_ms.check("starts.warm_ms")?;
        starts.init_ms.check("starts.init_ms")?;
        storage.get_ms.check("storage.get_ms")?;
        storage.put_ms.check("storage.put_ms")?;
        storage.put_if_unchanged_ms.check("storage.put_if_unchanged_ms")?;
        storage.tail_ms.check("storage.tail_ms")?;
        network.read_slowdown.check("network.read_slowdown")?;
        network.write_slowdown.check("network.write_slowdown")?;
        at_least_0("starts.keep_s", starts.keep_s)?;
        at_least_0("starts.dispatch_ms", starts.dispatch_ms)?;
        at_least_0("starts.publish_s", starts.publish_s)?;
        above_0("starts.burst_s", starts.burst_s)?;
        above_0("starts.burst", starts.burst.into())?;
        at_least_0("storage.commit_ms", storage.commit_ms)?;
        above_0("storage.writes_per_s", storage.writes_per_s)?;
        above_0("storage.reads_per_s", storage.reads_per_s)?;
        above_0("network.read_mb_s", network.read_mb_s)?;
        above_0("network.write_mb_s", network.write_mb_s)?;
        above_0("network.function_mb_s", network.function_mb_s)?;
        above_0("network.read_slowdown.p50", network.read_slowdown.p50)?;
        above_0("network.write_slowdown.p50", network.write_slowdown.p50)?;
        above_0("cpu.gflops_per_vcpu", cpu.gflops_per_vcpu)?;
        at_least_0("cpu.deviation", cpu.deviation)?;
        at_least_0("cpu.base_memory_mb", cpu.base_memory_mb)
    }
}

/// Refuses a negative, infinite or undefined number.
pub(super) fn at_least_0(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::rejected(format!("{name} is {value}: give a finite number, 0 or more")))
}

/// Refuses what is not a finite number above 0.
pub(super) fn above_0(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::rejected(format!("{name} is {value}: give a finite number above 0")))
}

#[cfg(test)]
mod tests;
