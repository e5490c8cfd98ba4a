//! Rented machines, for comparison with functions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::profile::above_0;
use super::{Limits, Platform, Prices};
use crate::{Error, Result, Usd};

/// One machine with several vCPUs, rented by the second. It runs all workers, and holds the
/// parameters and the data in its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// A name, such as `m4.large`.
    pub name: String,
    /// The number of its vCPUs, each as fast as a function's.
    pub vcpus: u32,
    /// Its memory, in MB.
    pub memory_mb: u32,
    /// Its price per hour, billed by the second.
    pub per_hour: Usd,
    /// The shortest time that is billed, in seconds.
    pub minimum_s: f64,
}

impl Machine {
    /// An EC2 machine in us-east-1, at the on-demand price for Linux at the time of the SIREN
    /// paper. EC2 bills at least a minute (EC2 docs).
    fn ec2(name: &str, vcpus: u32, memory_gb: u32, per_hour: f64) -> Self {
        Self {
            name: name.into(),
            vcpus,
            memory_mb: memory_gb * 1024,
            per_hour: Usd::new(per_hour),
            minimum_s: 60.0,
        }
    }

    /// EC2 m4.large: 2 vCPUs, 8 GB, $0.10 an hour.
    pub fn m4_large() -> Self {
        Self::ec2("m4.large", 2, 8, 0.10)
    }

    /// EC2 m4.xlarge: 4 vCPUs, 16 GB, $0.20 an hour.
    pub fn m4_xlarge() -> Self {
        Self::ec2("m4.xlarge", 4, 16, 0.20)
    }

    /// EC2 m4.2xlarge: 8 vCPUs, 32 GB, $0.40 an hour.
    pub fn m4_2xlarge() -> Self {
        Self::ec2("m4.2xlarge", 8, 32, 0.40)
    }

    /// EC2 c5.2xlarge: 8 vCPUs, 16 GB, $0.34 an hour.
    pub fn c5_2xlarge() -> Self {
        Self::ec2("c5.2xlarge", 8, 16, 0.34)
    }

    /// Checks that the machine is possible.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the field.
    pub fn check(&self) -> Result<()> {
        if self.vcpus == 0 || self.memory_mb == 0 {
            return Err(Error::rejected(format!(
                "the machine {} has {} vcpus and {} MB of memory: give at least 1 of each",
                self.name, self.vcpus, self.memory_mb
            )));
        }
        self.per_hour.checked("the machine's per_hour")?;
        above_0("the machine's minimum_s", self.minimum_s.max(f64::MIN_POSITIVE))
    }

    /// The cost of renting the machine for `time`, rounded up to whole seconds and at least
    /// [`minimum_s`](Self::minimum_s).
    pub fn bill(&self, time: Duration) -> Usd {
        let seconds = time.as_secs_f64().ceil().max(self.minimum_s);
        self.per_hour * (seconds / 3600.0)
    }

    /// The machine as a platform with one function, which has all of its memory. The time of an
    /// invocation is billed at the price of the machine.
    pub fn platform(&self) -> Platform {
        let gb = f64::from(self.memory_mb) / 1024.0;
        Platform {
            name: self.name.clone(),
            estimated: false,
            limits: Limits {
                timeouts_s: Vec::new(),
                memory_min_mb: self.memory_mb,
                memory_max_mb: self.memory_mb,
                memory_step_mb: 1,
                memory_per_vcpu_mb: f64::from(self.memory_mb) / f64::from(self.vcpus),
                vcpus_max: self.vcpus.into(),
                timeout: Duration::from_secs(365 * 24 * 3600),
                init: Duration::ZERO,
                concurrency: 100_000,
                payload_bytes: u64::MAX >> 1,
            },
            prices: Prices {
                gb_second: self.per_hour * (1.0 / 3600.0 / gb),
                billing_step: Duration::from_millis(1),
                invocation: Usd::ZERO,
                storage_write: Usd::ZERO,
                storage_read: Usd::ZERO,
                egress_gb: Usd::ZERO,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_of_the_siren_talk_comes_out() {
        let machine = Machine::c5_2xlarge();
        let bill = machine.bill(Duration::from_millis(307_870));
        assert!((bill.dollars() - 0.0291).abs() < 5e-5, "{bill}");
        let platform = machine.platform();
        let by_function = platform.second_cost(machine.memory_mb) * 308.0;
        assert!((by_function.dollars() - bill.dollars()).abs() < 1e-9, "{by_function} and {bill}");
    }

    #[test]
    fn a_minute_is_billed_at_least() {
        let machine = Machine::m4_large();
        assert_eq!(machine.bill(Duration::from_secs(1)), machine.bill(Duration::from_secs(60)));
        assert!(machine.bill(Duration::from_secs(61)) > machine.bill(Duration::from_secs(60)));
    }
}
