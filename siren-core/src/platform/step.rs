//! The time model of a workload's computations.

use serde::{Deserialize, Serialize};

use super::profile::Cpu;
use crate::{Error, Result, Work};

/// The time model of a workload's computations, on one vCPU. A gradient of `b` examples takes
/// `seconds_per_batch + b * (seconds_per_example + flops_per_example / speed)`.
///
/// The constants are data, chosen by hand or taken from a measurement. No measured time enters a
/// simulated result otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepTime {
    /// Seconds for the gradient of one example.
    pub seconds_per_example: f64,
    /// Floating-point operations for the gradient of one example, in addition. The speed of the
    /// platform's [`Cpu`] determines their time.
    pub flops_per_example: f64,
    /// Seconds for each batch, independent of its size.
    pub seconds_per_batch: f64,
    /// Seconds for each parameter in a pass over all of them.
    pub seconds_per_parameter: f64,
    /// Seconds for the handover of a batch from its worker to a computing thread, and of the result
    /// back, when workers share a machine. A function has no handover.
    pub seconds_per_handover: f64,
    /// The share of the work that several vCPUs divide among them, from 0 to 1 (Amdahl, 1967). It
    /// is 0 for Siren's worker, which computes on one thread.
    pub parallel_share: f64,
}

impl StepTime {
    /// A workload whose gradient of one example takes `seconds`. Nothing else takes time.
    pub fn per_example(seconds: f64) -> Self {
        Self { seconds_per_example: seconds, ..Self::default() }
    }

    /// Checks that the times are possible.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the field, when a time
    /// is negative or not finite, or the parallel share is outside 0 to 1.
    pub fn check(&self) -> Result<()> {
        let fields = [
            ("seconds_per_example", self.seconds_per_example),
            ("flops_per_example", self.flops_per_example),
            ("seconds_per_batch", self.seconds_per_batch),
            ("seconds_per_parameter", self.seconds_per_parameter),
            ("seconds_per_handover", self.seconds_per_handover),
        ];
        for (name, value) in fields {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::rejected(format!(
                    "the step's {name} is {value}: give a finite number, 0 or more"
                )));
            }
        }
        if !(0.0..=1.0).contains(&self.parallel_share) {
            return Err(Error::rejected(format!(
                "the step's parallel_share is {}: give a number from 0 to 1",
                self.parallel_share
            )));
        }
        Ok(())
    }

    /// The seconds that `work` takes on `vcpus` vCPUs, which may be less than one.
    ///
    /// With `t` the time on one vCPU: `t / v` on a share `v` of one vCPU, since a function's CPU
    /// time is in proportion to its memory, and `t * (1 - p + p / v)` on more than one, with `p`
    /// the parallel share.
    pub fn seconds(&self, work: Work, vcpus: f64, cpu: &Cpu) -> f64 {
        let one = match work {
            Work::Gradient { examples } | Work::Evaluation { examples } => {
                let flops = self.flops_per_example / (cpu.gflops_per_vcpu * 1e9);
                self.seconds_per_batch + examples as f64 * (self.seconds_per_example + flops)
            }
            Work::Parameters { count } => count as f64 * self.seconds_per_parameter,
        };
        if vcpus <= 1.0 {
            return one / vcpus.max(1e-6);
        }
        one * (1.0 - self.parallel_share + self.parallel_share / vcpus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepTime = StepTime {
        seconds_per_example: 1e-3,
        flops_per_example: 33.8e6,
        seconds_per_batch: 0.01,
        seconds_per_parameter: 1e-9,
        seconds_per_handover: 1e-5,
        parallel_share: 0.5,
    };

    #[test]
    fn memory_buys_speed_up_to_one_vcpu_and_amdahl_rules_above() {
        let cpu = Cpu::default();
        let work = Work::Gradient { examples: 10 };
        // 10 ms for the batch, 1 ms and 33.8 MFLOP at 33.8 GFLOPS for each example.
        let at = |vcpus| STEP.seconds(work, vcpus, &cpu);
        assert!((at(1.0) - 0.03).abs() < 1e-12);
        assert!((at(0.25) - 0.12).abs() < 1e-12);
        assert!((at(4.0) - 0.03 * (0.5 + 0.125)).abs() < 1e-12);
        let pass = STEP.seconds(Work::Parameters { count: 1_000_000 }, 1.0, &cpu);
        assert!((pass - 1e-3).abs() < 1e-15);
    }

    #[test]
    fn bad_times_are_named() {
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            let error = StepTime { seconds_per_batch: bad, ..STEP }.check().unwrap_err();
            assert!(error.message().contains("seconds_per_batch"), "{error}");
            let error = StepTime { parallel_share: bad, ..STEP }.check().unwrap_err();
            assert!(error.message().contains("parallel_share"), "{error}");
        }
        STEP.check().unwrap();
    }
}
