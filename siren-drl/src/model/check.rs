//! The valid ranges of a model's numbers.

use siren_core::{Error, Result};

use super::JobModel;

impl JobModel {
    /// Checks the ranges of all numbers.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the field, when a
    /// number is out of range.
    pub fn check(&self) -> Result<()> {
        self.platform.check()?;
        let Self { loss, fees, shards, start, fetch, compute, update, staleness, noise, .. } = self;
        for (name, value) in [
            ("target_loss", self.target_loss),
            ("loss.b2", loss.b2),
            ("update.growth", update.growth),
            ("compute.fall", compute.fall),
            ("staleness.fall", staleness.fall),
        ] {
            if !value.is_finite() {
                return Err(Error::rejected(format!("{name} is {value}: give a finite number")));
            }
        }
        for (name, value) in [
            ("fees.call_usd", fees.call_usd),
            ("fees.update_usd", fees.update_usd),
            ("fees.epoch_usd", fees.epoch_usd),
            ("fees.second_usd", fees.second_usd),
            ("shards.batches", shards.batches),
            ("shards.local_steps", shards.local_steps),
            ("start.each_s", start.each_s),
            ("start.seconds", start.seconds),
            ("start.wait_s", start.wait_s),
            ("start.first_s", start.first_s),
            ("start.first_billed_s", start.first_billed_s),
            ("start.change_s", start.change_s),
            ("fetch.latency_s", fetch.latency_s),
            ("fetch.data_mb", fetch.data_mb),
            ("fetch.model_mb", fetch.model_mb),
            ("fetch.per_vcpu_mb_s", fetch.per_vcpu_mb_s),
            ("fetch.function_mb_s", fetch.function_mb_s),
            ("fetch.all_mb_s", fetch.all_mb_s),
            ("fetch.batch_s", fetch.batch_s),
            ("fetch.batch_deviation_s", fetch.batch_deviation_s),
            ("compute.vcpu_seconds", compute.vcpu_seconds),
            ("compute.first", compute.first),
            ("compute.memory_mb", compute.memory_mb),
            ("compute.places", compute.places),
            ("update.rounds", update.rounds),
            ("update.shared_rounds", update.shared_rounds),
            ("update.latency_s", update.latency_s),
            ("update.size_mb", update.size_mb),
            ("fetch.all_s", fetch.all_s),
            ("update.all_s", update.all_s),
            ("update.late_s", update.late_s),
            ("noise.update", noise.update),
            ("noise.time", noise.time),
            ("noise.progress", noise.progress),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::rejected(format!(
                    "{name} is {value}: give a finite number, 0 or more"
                )));
            }
        }
        for (name, value) in
            [("loss.b0", loss.b0), ("loss.b1", loss.b1), ("fees.scale", fees.scale)]
        {
            if !value.is_finite() || value <= 0.0 {
                return Err(Error::rejected(format!(
                    "{name} is {value}: give a finite number above 0"
                )));
            }
        }
        if staleness.workers.is_nan() || staleness.workers <= 0.0 {
            return Err(Error::rejected(format!(
                "staleness.workers is {}: give a number above 0, or inf where all functions count in full",
                staleness.workers
            )));
        }
        for (name, value) in
            [("compute.parallel_share", compute.parallel_share), ("noise.billed", noise.billed)]
        {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::rejected(format!(
                    "{name} is {value}: give a number from 0 to 1"
                )));
            }
        }
        Ok(())
    }
}
