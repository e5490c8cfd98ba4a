//! The identity of the training data.

use siren_core::{Error, Result};

use super::Trainer;
use crate::fingerprint;

impl Trainer {
    /// Adds the fingerprint of the training data to the job, unless the settings contain it.
    ///
    /// # Errors
    ///
    /// Returns the errors of the data source, and
    /// [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when a resumed run was trained on
    /// other data before.
    pub(super) async fn identify_data(&mut self) -> Result<()> {
        if self.config.data_fingerprint.is_none() {
            let read = self.retry(|| fingerprint(&*self.parts.train)).await;
            self.job.data = read.map_err(|error| {
                let message = "the driver cannot read the training data for its fingerprint: give \
                               it data that it can read, or set data_fingerprint";
                Error::new(error.kind(), message).with_source(error)
            })?;
        }
        let data = self.job.data;
        match self.data_before {
            Some(before) if before != data => Err(Error::rejected(format!(
                "the run began with other training data (fingerprint {before:016x}) than it has now \
                 (fingerprint {data:016x}): resume with the data the run began with, or start again"
            ))),
            _ => Ok(()),
        }
    }
}
