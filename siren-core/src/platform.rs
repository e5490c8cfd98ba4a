//! Limits, prices and timing of platforms of functions, as data.

mod delay_distribution;
mod distribution;
mod epoch;
mod machine;
mod profile;
mod step;

use std::time::Duration;

pub use distribution::{Distribution, Tail};
pub use epoch::{EpochEstimate, EpochShape};
pub use machine::Machine;
pub use profile::{Cpu, Network, Profile, Starts, Storage};
pub use step::StepTime;

use crate::{DriverUsage, Error, Requests, Result, Usd};

/// The limits of a platform.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The smallest memory of a function, in MB.
    pub memory_min_mb: u32,
    /// The largest memory of a function, in MB.
    pub memory_max_mb: u32,
    /// The step between memory sizes, in MB.
    pub memory_step_mb: u32,
    /// The memory that comes with one vCPU, in MB. A function has vCPUs in proportion to its
    /// memory.
    pub memory_per_vcpu_mb: f64,
    /// The largest number of vCPUs of a function.
    pub vcpus_max: f64,
    /// The longest time of an invocation; in files, seconds.
    #[serde(rename = "timeout_s", with = "crate::seconds")]
    pub timeout: Duration,
    /// The timeouts that functions are configured with and the platform enforces, in whole seconds,
    /// the shortest first. If empty, the platform enforces the timeout of each invocation.
    pub timeouts_s: Vec<u32>,
    /// The longest billed time of an invocation before its handler starts; in files, seconds.
    #[serde(rename = "init_s", with = "crate::seconds")]
    pub init: Duration,
    /// The number of invocations that may run at once.
    pub concurrency: u32,
    /// The largest payload of an invocation and of its answer, in bytes.
    pub payload_bytes: u64,
}

/// The prices of a platform.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// The price of one GB (1,024 MB) of memory for one second.
    pub gb_second: Usd,
    /// The unit of billed time, which is rounded up to a multiple of it; in files, seconds.
    #[serde(rename = "billing_step_s", with = "crate::seconds")]
    pub billing_step: Duration,
    /// The price of one invocation, in addition to its time and memory.
    pub invocation: Usd,
    /// The price of one PUT, COPY, POST or LIST of shared storage.
    pub storage_write: Usd,
    /// The price of one GET of shared storage.
    pub storage_read: Usd,
    /// The price of one GB (10^9 bytes) that leaves the region.
    pub egress_gb: Usd,
}

/// The limits and prices of a platform that runs functions.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Platform {
    /// A name for display, such as `aws-lambda-x86`.
    pub name: String,
    /// `true` if costs are only an estimate of the same work's cost on another platform.
    pub estimated: bool,
    /// The platform's limits.
    pub limits: Limits,
    /// The platform's prices.
    pub prices: Prices,
}

impl Default for Platform {
    /// AWS Lambda on x86.
    fn default() -> Self {
        Self::aws_lambda()
    }
}

impl Default for Limits {
    /// Those of AWS Lambda.
    fn default() -> Self {
        Platform::aws_lambda().limits
    }
}

impl Default for Prices {
    /// Those of AWS Lambda on x86 and S3 Standard.
    fn default() -> Self {
        Platform::aws_lambda().prices
    }
}

impl Platform {
    /// AWS Lambda on x86 in us-east-1, with S3 Standard.
    ///
    /// Limits: 128 to 10,240 MB, 1,769 MB for one vCPU, up to 6 (Lambda docs,
    /// configuration-memory); 900 s, 6 MB payloads, INIT at most 10 s, 1,000 concurrent executions
    /// (Lambda docs, limits). Prices: Lambda and S3 price lists, 2026.
    pub fn aws_lambda() -> Self {
        Self {
            name: "aws-lambda-x86".into(),
            estimated: false,
            limits: Limits {
                memory_min_mb: 128,
                memory_max_mb: 10_240,
                memory_step_mb: 1,
                memory_per_vcpu_mb: 1_769.0,
                vcpus_max: 6.0,
                timeout: Duration::from_secs(900),
                timeouts_s: Vec::new(),
                init: Duration::from_secs(10),
                concurrency: 1_000,
                payload_bytes: 6 * 1024 * 1024,
            },
            prices: Prices {
                gb_second: Usd::new(0.000_016_666_7),
                billing_step: Duration::from_millis(1),
                invocation: Usd::new(0.20e-6),
                storage_write: Usd::new(0.005e-3),
                storage_read: Usd::new(0.000_4e-3),
                egress_gb: Usd::new(0.09),
            },
        }
    }

    /// AWS Lambda on arm64 in us-east-1: the limits and prices of x86, except that memory costs
    /// four fifths.
    pub fn aws_lambda_arm64() -> Self {
        let x86 = Self::aws_lambda();
        Self {
            name: "aws-lambda-arm64".into(),
            prices: Prices { gb_second: Usd::new(0.000_013_333_4), ..x86.prices },
            ..x86
        }
    }

    /// The local machine, with the prices of AWS Lambda as an estimate. Requests and egress are
    /// free, functions start at once, and payloads have no size limit.
    pub fn local() -> Self {
        let lambda = Self::aws_lambda();
        Self {
            name: "local".into(),
            estimated: true,
            limits: Limits { init: Duration::ZERO, payload_bytes: u64::MAX, ..lambda.limits },
            prices: Prices {
                storage_write: Usd::ZERO,
                storage_read: Usd::ZERO,
                egress_gb: Usd::ZERO,
                ..lambda.prices
            },
        }
    }

    /// Checks that the limits and prices are possible.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the field.
    pub fn check(&self) -> Result<()> {
        let Self { limits, prices, .. } = self;
        if limits.memory_min_mb == 0 || limits.memory_max_mb < limits.memory_min_mb {
            return Err(Error::rejected(format!(
                "platform.limits.memory_max_mb is {} and memory_min_mb {}: give at least 1, the \
                 smaller one as the minimum",
                limits.memory_max_mb, limits.memory_min_mb
            )));
        }
        profile::above_0("platform.limits.memory_per_vcpu_mb", limits.memory_per_vcpu_mb)?;
        profile::above_0("platform.limits.vcpus_max", limits.vcpus_max)?;
        profile::above_0("platform.limits.timeout_s", limits.timeout.as_secs_f64())?;
        profile::above_0("platform.limits.concurrency", limits.concurrency.into())?;
        profile::above_0("platform.prices.billing_step_s", prices.billing_step.as_secs_f64())?;
        let money = [
            ("gb_second", prices.gb_second),
            ("invocation", prices.invocation),
            ("storage_write", prices.storage_write),
            ("storage_read", prices.storage_read),
            ("egress_gb", prices.egress_gb),
        ];
        for (name, usd) in money {
            usd.checked(&format!("platform.prices.{name}"))?;
        }
        Ok(())
    }

    /// Checks that the platform offers this memory size.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), with the size and the allowed
    /// range.
    pub fn check_memory(&self, memory_mb: u32) -> Result<()> {
        let limits = &self.limits;
        let (min, max, step) =
            (limits.memory_min_mb, limits.memory_max_mb, limits.memory_step_mb.max(1));
        if memory_mb < min || memory_mb > max || !(memory_mb - min).is_multiple_of(step) {
            return Err(Error::rejected(format!(
                "{memory_mb} MB of memory is outside what {} has: give {min} to {max} MB in steps \
                 of {step} MB",
                self.name
            )));
        }
        Ok(())
    }

    /// The smallest memory size of at least `memory_mb`, in MB, or the largest size if none is
    /// large enough.
    pub fn memory_at_least(&self, memory_mb: u32) -> u32 {
        let limits = &self.limits;
        let (min, max) = (limits.memory_min_mb, limits.memory_max_mb.max(limits.memory_min_mb));
        let step = limits.memory_step_mb.max(1);
        let above = (memory_mb.clamp(min, max) - min).div_ceil(step);
        min + above.min((max - min) / step) * step
    }

    /// The timeout that the platform enforces for an invocation with this `timeout`. An invocation
    /// that does not stop by itself is billed until then.
    pub fn enforced(&self, timeout: Duration) -> Duration {
        let Limits { timeouts_s, timeout: longest, .. } = &self.limits;
        let mut timeouts = timeouts_s.iter().map(|&seconds| Duration::from_secs(seconds.into()));
        match timeouts_s.is_empty() {
            true => timeout,
            false => timeouts.find(|&enforced| enforced >= timeout).unwrap_or(*longest),
        }
    }

    /// The vCPUs of a function, in proportion to its memory, up to [`Limits::vcpus_max`].
    pub fn vcpus(&self, memory_mb: u32) -> f64 {
        (f64::from(memory_mb) / self.limits.memory_per_vcpu_mb).min(self.limits.vcpus_max)
    }

    /// The billed time of `execution`: rounded up to a multiple of [`Prices::billing_step`].
    pub fn billed(&self, execution: Duration) -> Duration {
        let step = self.prices.billing_step.as_nanos().max(1);
        let nanos = execution.as_nanos().div_ceil(step).saturating_mul(step);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The cost of an invocation with this memory, billed time and requests to shared storage.
    pub fn invocation_cost(&self, memory_mb: u32, billed: Duration, requests: Requests) -> Usd {
        self.prices.invocation
            + self.second_cost(memory_mb) * billed.as_secs_f64()
            + self.requests_cost(requests)
    }

    /// The cost of one second of a function of `memory_mb`.
    pub fn second_cost(&self, memory_mb: u32) -> Usd {
        self.prices.gb_second * (f64::from(memory_mb) / 1024.0)
    }

    /// The cost of requests to shared storage.
    pub fn requests_cost(&self, requests: Requests) -> Usd {
        self.prices.storage_write * requests.writes as f64
            + self.prices.storage_read * requests.reads as f64
    }

    /// The cost of the driver's usage.
    pub fn driver_usage_cost(&self, usage: DriverUsage) -> Usd {
        self.requests_cost(usage.requests)
            + self.prices.egress_gb * (usage.egress_bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The toy example of the SIREN talk: 20 functions of 256 MB for 237.40 s cost $0.0198.
    #[test]
    fn the_bill_of_the_siren_talk_comes_out() {
        let lambda = Platform::aws_lambda();
        let one = lambda.invocation_cost(256, Duration::from_millis(237_400), Requests::NONE);
        assert!((one.dollars() * 20.0 - 0.0198).abs() < 5e-5, "{one}");
    }

    #[test]
    fn time_is_billed_in_whole_milliseconds() {
        let lambda = Platform::aws_lambda();
        let billed = |micros| lambda.billed(Duration::from_micros(micros)).as_micros();
        assert_eq!([billed(0), billed(1), billed(1_000), billed(1_001)], [0, 1_000, 1_000, 2_000]);
    }

    #[test]
    fn what_is_enforced_is_the_next_timeout_of_the_ladder() {
        let mut lambda = Platform::aws_lambda();
        let enforced = |lambda: &Platform, s| lambda.enforced(Duration::from_secs(s)).as_secs();
        assert_eq!(enforced(&lambda, 17), 17);
        lambda.limits.timeouts_s = vec![30, 120];
        assert_eq!([1, 30, 31, 121].map(|s| enforced(&lambda, s)), [30, 30, 120, 900]);
    }

    #[test]
    fn a_gigabyte_that_leaves_the_region_costs_nine_cents() {
        let usage = DriverUsage { egress_bytes: 2_000_000_000, ..DriverUsage::default() };
        let usd = Platform::aws_lambda().driver_usage_cost(usage);
        assert!((usd.dollars() - 0.18).abs() < 1e-12, "{usd}");
        assert_eq!(Platform::local().driver_usage_cost(usage), Usd::ZERO);
    }

    #[test]
    fn memory_outside_the_range_is_refused_and_names_it() {
        let lambda = Platform::aws_lambda();
        for memory in [128, 1_769, 10_240] {
            lambda.check_memory(memory).unwrap();
        }
        for memory in [0, 127, 10_241, u32::MAX] {
            let error = lambda.check_memory(memory).unwrap_err();
            assert!(error.message().contains("128 to 10240 MB"), "{error}");
        }
        assert_eq!(lambda.vcpus(1_769), 1.0);
        assert_eq!(lambda.vcpus(10_240), 10_240.0 / 1_769.0);
    }
}
